package bus

import (
	"context"
	"fmt"
	"time"
)

// scheduleTick is how often schedules are looked at: a change of the clock or of the manifest counts at most so much later.
const scheduleTick = time.Second

// schedules publishes what schedules want. The id of each event follows from the schedule and the time for which it was due, so
// that after a crash it may come twice, but under one id. It is for one goroutine.
type schedules struct {
	b       *Bus
	config  *Config              // that was looked at last
	settled map[string]time.Time // by schedule: nothing that was due until then is owed
	kept    map[string][]byte    // documents of an earlier run, until the first Config is in force
}

// runSchedules publishes what is due until ctx ends.
func (b *Bus) runSchedules(ctx context.Context) {
	kept, err := b.log.Load(ctx, "schedule.")
	if err != nil {
		b.logger.Error("times of schedules not loaded: missed ones are not published", "error", err)
	}
	s := &schedules{b: b, settled: map[string]time.Time{}, kept: kept}
	ticker := time.NewTicker(scheduleTick)
	defer ticker.Stop()
	for {
		s.look(ctx, time.Now().Round(0)) // as the clock on the wall has it, by which schedules go
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// look looks at every schedule once.
func (s *schedules) look(ctx context.Context, now time.Time) {
	applied, c := s.b.applied.Load(), s.b.config.Load()
	changed := c != s.config
	s.config = c
	wanted := map[string]bool{}
	for i := range c.Schedules {
		sched := &c.Schedules[i]
		wanted[sched.Name] = true
		before, known := s.settled[sched.Name]
		if !known {
			before = s.begin(sched, now)
		}
		settled, published := s.advance(ctx, sched, before, now)
		s.settled[sched.Name] = settled
		if changed || published || !known { // else the same follows from what is kept
			s.b.saver.put(scheduleDocName(sched.Name), []byte(settled.Format(time.RFC3339Nano)))
		}
	}
	if applied && (changed || s.kept != nil) {
		s.forget(wanted)
	}
}

// begin is where a schedule begins that was not there before: where an earlier run has left it, or now.
func (s *schedules) begin(sched *Schedule, now time.Time) time.Time {
	t, err := time.Parse(time.RFC3339Nano, string(s.kept[scheduleDocName(sched.Name)]))
	if err != nil || !sched.Missed || t.After(now) {
		return now
	}
	return t
}

// advance publishes an event if one was due since a time; of several that were missed, one. It returns up to when nothing is owed
// any more: what changes later about the schedule counts from there on.
func (s *schedules) advance(ctx context.Context, sched *Schedule, since, now time.Time) (settled time.Time, published bool) {
	if now.Before(since) {
		return since, false // the clock was put back
	}
	due := sched.Next(since)
	if due.IsZero() || due.After(now) {
		return now, false
	}
	if err := s.b.publishDue(ctx, sched, due); err != nil {
		if ctx.Err() == nil {
			s.b.logger.Error("scheduled event not published, trying again", "schedule", sched.Name, "error", err)
		}
		return since, false
	}
	return now, true
}

// forget forgets all schedules but those that are wanted. One of them that comes back has missed nothing.
func (s *schedules) forget(wanted map[string]bool) {
	docs := map[string]bool{}
	for name := range wanted {
		docs[scheduleDocName(name)] = true
	}
	for name := range s.settled {
		if !wanted[name] {
			delete(s.settled, name)
			s.b.saver.put(scheduleDocName(name), nil)
		}
	}
	for doc := range s.kept {
		if !docs[doc] {
			s.b.saver.put(doc, nil)
		}
	}
	s.kept = nil
}

func scheduleDocName(name string) string { return "schedule." + docSafe(name) }

func (b *Bus) publishDue(ctx context.Context, s *Schedule, due time.Time) error {
	e := &Event{
		ID: fmt.Sprintf("%s/%d", s.Name, due.Unix()), Source: "/services/" + s.Publisher + "/schedules", Type: s.Topic, Time: due,
		DataType: "application/json", Data: s.Data,
	}
	if len(s.Data) == 0 {
		e.DataType = ""
	}
	_, err := b.Publish(ctx, s.Publisher, s.Topic, []*Event{e})
	return err
}
