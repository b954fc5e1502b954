package saga

import (
	"context"
	"encoding/json"
	"time"

	"github.com/atollhq/atoll/internal/manifest"
)

// schedule starts instances by the clock, until ctx ends.
func (e *Engine) schedule(ctx context.Context) {
	if e.o.Next == nil {
		return
	}
	for {
		next := e.startDue(ctx)
		timer := time.NewTimer(time.Until(next))
		select {
		case <-timer.C:
		case <-e.rescheduled:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// startDue starts what is due, and returns when to look again.
func (e *Engine) startDue(ctx context.Context) time.Time {
	again := time.Now().Add(time.Hour)
	marks, err := e.store.Marks(ctx)
	if err != nil {
		e.log.Error("sagas: read schedules", "error", err)
		return time.Now().Add(time.Second)
	}
	inForce, _ := e.plans.all()
	for _, plan := range inForce {
		for i := range plan.Starts {
			if plan.Starts[i].Name == "" {
				continue
			}
			next, err := e.startOne(ctx, plan, &plan.Starts[i], marks)
			if err != nil {
				e.log.Error("sagas: schedule", "saga", plan.Name, "schedule", plan.Starts[i].Name, "error", err)
				next = time.Now().Add(5 * time.Second)
			}
			if next.Before(again) {
				again = next
			}
		}
	}
	return again
}

// startOne starts an instance if its schedule is due, and returns when it is due next. Each time starts one instance, whatever
// happens in between and however many engines look: the time is the idempotency key.
func (e *Engine) startOne(ctx context.Context, plan *Plan, start *Start, marks map[string]time.Time) (time.Time, error) {
	name := "schedule " + plan.Name + " " + start.Name
	last, ok := marks[name]
	now := time.Now()
	if !ok { // it is new: what was due before does not count
		last = now
		if err := e.store.Mark(ctx, name, last); err != nil {
			return now, err
		}
	}
	due, err := e.o.Next(start.Cron, start.Zone, last)
	if err != nil || due.After(now) {
		return due, err
	}
	for { // of several that were missed the latest counts
		next, err := e.o.Next(start.Cron, start.Zone, due)
		if err != nil {
			return now, err
		}
		if next.After(now) {
			break
		}
		due = next
	}
	if start.Missed != manifest.MissedSkip || now.Sub(due) < time.Minute {
		input := json.RawMessage("null")
		if start.Input != nil {
			if input, err = start.Input.Value(&Scope{}); err != nil {
				return now, err
			}
		}
		ask := Ask{Saga: plan.Name, Input: input, Idem: name + " " + due.UTC().Format(time.RFC3339), By: "schedule " + start.Name}
		if _, err := e.Start(ctx, ask); err != nil {
			return now, err
		}
	}
	if err := e.store.Mark(ctx, name, due); err != nil {
		return now, err
	}
	return e.o.Next(start.Cron, start.Zone, due)
}
