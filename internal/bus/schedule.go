package bus

import (
	"context"
	"encoding/json"
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
		kept = map[string][]byte{}
		b.logger.Error("times of schedules not loaded: missed ones are not published", "error", err)
	}
	last := map[string]lastRun{}
	ticker := time.NewTicker(scheduleTick)
	defer ticker.Stop()
	for {
		now := time.Now()
		c := b.config.Load()
		b.forgetSchedules(c, last, kept)
		for i := range c.Schedules {
			s := &c.Schedules[i]
			doc := scheduleDocName(s.Name)
			if was, known := last[s.Name]; !known || was.Form != s.Form {
				last[s.Name] = beginSchedule(s, kept[doc], now)
				delete(kept, doc) // of what is edited later, nothing was missed
				b.saver.put(doc, last[s.Name].text())
			}
			due := s.Next(last[s.Name].At)
			if due.IsZero() || due.After(now) {
				continue
			}
			if err := b.publishDue(ctx, s, due); err != nil {
				b.logger.Error("scheduled event not published, trying again", "schedule", s.Name, "error", err)
				continue
			}
			last[s.Name] = lastRun{now, s.Form} // of several that were missed, one is published
			b.saver.put(doc, last[s.Name].text())
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// lastRun is the time up to which a schedule has been dealt with, and the form that it had.
type lastRun struct {
	At   time.Time `json:"at"`
	Form string    `json:"form"`
}

func (l lastRun) text() []byte {
	text, err := json.Marshal(l)
	if err != nil {
		panic("bus: the time of a schedule cannot be written: " + err.Error())
	}
	return text
}

func scheduleDocName(schedule string) string { return "schedule." + docSafe(schedule) }

// forgetSchedules forgets those that are no longer there, though their service is: if they come back, they begin anew.
func (b *Bus) forgetSchedules(c *Config, last map[string]lastRun, kept map[string][]byte) {
	there := map[string]bool{}
	for i := range c.Schedules {
		there[c.Schedules[i].Name] = true
	}
	for name := range last {
		if !there[name] {
			delete(last, name)
			delete(kept, scheduleDocName(name))
			b.saver.put(scheduleDocName(name), nil)
		}
	}
}

// beginSchedule is the time after which a schedule is due first. What it missed while nothing ran counts if it wants that, and has
// not been edited since.
func beginSchedule(s *Schedule, doc []byte, now time.Time) lastRun {
	var was lastRun
	if err := json.Unmarshal(doc, &was); err != nil || !s.Missed || was.Form != s.Form || was.At.After(now) {
		return lastRun{now, s.Form}
	}
	return was
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
