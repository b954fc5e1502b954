package alert

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Alerts lists what is pending, firing or was firing until a while ago: what fires first, critical before others, the newest first.
func (e *Engine) Alerts() []Alert {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	var out []Alert
	for _, t := range e.tasks {
		for _, x := range t.entries {
			out = append(out, e.view(x, now))
		}
	}
	slices.SortFunc(out, func(a, b Alert) int {
		return cmp.Or(
			cmp.Compare(rank(a.Phase), rank(b.Phase)), cmp.Compare(a.Severity, b.Severity), b.Since.Compare(a.Since),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Labels.Key(), b.Labels.Key()),
		)
	})
	return out
}

func rank(p Phase) int { return slices.Index([]Phase{Firing, Pending, Resolved}, p) }

// RuleStatus is a rule in force, and how it is.
type RuleStatus struct {
	Rule    *Rule
	Firing  int // alerts
	Pending int
	Asked   time.Time     // when the last question was asked that has ended; zero before
	Took    time.Duration // how long it took
	Error   string        // why it could not be answered; "" where it was
	Since   time.Time     // of Error
	Dropped int           // alerts that did not fit
}

// Rules lists the rules in force by name.
func (e *Engine) Rules() []RuleStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []RuleStatus
	for _, name := range slices.Sorted(maps.Keys(e.tasks)) {
		t := e.tasks[name]
		if t.gone() {
			continue
		}
		s := RuleStatus{Rule: t.rule, Asked: t.asked, Took: t.took, Error: text(t.err), Since: t.since, Dropped: t.dropped}
		for _, x := range t.entries {
			switch x.state.Phase {
			case Firing:
				s.Firing++
			case Pending:
				s.Pending++
			case Inactive, Resolved:
			}
		}
		out = append(out, s)
	}
	return out
}

// ReceiverStatus is a receiver, and how it is.
type ReceiverStatus struct {
	Name     string
	Severity Severity
	Groups   int    // that it is told of
	Fails    int    // in a row
	Error    string // of the last try
	Since    time.Time
	Next     time.Time // when it is tried again, after a failure
	Dropped  int       // groups that did not fit
}

// Receivers lists the receivers by name.
func (e *Engine) Receivers() []ReceiverStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []ReceiverStatus
	for _, name := range slices.Sorted(maps.Keys(e.tellers)) {
		t := e.tellers[name]
		out = append(out, ReceiverStatus{
			Name: name, Severity: t.Severity, Groups: len(t.groups), Fails: t.fails, Error: text(t.err), Since: t.since, Next: t.until, Dropped: t.dropped,
		})
	}
	return out
}

// History lists the newest changes, the newest first; limit 0 means all that are kept.
func (e *Engine) History(limit int) []Change {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := slices.Clone(e.history)
	slices.Reverse(out)
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out
}

// Silences lists those in force, and those that were until a while ago.
func (e *Engine) Silences() []Silence {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := slices.Clone(e.silences)
	sortSilences(out, time.Now())
	return out
}

// Silence adds a silence, which has its id and is durable then. Its From is now.
func (e *Engine) Silence(ctx context.Context, s Silence) (Silence, error) {
	now := time.Now()
	s.ID, s.From, s.Matchers = newID(), now, slices.Clone(s.Matchers)
	if err := s.check(now); err != nil {
		return Silence{}, err
	}
	e.mu.Lock()
	if len(e.silences) >= MaxSilences {
		e.mu.Unlock()
		return Silence{}, fault.New(fault.CodeSilenceInvalid, "there are %d silences already", MaxSilences).Fix("end some: atoll alerts silence rm ID")
	}
	e.silences = append(e.silences, s)
	e.note(Change{At: now, Kind: EventSilenced, Subject: s.ID, By: s.By, Summary: s.Comment})
	e.mu.Unlock()
	return s, e.save(ctx)
}

// EndSilence ends a silence now. One that is over is left as it is.
func (e *Engine) EndSilence(ctx context.Context, id string) (Silence, error) {
	now := time.Now()
	e.mu.Lock()
	at := slices.IndexFunc(e.silences, func(s Silence) bool { return s.ID == id })
	if at < 0 {
		e.mu.Unlock()
		return Silence{}, fault.New(fault.CodeSilenceUnknown, "there is no silence %.40q", id).Fix("see: atoll alerts silence ls")
	}
	if s := &e.silences[at]; s.Active(now) {
		s.Until = now
		e.note(Change{At: now, Kind: EventSilenceEnded, Subject: id})
	}
	s := e.silences[at]
	e.mu.Unlock()
	return s, e.save(ctx)
}

// Tested is what a question answers just now, for one alert.
type Tested struct {
	Labels  Labels
	Value   float64
	Unit    Unit
	Wrong   bool
	Summary string
}

// Test asks the question of a rule and answers what it says. It changes nothing.
func (e *Engine) Test(ctx context.Context, name string) (*Rule, []Tested, error) {
	e.mu.Lock()
	t := e.tasks[name]
	e.mu.Unlock()
	if t == nil || t.gone() {
		return nil, nil, fault.New(fault.CodeAlertUnknown, "there is no alert %.80q", name).Fix("see: atoll alerts ls --all")
	}
	e.mu.Lock()
	rule := t.rule
	e.mu.Unlock()
	seen, err := e.observe(ctx, rule, time.Now())
	if err != nil {
		return rule, nil, err
	}
	out := make([]Tested, 0, len(seen))
	for i := range seen {
		o := &seen[i]
		out = append(out, Tested{Labels: o.labels, Value: o.value, Unit: rule.Unit, Wrong: o.wrong, Summary: rule.summary(o)})
	}
	slices.SortFunc(out, func(a, b Tested) int {
		switch {
		case a.Wrong == b.Wrong:
			return cmp.Compare(a.Labels.Key(), b.Labels.Key())
		case a.Wrong:
			return -1
		}
		return 1
	})
	return rule, out, nil
}
