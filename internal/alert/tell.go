package alert

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// The delays after a receiver could not be told.
const (
	minBackoff = time.Second
	maxBackoff = 5 * time.Minute
)

// backoff is the delay after so many failures in a row: between half of it and all.
func backoff(fails int) time.Duration {
	d := min(minBackoff<<min(fails-1, 20), maxBackoff)
	return d/2 + rand.N(d/2)
}

// applyTellers makes tellers of receivers, and answers how those end that are gone.
func (e *Engine) applyTellers(s Settings) []context.CancelFunc {
	old := e.tellers
	e.tellers = make(map[string]*teller, len(s.Receivers))
	for _, r := range s.Receivers {
		t := old[r.Name]
		if t == nil {
			t = &teller{groups: map[string]*Group{}, wake: make(chan struct{}, 1)}
			for _, g := range e.unknown[r.Name] {
				t.groups[g.Labels.Key()] = g
			}
		}
		t.Receiver = r
		e.tellers[r.Name] = t
		delete(old, r.Name)
	}
	clear(e.unknown)
	var stops []context.CancelFunc
	for _, t := range old {
		if t.stop != nil {
			stops = append(stops, t.stop)
		}
	}
	return stops
}

// startTellers starts those that do not run yet.
func (e *Engine) startTellers(ctx context.Context, work *sync.WaitGroup) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.tellers {
		if t.stop == nil {
			own, stop := context.WithCancel(ctx)
			t.stop = stop
			work.Go(func() {
				defer stop()
				e.tellAll(own, t)
			})
		}
	}
}

// joinAll puts what fires into the groups of receivers, for those that are new or that group otherwise now.
func (e *Engine) joinAll(now time.Time) {
	for _, t := range e.tellers {
		for _, task := range e.tasks {
			for _, x := range task.entries {
				e.join(t, x, now)
			}
		}
	}
}

// takes tells whether a receiver is told of an alert.
func (t *teller) takes(x *entry) bool { return t.Severity == "" || t.Severity == x.severity }

// join makes the group of an alert that fires, where there is none yet.
func (e *Engine) join(t *teller, x *entry, now time.Time) {
	if !t.takes(x) || x.state.Phase != Firing {
		return // who was told of one that is resolved has its group
	}
	labels := x.labels.only(e.settings.Group)
	key := labels.Key()
	switch {
	case t.groups[key] != nil:
		return
	case len(t.groups) >= MaxGroups:
		t.dropped++
		return
	}
	t.groups[key] = newGroup(labels, now, e.settings.Timing)
	e.version++
	e.poke(t.wake)
}

// owed tells whether a receiver was told that an alert fires, and is still to be told that it does no longer.
func (e *Engine) owed(x *entry) bool {
	key, group := x.labels.Key(), x.labels.only(e.settings.Group).Key()
	for _, t := range e.tellers {
		if g := t.groups[group]; g != nil && g.Firing[key] && t.takes(x) {
			return true
		}
	}
	return false
}

// members are the alerts of a group. One that fired, and is pending again before a receiver was told of its end, is one that has ended.
func (e *Engine) members(t *teller, g *Group, now time.Time) []Alert {
	var out []Alert
	want := g.Labels.Key()
	for _, task := range e.tasks {
		for _, x := range task.entries {
			pending := x.state.Phase == Pending
			if !t.takes(x) || pending && !g.Firing[x.labels.Key()] || x.labels.only(e.settings.Group).Key() != want {
				continue
			}
			a := e.view(x, now)
			if pending {
				a.Phase, a.Since, a.Started, a.Ended = Resolved, x.state.Ended, x.state.Fired, x.state.Ended
			}
			out = append(out, a)
		}
	}
	return out
}

// view is an alert as others see it.
func (e *Engine) view(x *entry, now time.Time) Alert {
	s := &x.state
	a := Alert{
		Rule: x.rule, Labels: x.labels, Severity: x.severity, Phase: s.Phase, Since: s.Since, Started: s.Started, NoData: s.Missing, Value: s.Value, Unit: x.unit,
		Summary: x.summary, Silenced: silenced(e.silences, x.labels, now),
	}
	if s.Phase == Resolved {
		a.Ended = s.Since
	}
	return a
}

// tellAll tells one receiver what there is to tell, until ctx ends.
func (e *Engine) tellAll(ctx context.Context, t *teller) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-t.wake:
		}
		for ctx.Err() == nil {
			g, n, wait := e.next(t, time.Now())
			if n == nil {
				timer.Reset(wait)
				break
			}
			e.tell(ctx, t, g, n)
		}
	}
}

// next looks at the groups that are due, until there is something to tell; else it says how long it is until the next is.
func (e *Engine) next(t *teller, now time.Time) (*Group, *Notification, time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if wait := t.until.Sub(now); wait > 0 {
		return nil, nil, wait
	}
	next := now.Add(maxIdle)
	for key, g := range t.groups {
		if g.Due.After(now) {
			if g.Due.Before(next) {
				next = g.Due
			}
			continue
		}
		alerts := e.members(t, g, now)
		if told := g.decide(alerts, now, e.settings.Timing); told != nil {
			return g, g.notification(t.Name, told, now), 0
		}
		e.looked(t, key, g, alerts, now)
		if g.Due.Before(next) {
			next = g.Due
		}
	}
	return nil, nil, max(next.Sub(now), time.Millisecond)
}

// looked ends the look at a group, and drops one of which there is nothing left.
func (e *Engine) looked(t *teller, key string, g *Group, alerts []Alert, now time.Time) {
	if !g.looked(alerts, now, e.settings.Timing) && t.groups[key] == g {
		delete(t.groups, key)
	}
	e.version++
}

// tell tells a receiver of one group, and notes what came of it.
func (e *Engine) tell(ctx context.Context, t *teller, g *Group, n *Notification) {
	e.mu.Lock()
	notifier := t.Notifier
	e.mu.Unlock()
	own, cancel := context.WithTimeout(ctx, e.config.TellTimeout)
	err := notifier.Notify(own, n)
	cancel()
	if err != nil && ctx.Err() != nil {
		return
	}
	now := time.Now()
	e.mu.Lock()
	switch {
	case err != nil:
		t.fails++
		t.until = now.Add(backoff(t.fails))
		if t.fails == 1 {
			t.since = now
			e.note(Change{At: now, Kind: EventTellFailing, Subject: t.Name, Summary: text(err), Err: err})
		}
	default:
		if t.fails > 0 {
			e.note(Change{At: now, Kind: EventTold, Subject: t.Name})
		}
		t.fails, t.until, t.since = 0, time.Time{}, now
		g.told(n.all, now)
		e.looked(t, g.Labels.Key(), g, e.members(t, g, now), now)
	}
	t.err = err
	e.mu.Unlock()
	if err == nil {
		_ = e.save(context.WithoutCancel(ctx)) // its error is noted; the receiver has been told
	}
}
