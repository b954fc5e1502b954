package alert

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// The times of keeping.
const (
	keepSoon = 200 * time.Millisecond // after a change, so that many are kept at once
	keepSeen = 30 * time.Second       // the answers to questions, while something is pending or firing
)

// keep saves what has changed, until ctx ends.
func (e *Engine) keep(ctx context.Context) {
	tick := time.NewTicker(keepSeen)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			e.seen()
		case <-e.urgent:
			select {
			case <-ctx.Done():
				return
			case <-time.After(keepSoon):
			}
		}
		_ = e.save(ctx) // its error is noted, and the next tick tries again
	}
}

// seen makes the next save keep when there were answers last, so that a gap after a restart is not taken for a longer one; and it forgets silences that are long over.
func (e *Engine) seen() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.tasks {
		if len(t.entries) > 0 {
			e.version++
			break
		}
	}
	before, now := len(e.silences), time.Now()
	e.silences = slices.DeleteFunc(e.silences, func(s Silence) bool { return now.Sub(s.Until) > keptSilence })
	if len(e.silences) != before {
		e.version++
	}
}

// save makes durable what is not yet.
func (e *Engine) save(ctx context.Context) error {
	e.saving.Lock()
	defer e.saving.Unlock()
	e.mu.Lock()
	version := e.version
	if version == e.saved {
		e.mu.Unlock()
		return nil
	}
	snapshot := e.snapshot()
	e.mu.Unlock()
	err := e.config.Store.Save(ctx, snapshot)
	if err != nil {
		err = fmt.Errorf("save state of alerts: %w", err)
	} else {
		e.saved = version
	}
	failed, before := err != nil, e.lost != nil
	e.lost = err
	if failed != before {
		e.mu.Lock()
		defer e.mu.Unlock()
		c := Change{At: time.Now(), Kind: EventStateKept}
		if failed {
			c.Kind, c.Summary, c.Err = EventStateFailing, text(err), err
		}
		e.note(c)
	}
	return err
}

// snapshot is all that is to be kept. Nothing of it changes any more.
func (e *Engine) snapshot() *Snapshot {
	s := &Snapshot{Alerts: slices.Clone(e.orphans), Silences: slices.Clone(e.silences), History: slices.Clone(e.history), Groups: maps.Clone(e.unknown)}
	for _, name := range slices.Sorted(maps.Keys(e.tasks)) {
		t := e.tasks[name]
		for _, key := range slices.Sorted(maps.Keys(t.entries)) {
			x := t.entries[key]
			s.Alerts = append(s.Alerts, Kept{Rule: name, Labels: x.labels, Severity: x.severity, Summary: x.summary, State: x.state})
		}
	}
	for _, t := range e.tellers {
		for _, key := range slices.Sorted(maps.Keys(t.groups)) {
			g := *t.groups[key]
			g.Firing = maps.Clone(g.Firing)
			s.Groups[t.Name] = append(s.Groups[t.Name], &g)
		}
	}
	return s
}
