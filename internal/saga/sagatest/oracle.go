package sagatest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/saga"
)

// oracle is a store as dumb as can be: lists that are searched from their beginning. It predicts what a real one does, but for the
// ids of signals.
type oracle struct {
	rows    []kept // in the order of their creation
	queue   []ask  // for locks, in the order of asking
	waits   []wait
	mail    []saga.Mail
	signals []saga.Signal // without ids
	plans   map[string]string
	marks   map[string]time.Time
}

type kept struct {
	row         saga.Row
	idem, print string
	lines       []string
}

type (
	ask  struct{ lock, id string }
	wait struct{ id, task, channel, key string }
)

func newOracle() *oracle {
	return &oracle{plans: map[string]string{}, marks: map[string]time.Time{}}
}

func (o *oracle) clone() *oracle {
	c := *o
	c.rows = slices.Clone(o.rows)
	for i := range c.rows {
		c.rows[i].lines = slices.Clone(c.rows[i].lines)
	}
	c.queue, c.waits, c.mail, c.signals = slices.Clone(o.queue), slices.Clone(o.waits), slices.Clone(o.mail), slices.Clone(o.signals)
	return &c
}

func (o *oracle) find(id string) *kept {
	for i := range o.rows {
		if o.rows[i].row.ID == id {
			return &o.rows[i]
		}
	}
	return nil
}

// commit predicts outcomes, or that it is fenced.
func (o *oracle) commit(changes []*saga.Change) (outs []saga.Outcome, fenced bool) {
	trial := o.clone()
	for _, c := range changes {
		out, ok := trial.apply(c)
		if !ok {
			return nil, true
		}
		outs = append(outs, out)
	}
	*o = *trial
	return outs, false
}

func (o *oracle) apply(c *saga.Change) (out saga.Outcome, ok bool) {
	if c.Row != nil {
		k := o.find(c.Row.ID)
		if c.Create != nil {
			for i := range o.rows {
				if e := &o.rows[i]; k == nil && c.Create.Idem != "" && e.row.Saga == c.Row.Saga && e.idem == c.Create.Idem {
					k = e
				}
			}
			if k != nil {
				row := k.row
				return saga.Outcome{Existing: &row, Print: k.print}, true
			}
			if c.Row.Parent != "" && o.find(c.Row.Parent) == nil {
				return saga.Outcome{Orphan: true}, true
			}
			o.rows = append(o.rows, kept{idem: c.Create.Idem, print: c.Create.Print})
			k = &o.rows[len(o.rows)-1]
		}
		if k == nil || c.Row.Rev != k.row.Rev+1 {
			return out, false
		}
		k.row = *c.Row
		var lines []json.RawMessage
		if len(c.Records) > 0 {
			if err := json.Unmarshal(c.Records, &lines); err != nil {
				panic(err)
			}
		}
		for _, l := range lines {
			k.lines = append(k.lines, string(l))
		}
		o.waiting(c, k.row.Started, &out)
		if c.Release != "" {
			o.release(c.Row.ID, c.Release, &out)
		}
		if c.Acquire != "" {
			if !slices.Contains(o.queue, ask{c.Acquire, c.Row.ID}) {
				o.queue = append(o.queue, ask{c.Acquire, c.Row.ID})
			}
			out.Granted = o.holder(c.Acquire) == c.Row.ID
		}
	}
	for _, s := range c.Send {
		if o.find(s.Instance) != nil {
			out.Sent = append(out.Sent, s)
		}
	}
	o.signals = append(o.signals, out.Sent...)
	return out, true
}

func (o *oracle) waiting(c *saga.Change, started time.Time, out *saga.Outcome) {
	o.waits = slices.DeleteFunc(o.waits, func(w wait) bool { return w.id == c.Row.ID && slices.Contains(c.Forget, w.task) })
	for _, w := range c.Await {
		o.waits = slices.DeleteFunc(o.waits, func(x wait) bool { return x.id == c.Row.ID && x.task == w.Task })
		o.waits = append(o.waits, wait{c.Row.ID, w.Task, w.Channel, w.Key})
		var oldest *saga.Mail
		for i := range o.mail {
			m := &o.mail[i]
			if m.Channel == w.Channel && m.Key == w.Key && !m.At.Before(started) && (oldest == nil || m.At.Before(oldest.At)) {
				oldest = m
			}
		}
		if oldest != nil {
			out.Sent = append(out.Sent, saga.Signal{Instance: c.Row.ID, Task: w.Task, Event: oldest.Event})
		}
	}
}

