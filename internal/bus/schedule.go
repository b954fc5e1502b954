package bus

import (
	"context"
	"fmt"
	"time"
)

// scheduleTick is how often schedules are looked at: a change of the clock or of the manifest counts at most so much later.
const scheduleTick = time.Second

// runSchedules publishes what schedules want until ctx ends. The id of each event follows from the schedule and the time for
// which it was due, so that after a crash it may come twice, but under one id.
func (b *Bus) runSchedules(ctx context.Context) {
	kept, err := b.log.Load(ctx, "schedule.")
	if err != nil {
		b.logger.Error("times of schedules not loaded: missed ones are not published", "error", err)
	}
	last := map[string]time.Time{}
	ticker := time.NewTicker(scheduleTick)
	defer ticker.Stop()
	for {
		now := time.Now()
		c := b.config.Load()
		for i := range c.Schedules {
			s := &c.Schedules[i]
			doc := "schedule." + docSafe(s.Name)
			if _, known := last[s.Name]; !known {
				last[s.Name] = b.lastRun(s, kept[doc], now)
				b.saver.put(doc, []byte(last[s.Name].Format(time.RFC3339)))
			}
			due := s.Next(last[s.Name])
			if due.IsZero() || due.After(now) {
				continue
			}
			if err := b.publishDue(ctx, s, due); err != nil {
				b.logger.Error("scheduled event not published, trying again", "schedule", s.Name, "error", err)
				continue
			}
			last[s.Name] = now // of several that were missed, one is published
			b.saver.put(doc, []byte(now.Format(time.RFC3339Nano)))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// lastRun is the time after which a schedule is due next.
func (b *Bus) lastRun(s *Schedule, doc []byte, now time.Time) time.Time {
	t, err := time.Parse(time.RFC3339Nano, string(doc))
	if err != nil || !s.Missed || t.After(now) {
		return now
	}
	return t
}

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
