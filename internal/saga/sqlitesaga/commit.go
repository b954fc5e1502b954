package sqlitesaga

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"time"

	"github.com/atollhq/atoll/internal/saga"
)

// hot is what the writer knows of an instance without asking: which number it has, and what its row holds.
type hot struct {
	n    int64
	row  saga.Row // without its state
	tail int      // bytes of history in the row
}

const (
	maxHot  = 100_000 // instances that are known without asking
	maxRow  = 3900    // bytes of state and history that fit a page
	minTail = 1024    // of history that stay in the row whatever the size of the state
)

// Commit implements saga.Store.
func (s *Store) Commit(ctx context.Context, changes []*saga.Change) ([]saga.Outcome, error) {
	out := make([]saga.Outcome, len(changes))
	err := s.change(ctx, committing, func(ctx context.Context) error {
		bytes := 0
		for i, c := range changes {
			if err := s.apply(ctx, c, &out[i]); err != nil {
				return err
			}
			bytes += 4096
			if c.Row != nil {
				bytes += len(c.Row.State) + len(c.Records)
			}
		}
		s.keeper.wrote(bytes)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// apply makes a change. The caller holds mu and is in a transaction, as with all that follows.
func (s *Store) apply(ctx context.Context, c *saga.Change, out *saga.Outcome) error {
	if c.Row != nil {
		var h *hot
		var err error
		if c.Create != nil {
			if h, err = s.create(ctx, c, out); h == nil {
				return err // it is left out
			}
		} else if h, err = s.update(ctx, c); err != nil {
			return err
		}
		if err := s.follow(ctx, h, c, out); err != nil {
			return err
		}
		if h.row.Phase.Ended() {
			delete(s.hot, h.row.ID)
		}
	}
	for _, id := range c.Taken {
		if _, err := s.write.exec(ctx, "DELETE FROM signals WHERE id = ?", id); err != nil {
			return err
		}
	}
	return s.send(ctx, c.Send, &out.Sent)
}

// follow does what a change brings about beside its row.
func (s *Store) follow(ctx context.Context, h *hot, c *saga.Change, out *saga.Outcome) error {
	for _, task := range c.Forget {
		if _, err := s.write.exec(ctx, "DELETE FROM waiters WHERE n = ? AND task = ?", h.n, task); err != nil {
			return err
		}
	}
	for i := range c.Await {
		if err := s.await(ctx, h, &c.Await[i], &out.Sent); err != nil {
			return err
		}
	}
	if c.Release != "" {
		if err := s.release(ctx, h.n, c.Release, &out.Sent); err != nil {
			return err
		}
	}
	if c.Acquire != "" {
		var err error
		if out.Granted, err = s.acquire(ctx, h.n, c.Acquire); err != nil {
			return err
		}
	}
	return nil
}

// create makes an instance; nil where one has its key or its id, which goes into the outcome.
func (s *Store) create(ctx context.Context, c *saga.Change, out *saga.Outcome) (*hot, error) {
	r := c.Row
	var idem any
	if c.Create.Idem != "" {
		idem = c.Create.Idem
	}
	if r.Rev != 1 {
		return nil, fenced(r, 0)
	}
	if r.Parent != "" {
		if parent, err := s.find(ctx, r.Parent); parent == nil || err != nil {
			out.Orphan = err == nil
			return nil, err
		}
	}
	made, err := s.write.exec(ctx, `INSERT INTO instances (n, id, saga, hash, key, shard, parent, started, idem, print, phase, step, error, wake, ended, purge, rev, state, tail)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		s.lastN+1, r.ID, r.Saga, r.Hash, r.Key, int64(r.Shard), r.Parent, micros(r.Started), idem, c.Create.Print,
		int64(saga.PhaseNumber(r.Phase)), r.Step, r.Error, int64(r.Wake), micros(r.Ended), micros(r.Purge), r.Rev, r.State, c.Records)
	if err != nil {
		return nil, err
	}
	if made == 0 {
		return nil, s.existing(ctx, r, c.Create.Idem, out)
	}
	s.lastN++
	h := &hot{n: s.lastN, row: *r, tail: len(c.Records)}
	h.row.State = nil
	s.counted[tally{r.Saga, int64(saga.PhaseNumber(r.Phase))}]++
	s.remember(h)
	return h, nil
}

func (s *Store) remember(h *hot) {
	for id := range s.hot {
		if len(s.hot) < maxHot {
			break
		}
		delete(s.hot, id)
	}
	s.hot[h.row.ID] = h
}

// existing finds what kept an instance from being made.
func (s *Store) existing(ctx context.Context, r *saga.Row, idem string, out *saga.Outcome) error {
	return s.write.query(ctx, "SELECT print, "+rowColumns+`, state FROM instances
		WHERE n = coalesce((SELECT n FROM instances WHERE id = ?), (SELECT n FROM instances WHERE saga = ? AND idem = ? AND idem IS NOT NULL))`,
		[]any{r.ID, r.Saga, idem}, func(v []driver.Value) error {
			out.Print, out.Existing = text(v[0]), rowOf(v[1:])
			out.Existing.State = blob(v[len(v)-1])
			return nil
		})
}

func fenced(r *saga.Row, rev int64) error {
	return fmt.Errorf("%s is at revision %d, and not before %d: %w", r.ID, rev, r.Rev, saga.ErrFenced)
}

// update changes an instance. Columns with indexes are written only where they change, since SQLite does not look whether they do.
func (s *Store) update(ctx context.Context, c *saga.Change) (*hot, error) {
	r := c.Row
	h, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	if h == nil || r.Rev != h.row.Rev+1 {
		rev := int64(0)
		if h != nil {
			rev = h.row.Rev
		}
		return nil, fenced(r, rev)
	}
	tail := "tail || ?"
	if h.tail > 0 && h.tail+len(c.Records) > max(minTail, maxRow-len(r.State)) {
		if _, err := s.write.exec(ctx, "INSERT INTO history (n, records) SELECT n, tail FROM instances WHERE n = ?", h.n); err != nil {
			return nil, err
		}
		tail, h.tail = "?", 0
	}
	h.tail += len(c.Records)
	was := &h.row
	if was.Phase == r.Phase && was.Wake == r.Wake && was.Hash == r.Hash && was.Step == r.Step && was.Error == r.Error &&
		was.Ended.Equal(r.Ended) && was.Purge.Equal(r.Purge) {
		if len(c.Records) == 0 && tail != "?" {
			_, err = s.write.exec(ctx, "UPDATE instances SET rev = ?, state = ? WHERE n = ?", r.Rev, r.State, h.n)
		} else {
			_, err = s.write.exec(ctx, "UPDATE instances SET rev = ?, state = ?, tail = "+tail+" WHERE n = ?", r.Rev, r.State, c.Records, h.n)
		}
	} else {
		_, err = s.write.exec(ctx, "UPDATE instances SET rev = ?, state = ?, tail = "+tail+`, hash = ?, phase = ?, step = ?, error = ?, wake = ?, ended = ?, purge = ?
			WHERE n = ?`, r.Rev, r.State, c.Records, r.Hash, int64(saga.PhaseNumber(r.Phase)), r.Step, r.Error, int64(r.Wake), micros(r.Ended), micros(r.Purge), h.n)
		if was.Phase != r.Phase {
			s.counted[tally{was.Saga, int64(saga.PhaseNumber(was.Phase))}]--
			s.counted[tally{was.Saga, int64(saga.PhaseNumber(r.Phase))}]++
		}
	}
	was.Phase, was.Wake, was.Hash, was.Step, was.Error = r.Phase, r.Wake, r.Hash, r.Step, r.Error
	was.Ended, was.Purge, was.Rev = r.Ended, r.Purge, r.Rev
	return h, err
}

// find returns what is known of an instance; nil where there is none.
func (s *Store) find(ctx context.Context, id string) (*hot, error) {
	if h := s.hot[id]; h != nil {
		return h, nil
	}
	v, err := s.write.one(ctx, "SELECT n, length(tail), "+rowColumns+" FROM instances WHERE id = ?", id)
	if err != nil || v == nil {
		return nil, err
	}
	h := &hot{n: number(v[0]), tail: int(number(v[1])), row: *rowOf(v[2:])}
	s.remember(h)
	return h, nil
}

// saveCounts adds up what a transaction has changed.
func (s *Store) saveCounts(ctx context.Context) error {
	for t, n := range s.counted {
		if n == 0 {
			continue
		}
		_, err := s.write.exec(ctx, `INSERT INTO counts VALUES (?, ?, ?)
			ON CONFLICT (saga, phase) DO UPDATE SET instances = instances + excluded.instances`, t.saga, t.phase, n)
		if err != nil {
			return err
		}
	}
	clear(s.counted)
	return nil
}

// Times are microseconds since 1970, 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func timeOf(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

const rowColumns = "id, saga, hash, key, phase, step, error, wake, shard, parent, started, ended, purge, rev"

func rowOf(v []driver.Value) *saga.Row {
	return &saga.Row{
		ID: text(v[0]), Saga: text(v[1]), Hash: text(v[2]), Key: text(v[3]), Phase: saga.PhaseOf(int(number(v[4]))), Step: text(v[5]), Error: text(v[6]),
		Wake: saga.Wake(number(v[7])), Shard: int(number(v[8])), Parent: text(v[9]), Started: timeOf(number(v[10])), Ended: timeOf(number(v[11])),
		Purge: timeOf(number(v[12])), Rev: number(v[13]),
	}
}

// list is numbers in JSON, as json_each takes them.
func list[N int | int64](numbers []N) string {
	out := []byte("[")
	for i, n := range numbers {
		if i > 0 {
			out = append(out, ',')
		}
		out = fmt.Append(out, n)
	}
	return string(append(slices.Clip(out), ']'))
}