func (o *oracle) holder(lock string) string {
	for _, a := range o.queue {
		if a.lock == lock {
			return a.id
		}
	}
	return ""
}

func (o *oracle) release(id, lock string, out *saga.Outcome) {
	before := o.holder(lock)
	o.queue = slices.DeleteFunc(o.queue, func(a ask) bool { return a == ask{lock, id} })
	if after := o.holder(lock); after != before && after != "" {
		out.Sent = append(out.Sent, saga.GrantedSignal(after))
	}
}

func (o *oracle) deliver(mail []saga.Mail) (sent []saga.Signal) {
	for _, m := range mail {
		if slices.ContainsFunc(o.mail, func(k saga.Mail) bool { return k.Channel == m.Channel && k.Key == m.Key && k.ID == m.ID }) {
			continue
		}
		o.mail = append(o.mail, m)
		for _, w := range o.waits {
			if w.channel == m.Channel && w.key == m.Key {
				sent = append(sent, saga.Signal{Instance: w.id, Task: w.task, Event: m.Event})
			}
		}
	}
	o.signals = append(o.signals, sent...)
	return sent
}

func (o *oracle) send(signals []saga.Signal) (sent []saga.Signal) {
	for _, s := range signals {
		if o.find(s.Instance) != nil {
			sent = append(sent, s)
		}
	}
	o.signals = append(o.signals, sent...)
	return sent
}

// purge removes all that may go, however many, and tells how many went.
func (o *oracle) purge(now, mailBefore time.Time) int {
	gone := map[string]bool{}
	for again := true; again; {
		again = false
		for _, k := range o.rows {
			r := &k.row
			if !gone[r.ID] && (!r.Purge.IsZero() && !r.Purge.After(now) || gone[r.Parent]) {
				gone[r.ID], again = true, true
			}
		}
	}
	var out saga.Outcome
	for _, a := range slices.Clone(o.queue) {
		if gone[a.id] {
			o.release(a.id, a.lock, &out)
		}
	}
	o.signals = append(o.signals, out.Sent...)
	o.rows = slices.DeleteFunc(o.rows, func(k kept) bool { return gone[k.row.ID] })
	o.waits = slices.DeleteFunc(o.waits, func(w wait) bool { return gone[w.id] })
	o.signals = slices.DeleteFunc(o.signals, func(s saga.Signal) bool { return gone[s.Instance] })
	o.mail = slices.DeleteFunc(o.mail, func(m saga.Mail) bool { return m.At.Before(mailBefore) })
	return len(gone)
}

func (o *oracle) search(q *saga.Query) []saga.Row {
	var out []saga.Row
	for _, k := range o.rows {
		r := k.row
		r.State = nil
		if (q.Saga == "" || q.Saga == r.Saga) && (q.Key == "" || q.Key == r.Key) && (q.Step == "" || q.Step == r.Step) &&
			(q.Parent == "" || q.Parent == r.Parent) && (q.Before == "" || r.ID < q.Before) &&
			(q.From.IsZero() || !r.Started.Before(q.From)) && (q.To.IsZero() || r.Started.Before(q.To)) &&
			(len(q.Phases) == 0 || slices.Contains(q.Phases, r.Phase)) && strings.Contains(strings.ToLower(r.Error), strings.ToLower(q.Error)) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b saga.Row) int { return strings.Compare(b.ID, a.ID) })
	return out[:min(q.Limit, len(out))]
}

func (o *oracle) due(after, until saga.Wake, limit int) []saga.Row {
	var out []saga.Row
	for _, k := range o.rows {
		if k.row.Wake > after && k.row.Wake <= until {
			out = append(out, k.row)
		}
	}
	slices.SortFunc(out, func(a, b saga.Row) int {
		return strings.Compare(fmt.Sprintf("%020d %s", a.Wake, a.ID), fmt.Sprintf("%020d %s", b.Wake, b.ID))
	})
	return out[:min(limit, len(out))]
}

func (o *oracle) count() string {
	by := map[string]int{}
	for _, k := range o.rows {
		by[k.row.Saga+" "+string(k.row.Phase)]++
	}
	return fmt.Sprint(by)
}
