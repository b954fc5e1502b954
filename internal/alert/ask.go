package alert

import (
	"cmp"
	"context"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"
)

// offset spreads the first questions of rules over their interval, so that not all are asked at once.
func offset(r *Rule) time.Duration {
	if r.Every <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(r.Name))
	return time.Duration(h.Sum64() % uint64(r.Every))
}

// ask asks the question of each rule when it is due, until ctx ends and all questions have. It also starts those that tell new receivers.
func (e *Engine) ask(ctx context.Context, work *sync.WaitGroup) {
	slots := make(chan struct{}, e.config.AtOnce)
	defer func() {
		for range e.config.AtOnce {
			slots <- struct{}{} // each that is under way gives its slot back
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-e.changed:
		}
		e.startTellers(ctx, work)
		due, next := e.due(time.Now())
		for i, t := range due {
			select {
			case slots <- struct{}{}:
				go func() {
					defer func() { <-slots }()
					e.askOne(ctx, t)
				}()
			case <-ctx.Done():
				e.release(due[i:])
				return
			}
		}
		timer.Reset(next)
	}
}

// maxIdle is how long the engine sleeps at most; what was resolved long ago is forgotten then.
const maxIdle = time.Minute

// due lists the rules whose time has come, marked as busy, and says how long it is until the next one.
func (e *Engine) due(now time.Time) ([]*task, time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	next := now.Add(maxIdle)
	var list []*task
	for name, t := range e.tasks {
		if t.gone() {
			if e.forget(t, now); len(t.entries) == 0 {
				delete(e.tasks, name)
			}
			continue
		}
		if !t.busy && !t.due.After(now) {
			t.busy = true
			list = append(list, t)
			for !t.due.After(now) {
				t.due = t.due.Add(max(t.rule.Every, time.Second))
			}
		}
		if t.due.Before(next) {
			next = t.due
		}
	}
	slices.SortFunc(list, func(a, b *task) int { return a.asked.Compare(b.asked) }) // who waits longest comes first
	return list, max(next.Sub(now), time.Millisecond)
}

// maxOwed is how long a resolved alert is kept at most for a receiver that cannot be told.
const maxOwed = 24 * time.Hour

// over tells whether a resolved alert need not be kept: it was shown for long enough, and every receiver knows that it is over.
func (e *Engine) over(t *task, x *entry, now time.Time) bool {
	age := now.Sub(x.state.Since)
	return x.state.Phase == Resolved && age >= t.rule.Policy.Retain && (age >= maxOwed || !e.owed(x))
}

// forget drops alerts that were resolved long ago.
func (e *Engine) forget(t *task, now time.Time) {
	for key, x := range t.entries {
		if e.over(t, x, now) {
			delete(t.entries, key)
			e.version++
		}
	}
}

func (e *Engine) release(list []*task) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range list {
		t.busy = false
	}
}

