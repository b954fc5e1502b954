package memsaga

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/saga"
)

// Commit implements saga.Store. It looks at all changes before it makes the first, so that it makes all or none.
func (s *Store) Commit(_ context.Context, changes []*saga.Change) ([]saga.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(changes); err != nil {
		return nil, fmt.Errorf("commit sagas: %w", err)
	}
	out := make([]saga.Outcome, len(changes))
	for i, c := range changes {
		out[i] = s.apply(c)
	}
	return out, nil
}

// check finds a change that cannot be made. The caller holds mu.
func (s *Store) check(changes []*saga.Change) error {
	revs := map[string]int64{} // of what the changes before have made
	keys := map[idemKey]bool{}
	for _, c := range changes {
		if c.Row == nil {
			continue
		}
		rev, there := revs[c.Row.ID]
		if in := s.rows[c.Row.ID]; in != nil && !there {
			rev, there = in.row.Rev, true
		}
		if c.Create != nil {
			key := idemKey{c.Row.Saga, c.Create.Idem}
			if there || key.key != "" && (keys[key] || s.idem[key] != nil) {
				continue // it will be left out
			}
			keys[key] = true
		}
		if c.Row.Rev != rev+1 || there == (c.Create != nil) {
			return fmt.Errorf("%s is at revision %d, and not before %d: %w", c.Row.ID, rev, c.Row.Rev, saga.ErrFenced)
		}
		revs[c.Row.ID] = c.Row.Rev
	}
	return nil
}

// apply makes a change. The caller holds mu.
func (s *Store) apply(c *saga.Change) saga.Outcome {
	var out saga.Outcome
	if c.Row != nil {
		in := s.rows[c.Row.ID]
		if c.Create != nil {
			if in == nil && c.Create.Idem != "" {
				in = s.idem[idemKey{c.Row.Saga, c.Create.Idem}]
			}
			if in != nil {
				return saga.Outcome{Existing: in.copy(), Print: in.origin.Print}
			}
			if c.Row.Parent != "" && s.rows[c.Row.Parent] == nil {
				return saga.Outcome{Orphan: true}
			}
			in = s.create(c)
		}
		s.set(in, c.Row)
		in.history = append(in.history, c.Records...)
		for _, name := range c.Forget {
			s.forget(in, name)
		}
		for _, w := range c.Await {
			out.Sent = append(out.Sent, s.await(in, w)...)
		}
		if c.Release != "" {
			out.Sent = append(out.Sent, s.release(in, c.Release)...)
		}
		if c.Acquire != "" {
			out.Granted = s.acquire(in, c.Acquire)
		}
	}
	for _, id := range c.Taken {
		if sig, there := s.signals[id]; there {
			delete(s.rows[sig.Instance].signals, id)
			delete(s.signals, id)
		}
	}
	out.Sent = append(out.Sent, s.send(c.Send)...)
	return out
}

func (s *Store) create(c *saga.Change) *instance {
	in := &instance{row: *c.Row, origin: *c.Create, waits: map[string]address{}, signals: map[int64]bool{}}
	s.rows[in.row.ID] = in
	if c.Create.Idem != "" {
		s.idem[idemKey{in.row.Saga, c.Create.Idem}] = in
	}
	if in.row.Parent != "" {
		s.children[in.row.Parent] = append(s.children[in.row.Parent], in.row.ID)
	}
	s.count(in, 1)
	return in
}

// set takes a row as it is now. What never changes stays as it was created.
func (s *Store) set(in *instance, r *saga.Row) {
	s.count(in, -1)
	row := &in.row
	row.Hash, row.Phase, row.Step, row.Error, row.Wake = r.Hash, r.Phase, r.Step, r.Error, r.Wake
	row.Ended, row.Purge, row.Rev, row.State = r.Ended, r.Purge, r.Rev, bytes.Clone(r.State)
	s.count(in, 1)
	if row.Wake == saga.WakeNever {
		delete(s.open, row.ID)
	} else {
		s.open[row.ID] = in
	}
}

func (s *Store) count(in *instance, n int) {
	by := s.counts[in.row.Saga]
	if by == nil {
		by = map[saga.Phase]int{}
		s.counts[in.row.Saga] = by
	}
	by[in.row.Phase] += n
	if by[in.row.Phase] == 0 {
		delete(by, in.row.Phase)
	}
	if len(by) == 0 {
		delete(s.counts, in.row.Saga)
	}
}

func (s *Store) forget(in *instance, name string) {
	at, waits := in.waits[name]
	if !waits {
		return
	}
	delete(in.waits, name)
	delete(s.waiters[at], task{in.row.ID, name})
	if len(s.waiters[at]) == 0 {
		delete(s.waiters, at)
	}
}

