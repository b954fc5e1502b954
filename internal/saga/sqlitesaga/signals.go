package sqlitesaga

import (
	"context"
	"database/sql/driver"

	"github.com/atollhq/atoll/internal/saga"
)

// send keeps signals for instances that are there.
func (s *Store) send(ctx context.Context, signals []saga.Signal, sent *[]saga.Signal) error {
	for _, sig := range signals {
		h, err := s.find(ctx, sig.Instance)
		if err != nil {
			return err
		}
		if h == nil {
			continue
		}
		if err := s.keep(ctx, h.n, sig, sent); err != nil {
			return err
		}
	}
	return nil
}

// keep keeps a signal for the instance with a number.
func (s *Store) keep(ctx context.Context, n int64, sig saga.Signal, sent *[]saga.Signal) error {
	s.lastID++
	sig.ID = s.lastID
	if _, err := s.write.exec(ctx, "INSERT INTO signals VALUES (?, ?, ?, ?)", sig.ID, n, sig.Task, []byte(sig.Event)); err != nil {
		return err
	}
	*sent = append(*sent, sig)
	return nil
}

// await lets a task wait, and tells it of the oldest mail that was there before it, if the instance was there before the mail.
func (s *Store) await(ctx context.Context, h *hot, w *saga.Waiter, sent *[]saga.Signal) error {
	_, err := s.write.exec(ctx, `INSERT INTO waiters VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET channel = excluded.channel, key = excluded.key`,
		h.n, w.Task, w.Channel, w.Key)
	if err != nil {
		return err
	}
	mail, err := s.write.one(ctx, "SELECT event FROM mail WHERE channel = ? AND key = ? AND at >= ? ORDER BY at, seq LIMIT 1",
		w.Channel, w.Key, micros(h.row.Started))
	if err != nil || mail == nil {
		return err
	}
	return s.keep(ctx, h.n, saga.Signal{Instance: h.row.ID, Task: w.Task, Event: blob(mail[0])}, sent)
}

// holder is the number of the instance that has a lock, or 0: the first of those that have asked for it.
func (s *Store) holder(ctx context.Context, lock string) (int64, error) {
	return s.write.number(ctx, "SELECT n FROM locks WHERE name = ? ORDER BY place LIMIT 1", lock)
}

func (s *Store) acquire(ctx context.Context, n int64, lock string) (bool, error) {
	_, err := s.write.exec(ctx, `INSERT INTO locks SELECT ?1, coalesce(max(place), 0) + 1, ?2 FROM locks WHERE name = ?1
		ON CONFLICT DO NOTHING`, lock, n)
	if err != nil {
		return false, err
	}
	first, err := s.holder(ctx, lock)
	return first == n, err
}

func (s *Store) release(ctx context.Context, n int64, lock string, sent *[]saga.Signal) error {
	first, err := s.holder(ctx, lock)
	if err != nil {
		return err
	}
	if _, err := s.write.exec(ctx, "DELETE FROM locks WHERE n = ? AND name = ?", n, lock); err != nil || first != n {
		return err
	}
	next, err := s.write.one(ctx, "SELECT n, id FROM instances WHERE n = (SELECT n FROM locks WHERE name = ? ORDER BY place LIMIT 1)", lock)
	if err != nil || next == nil {
		return err
	}
	return s.keep(ctx, number(next[0]), saga.GrantedSignal(text(next[1])), sent)
}

// Send implements saga.Store.
func (s *Store) Send(ctx context.Context, signals []saga.Signal) (sent []saga.Signal, err error) {
	err = s.change(ctx, "send signals", func(ctx context.Context) error { return s.send(ctx, signals, &sent) })
	if err != nil {
		return nil, err
	}
	return sent, nil
}

// Deliver implements saga.Store.
func (s *Store) Deliver(ctx context.Context, mail []saga.Mail) (sent []saga.Signal, err error) {
	err = s.change(ctx, "deliver mail", func(ctx context.Context) error {
		for i := range mail {
			if err := s.deliver(ctx, &mail[i], &sent); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sent, nil
}

func (s *Store) deliver(ctx context.Context, m *saga.Mail, sent *[]saga.Signal) error {
	kept, err := s.write.exec(ctx, "INSERT INTO mail (channel, key, id, at, event) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		m.Channel, m.Key, m.ID, micros(m.At), []byte(m.Event))
	if err != nil || kept == 0 {
		return err
	}
	type waiter struct {
		n        int64
		id, task string
	}
	var waiters []waiter
	err = s.write.query(ctx, `SELECT i.n, i.id, w.task FROM waiters w JOIN instances i ON i.n = w.n WHERE w.channel = ? AND w.key = ?
		ORDER BY i.id, w.task`, []any{m.Channel, m.Key}, func(v []driver.Value) error {
		waiters = append(waiters, waiter{number(v[0]), text(v[1]), text(v[2])})
		return nil
	})
	if err != nil {
		return err
	}
	for _, w := range waiters {
		if err := s.keep(ctx, w.n, saga.Signal{Instance: w.id, Task: w.task, Event: m.Event}, sent); err != nil {
			return err
		}
	}
	return nil
}