// askOne asks one question and handles the answer.
func (e *Engine) askOne(ctx context.Context, t *task) {
	e.mu.Lock()
	rule := t.rule
	e.mu.Unlock()
	at := time.Now()
	seen, err := e.observe(ctx, rule, at)
	if ctx.Err() != nil {
		e.release([]*task{t})
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	t.busy, t.asked, t.took = false, at, time.Since(at)
	if e.tasks[rule.Name] != t {
		return // it asks something else by now
	}
	e.health(t, err, at)
	e.forget(t, at)
	if err != nil {
		for key := range t.entries {
			e.step(t, key, Happening{At: at, Kind: NoAnswer})
		}
		return
	}
	e.answer(t, seen, at)
}

// observe asks a rule's question.
func (e *Engine) observe(ctx context.Context, r *Rule, at time.Time) ([]observation, error) {
	ask := &limited{inner: e.config.Evaluator, timeout: e.config.Timeout}
	if r.Source == SourceSLO {
		return r.observeSLO(ctx, ask, at)
	}
	samples, err := ask.Evaluate(ctx, r, at)
	if err != nil {
		return nil, err
	}
	return r.observe(samples), nil
}

// limited gives each question a time.
type limited struct {
	inner   Evaluator
	timeout time.Duration
}

func (l *limited) Evaluate(ctx context.Context, r *Rule, at time.Time) ([]Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return l.inner.Evaluate(ctx, r, at)
}

func (l *limited) Requests(ctx context.Context, s *SLO, window time.Duration, at time.Time) (Requests, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return l.inner.Requests(ctx, s, window, at)
}

// health notes whether a rule's question could be answered, when that has changed.
func (e *Engine) health(t *task, err error, at time.Time) {
	switch {
	case err != nil && t.err == nil:
		t.since = at
		e.note(Change{At: at, Kind: EventRuleFailing, Rule: t.rule.Name, Summary: text(err), Err: err})
	case err == nil && t.err != nil:
		t.since = time.Time{}
		e.note(Change{At: at, Kind: EventRuleAnswered, Rule: t.rule.Name})
	}
	t.err = err
}

// answer takes an answer to a rule's question.
func (e *Engine) answer(t *task, seen []observation, at time.Time) {
	here := make(map[string]bool, len(seen))
	slices.SortStableFunc(seen, func(a, b observation) int { // so that it is the same ones that do not fit
		switch {
		case a.wrong == b.wrong:
			return 0
		case a.wrong:
			return -1
		}
		return 1
	})
	dropped, active := 0, 0
	for _, x := range t.entries {
		if x.state.Phase != Resolved {
			active++
		}
	}
	for i := range seen {
		o := &seen[i]
		key := o.labels.Key()
		if here[key] {
			continue // the labels of the rule have made two into one
		}
		here[key] = true
		x := t.entries[key]
		switch {
		case x == nil && !o.wrong:
			continue
		case (x == nil || x.state.Phase == Resolved && o.wrong) && active >= MaxAlerts:
			dropped++
			continue
		case x != nil && x.state.Phase == Resolved && o.wrong:
			active++
		case x == nil:
			active++
			x = &entry{rule: t.rule.Name, labels: o.labels, severity: o.severity, unit: t.rule.Unit}
			t.entries[key] = x
		}
		kind := SeenFine
		if o.wrong {
			kind = SeenWrong
			x.summary = t.rule.summary(o)
		}
		e.step(t, key, Happening{At: at, Kind: kind, Value: o.value})
	}
	for key := range t.entries {
		if !here[key] {
			e.step(t, key, Happening{At: at, Kind: NoData})
		}
	}
	e.trim(t)
	if dropped > 0 && t.dropped == 0 {
		e.note(Change{At: at, Kind: EventAlertsDropped, Rule: t.rule.Name, Value: float64(dropped)})
	}
	t.dropped = dropped
}

// trim drops the alerts that were resolved first where there are more than MaxAlerts of those.
func (e *Engine) trim(t *task) {
	if len(t.entries) <= MaxAlerts {
		return
	}
	var resolved []string
	for key, x := range t.entries {
		if x.state.Phase == Resolved {
			resolved = append(resolved, key)
		}
	}
	slices.SortFunc(resolved, func(a, b string) int {
		return cmp.Or(t.entries[a].state.Since.Compare(t.entries[b].state.Since), strings.Compare(a, b))
	})
	for _, key := range resolved[:max(len(resolved)-MaxAlerts, 0)] {
		delete(t.entries, key)
		e.version++
	}
}

// step tells an alert's machine what happened, and does what follows.
func (e *Engine) step(t *task, key string, h Happening) {
	x := t.entries[key]
	before := x.state.Phase
	state, effect := Step(t.rule.Policy, x.state, h)
	if before == Resolved && state.Phase == Inactive && !e.over(t, x, h.At) {
		return // somebody is still to be told
	}
	if before == Pending && state.Phase == Inactive && e.owed(x) { // it fired before, and somebody is still to be told that it does not
		state = State{Phase: Resolved, Since: x.state.Ended, Started: x.state.Fired, Seen: h.At, Value: h.Value}
	}
	x.state = state
	switch effect.Phase {
	case Firing:
		e.changedAlert(x, EventFiring, effect.Reason, h.At)
	case Resolved:
		e.changedAlert(x, EventResolved, effect.Reason, h.At)
	case Inactive, Pending:
	}
	if state.Phase == Inactive {
		delete(t.entries, key)
	}
	if state.Phase != before {
		e.version++
		e.poke(e.urgent)
	}
}