// await lets a task wait, and tells it of the oldest mail that was there before it, if the instance was there before the mail.
func (s *Store) await(in *instance, w saga.Waiter) []saga.Signal {
	s.forget(in, w.Task)
	at := address{w.Channel, w.Key}
	in.waits[w.Task] = at
	if s.waiters[at] == nil {
		s.waiters[at] = map[task]saga.Waiter{}
	}
	s.waiters[at][task{in.row.ID, w.Task}] = w
	var oldest *saga.Mail
	for i := range s.mail[at] {
		if m := &s.mail[at][i]; !m.At.Before(in.row.Started) && (oldest == nil || m.At.Before(oldest.At)) {
			oldest = m
		}
	}
	if oldest == nil {
		return nil
	}
	return s.send([]saga.Signal{{Instance: in.row.ID, Task: w.Task, Event: oldest.Event}})
}

func (s *Store) acquire(in *instance, lock string) bool {
	if !slices.Contains(s.locks[lock], in.row.ID) {
		s.locks[lock] = append(s.locks[lock], in.row.ID)
		in.locks = append(in.locks, lock)
	}
	return s.locks[lock][0] == in.row.ID
}

func (s *Store) release(in *instance, lock string) []saga.Signal {
	queue := s.locks[lock]
	at := slices.Index(queue, in.row.ID)
	if at < 0 {
		return nil
	}
	in.locks = slices.DeleteFunc(in.locks, func(l string) bool { return l == lock })
	queue = slices.Delete(queue, at, at+1)
	s.locks[lock] = queue
	if len(queue) == 0 {
		delete(s.locks, lock)
		return nil
	}
	if at > 0 {
		return nil
	}
	return s.send([]saga.Signal{saga.GrantedSignal(queue[0])})
}

// Send implements saga.Store.
func (s *Store) Send(_ context.Context, signals []saga.Signal) ([]saga.Signal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.send(signals), nil
}

func (s *Store) send(signals []saga.Signal) []saga.Signal {
	var kept []saga.Signal
	for _, sig := range signals {
		in := s.rows[sig.Instance]
		if in == nil {
			continue
		}
		s.lastID++
		sig.ID, sig.Event = s.lastID, bytes.Clone(sig.Event)
		s.signals[sig.ID] = sig
		in.signals[sig.ID] = true
		kept = append(kept, sig)
	}
	return kept
}

// Deliver implements saga.Store.
func (s *Store) Deliver(_ context.Context, mail []saga.Mail) ([]saga.Signal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sent []saga.Signal
	for _, m := range mail {
		at := address{m.Channel, m.Key}
		if slices.ContainsFunc(s.mail[at], func(k saga.Mail) bool { return k.ID == m.ID }) {
			continue
		}
		m.Event = bytes.Clone(m.Event)
		s.mail[at] = append(s.mail[at], m)
		var signals []saga.Signal
		for t := range s.waiters[at] {
			signals = append(signals, saga.Signal{Instance: t.instance, Task: t.name, Event: m.Event})
		}
		slices.SortFunc(signals, func(a, b saga.Signal) int {
			return cmp.Or(strings.Compare(a.Instance, b.Instance), strings.Compare(a.Task, b.Task))
		})
		sent = append(sent, s.send(signals)...)
	}
	return sent, nil
}

// Purge implements saga.Store.
func (s *Store) Purge(_ context.Context, now, mailBefore time.Time, limit int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []*instance
	for _, in := range s.rows {
		if p := in.row.Purge; len(due) < limit && !p.IsZero() && !p.After(now) {
			due = append(due, in)
		}
	}
	gone := 0
	for _, in := range due {
		if s.rows[in.row.ID] == in { // it may have gone with its parent
			gone += s.remove(in)
		}
	}
	old := 0
	for at, box := range s.mail {
		s.mail[at] = slices.DeleteFunc(box, func(m saga.Mail) bool {
			if old >= limit || !m.At.Before(mailBefore) {
				return false
			}
			old++
			return true
		})
		if len(s.mail[at]) == 0 {
			delete(s.mail, at)
		}
	}
	return gone, nil
}

// remove takes an instance away, with all that belongs to it, and tells how many it were with its children.
func (s *Store) remove(in *instance) int {
	id, gone := in.row.ID, 1
	for _, child := range s.children[id] {
		if c := s.rows[child]; c != nil {
			gone += s.remove(c)
		}
	}
	delete(s.children, id)
	for name := range in.waits {
		s.forget(in, name)
	}
	for _, lock := range slices.Clone(in.locks) {
		if len(s.release(in, lock)) > 0 {
			select {
			case s.notify <- struct{}{}:
			default:
			}
		}
	}
	for sig := range in.signals {
		delete(s.signals, sig)
	}
	if in.origin.Idem != "" {
		delete(s.idem, idemKey{in.row.Saga, in.origin.Idem})
	}
	s.count(in, -1)
	delete(s.open, id)
	delete(s.rows, id)
	return gone
}
