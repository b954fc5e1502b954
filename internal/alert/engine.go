package alert

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Notifier tells somebody. It may be called by many goroutines at once, ends with ctx, and answers an error where it is not certain that the
// notification has arrived: the engine tries again.
type Notifier interface {
	Notify(ctx context.Context, n *Notification) error
}

// Receiver is somebody who is told.
type Receiver struct {
	Name     string   // unique; what the receiver was told of is kept under it
	Severity Severity // only of alerts of this severity; "" for all
	Notifier Notifier
}

// Settings are what an engine does, as one snapshot that is never changed.
type Settings struct {
	Rules     []*Rule
	Group     []string // labels
	Timing    Timing
	Receivers []Receiver
}

// Config is what an engine works with. The zero values of AtOnce, Timeout and TellTimeout stand for 4, 10 s and 30 s.
type Config struct {
	Store       Store
	Evaluator   Evaluator
	AtOnce      int           // questions
	Timeout     time.Duration // of one question; SLOs ask several, each with it
	TellTimeout time.Duration // of telling one receiver
	// Tell is called for every entry of the history, in order, by whatever goroutine; it must not block nor call the engine. It may be nil.
	Tell func(Change)
}

// Alert is an alert that is pending, firing or was firing until a while ago.
type Alert struct {
	Rule     string
	Labels   Labels
	Severity Severity
	Phase    Phase
	Since    time.Time // when the phase began
	Started  time.Time // when it became wrong
	Ended    time.Time // of Resolved
	NoData   time.Time // since when there is no data; zero where there is
	Value    float64
	Unit     Unit
	Summary  string
	Silenced []string // ids of silences
}

// entry is an alert that the engine knows.
type entry struct {
	rule     string
	labels   Labels
	severity Severity
	unit     Unit
	summary  string
	state    State
}

// task is a rule in force.
type task struct {
	rule    *Rule
	due     time.Time
	busy    bool // its question is under way
	asked   time.Time
	took    time.Duration
	err     error // of the last question
	since   time.Time
	dropped int // alerts that did not fit
	entries map[string]*entry
}

// teller is what the engine knows of a receiver.
type teller struct {
	Receiver
	groups  map[string]*Group
	dropped int // groups that did not fit
	fails   int // in a row
	err     error
	since   time.Time          // of err, or when it was told last
	until   time.Time          // it is not tried before
	wake    chan struct{}      // there may be something to tell
	stop    context.CancelFunc // nil until it runs
}

// Engine asks the questions of rules, keeps alerts, and tells receivers. Its methods may be called by many goroutines at once.
type Engine struct {
	config Config

	mu       sync.Mutex // guards all below
	settings Settings
	tasks    map[string]*task
	tellers  map[string]*teller
	unknown  map[string][]*Group // groups of receivers that are not there, from before a restart
	orphans  []Kept              // alerts of rules that are not there, from before a restart
	silences []Silence
	history  []Change // the oldest first
	version  int64    // counts what must be kept

	saving  sync.Mutex // held while saving; guards saved and lost
	saved   int64
	lost    error
	changed chan struct{} // rules are others, or something must be kept
	urgent  chan struct{}
}

// Open reads what was kept. The engine does nothing before Run.
func Open(ctx context.Context, c Config) (*Engine, error) {
	if c.AtOnce <= 0 {
		c.AtOnce = 4
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.TellTimeout <= 0 {
		c.TellTimeout = 30 * time.Second
	}
	e := &Engine{
		config: c, tasks: map[string]*task{}, tellers: map[string]*teller{}, unknown: map[string][]*Group{},
		changed: make(chan struct{}, 1), urgent: make(chan struct{}, 1),
	}
	kept, err := c.Store.Load(ctx)
	switch {
	case errors.Is(err, ErrDamaged):
		e.note(Change{At: time.Now(), Kind: EventStateLost, Summary: ErrDamaged.Error(), Err: err})
	case err != nil:
		return nil, fmt.Errorf("load state of alerts: %w", err)
	case kept != nil:
		if err := e.restore(kept, time.Now()); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// restore takes over what was kept. No time of it lies ahead afterwards: a clock that was ahead and is right now would stop all until then.
func (e *Engine) restore(s *Snapshot, now time.Time) error {
	e.orphans, e.history = s.Alerts, s.History
	for i := range e.orphans {
		e.orphans[i].State.notAfter(now)
	}
	for receiver, groups := range s.Groups {
		for _, g := range groups {
			if g != nil {
				g.restore(now)
				e.unknown[receiver] = append(e.unknown[receiver], g)
			}
		}
	}
	for _, silence := range s.Silences {
		for i := range silence.Matchers {
			if err := silence.Matchers[i].prepare(); err != nil {
				return fmt.Errorf("restore silence %s: %w", silence.ID, err)
			}
		}
		e.silences = append(e.silences, silence)
	}
	return nil
}

// Apply puts settings in force. Alerts of rules that are no longer there are resolved, and told of as such.
func (e *Engine) Apply(s Settings) {
	e.mu.Lock()
	e.settings = s
	now := time.Now()
	stopped := e.applyTellers(s)
	e.applyRules(s, now)
	e.joinAll(now)
	e.mu.Unlock()
	for _, stop := range stopped {
		stop()
	}
	e.poke(e.changed)
}

// applyRules makes tasks of rules, with the alerts that they had.
func (e *Engine) applyRules(s Settings, now time.Time) {
	old := e.tasks
	e.tasks = make(map[string]*task, len(s.Rules))
	for _, r := range s.Rules {
		t := old[r.Name]
		if t == nil {
			t = &task{entries: map[string]*entry{}}
		}
		if t.rule == nil || !same(t.rule, r) {
			// An answer to the old question that is under way is dropped, since it has another task.
			t = &task{entries: t.entries, due: now.Add(offset(r))}
		}
		t.rule = r
		e.tasks[r.Name] = t
		delete(old, r.Name)
	}
	for _, k := range e.orphans {
		t := e.tasks[k.Rule]
		if t == nil {
			t = &task{rule: &Rule{Name: k.Rule}, entries: map[string]*entry{}}
			if old[k.Rule] != nil {
				t = old[k.Rule]
			}
			old[k.Rule] = t
		}
		t.entries[k.Labels.Key()] = &entry{rule: k.Rule, labels: k.Labels, severity: k.Severity, unit: t.rule.Unit, summary: k.Summary, state: k.State}
	}
	e.orphans = nil
	for _, t := range old {
		e.retire(t, now)
	}
	e.version++
}

// retire ends the alerts of a rule that is gone. Its task stays until they are no longer shown.
func (e *Engine) retire(t *task, now time.Time) {
	left := &task{rule: &Rule{Name: t.rule.Name, Unit: t.rule.Unit, Source: "", Policy: t.rule.Policy}, entries: map[string]*entry{}}
	for key, x := range t.entries {
		switch x.state.Phase {
		case Firing:
			x.state = x.state.end(now)
			e.changedAlert(x, EventResolved, ReasonGone, now)
			left.entries[key] = x
		case Resolved:
			left.entries[key] = x
		case Inactive, Pending:
		}
	}
	if len(left.entries) > 0 {
		e.tasks[t.rule.Name] = left
	}
}

// same tells whether two rules ask the same.
func same(a, b *Rule) bool {
	slo := a.SLO == b.SLO || a.SLO != nil && b.SLO != nil && *a.SLO == *b.SLO
	return slo && a.Source == b.Source && a.Query == b.Query && a.Within == b.Within && a.Every == b.Every &&
		a.Compare == b.Compare && a.Threshold == b.Threshold && a.Severity == b.Severity && a.Labels.Key() == b.Labels.Key()
}

// gone tells whether a task is one of a rule that is no longer in force.
func (t *task) gone() bool { return t.rule.Source == "" }

// Run asks and tells until ctx ends, and then keeps what is not kept yet.
func (e *Engine) Run(ctx context.Context) error {
	var work sync.WaitGroup
	work.Go(func() { e.keep(ctx) })
	e.ask(ctx, &work)
	work.Wait()
	return e.save(context.WithoutCancel(ctx))
}

// poke wakes who waits at a channel of one.
func (e *Engine) poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// note adds to the history. It is called with mu held, or before anybody else knows the engine.
func (e *Engine) note(c Change) {
	e.history = append(e.history, c)
	if over := len(e.history) - MaxHistory; over > 0 {
		e.history = slices.Delete(e.history, 0, over)
	}
	e.version++
	e.poke(e.urgent)
	if e.config.Tell != nil {
		e.config.Tell(c)
	}
}

// changedAlert notes that an alert has begun or ceased to fire, and puts it into the groups of receivers.
func (e *Engine) changedAlert(x *entry, kind Event, reason Reason, now time.Time) {
	e.note(Change{At: now, Kind: kind, Rule: x.rule, Labels: x.labels, Value: x.state.Value, Unit: x.unit, Summary: x.summary, Reason: reason})
	for _, t := range e.tellers {
		e.join(t, x, now)
	}
}

// text is what users may see of an error.
func text(err error) string {
	switch e, ok := errors.AsType[*fault.Error](err); {
	case err == nil:
		return ""
	case ok:
		return e.Text
	case errors.Is(err, context.DeadlineExceeded):
		return "there was no answer in time"
	}
	return "it went wrong; see the operator's log"
}

func newID() string { return rand.Text()[:12] }
