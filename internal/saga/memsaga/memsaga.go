// Package memsaga keeps sagas in memory: for tests, and for programs that need nothing kept. It serves one engine, which owns its
// only shard. It starts no goroutine and never waits. What it holds is bounded by what its user purges.
package memsaga

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/saga"
)

// Store is a saga.Store in memory.
type Store struct {
	notify chan struct{}

	mu       sync.Mutex                       // guards all that follows
	claimed  bool                             // it was asked who owns the shard
	rows     map[string]*instance             // by id
	open     map[string]*instance             // of rows: those that something wakes by itself
	idem     map[idemKey]*instance            // by idempotency key
	counts   map[string]map[saga.Phase]int    // by saga
	children map[string][]string              // ids, by parent
	locks    map[string][]string              // ids by lock: who holds it, and who waits for it
	waiters  map[address]map[task]saga.Waiter // by what they wait for
	mail     map[address][]saga.Mail          // as it came
	signals  map[int64]saga.Signal
	lastID   int64 // of a signal
	plans    map[string][]byte
	marks    map[string]time.Time
}

type (
	idemKey struct{ saga, key string }
	address struct{ channel, key string }
	task    struct{ instance, name string }
)

// instance is a row with what belongs to it.
type instance struct {
	row     saga.Row
	origin  saga.Origin
	history []byte
	waits   map[string]address // by task
	locks   []string
	signals map[int64]bool
}

var _ saga.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store {
	return &Store{
		notify: make(chan struct{}, 1),
		rows:   map[string]*instance{}, open: map[string]*instance{}, idem: map[idemKey]*instance{},
		counts: map[string]map[saga.Phase]int{}, children: map[string][]string{}, locks: map[string][]string{},
		waiters: map[address]map[task]saga.Waiter{}, mail: map[address][]saga.Mail{}, signals: map[int64]saga.Signal{},
		plans: map[string][]byte{}, marks: map[string]time.Time{},
	}
}

// Claim implements saga.Store.
func (s *Store) Claim(context.Context) (saga.Claim, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := saga.Claim{Owned: []int{0}}
	if !s.claimed {
		c.Fresh = []int{0}
	}
	s.claimed = true
	return c, nil
}

// Reset implements saga.Store.
func (s *Store) Reset(context.Context) error { return nil }

// Notify implements saga.Store. Nothing ever comes from elsewhere, except a lock that a purge hands on.
func (s *Store) Notify() <-chan struct{} { return s.notify }

// Close implements saga.Store. The store can be used on: what is opened again later is the same store.
func (s *Store) Close() error { return nil }

// Due implements saga.Store.
func (s *Store) Due(_ context.Context, shards []int, after, until saga.Wake, limit int) ([]saga.Row, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pick(s.open, limit, func(a, b *instance) int {
		if a.row.Wake != b.row.Wake {
			return int(min(1, max(-1, a.row.Wake-b.row.Wake)))
		}
		return strings.Compare(a.row.ID, b.row.ID)
	}, func(r *saga.Row) bool {
		return r.Wake > after && r.Wake <= until && slices.Contains(shards, r.Shard)
	}), nil
}

// Active implements saga.Store.
func (s *Store) Active(_ context.Context, shards []int, after string, limit int) ([]saga.Row, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pick(s.open, limit, byID, func(r *saga.Row) bool {
		return r.Wake == saga.WakeActive && r.ID > after && slices.Contains(shards, r.Shard)
	}), nil
}

func byID(a, b *instance) int { return strings.Compare(a.row.ID, b.row.ID) }

// pick copies rows that are wanted, in an order. The caller holds mu.
func (s *Store) pick(from map[string]*instance, limit int, order func(a, b *instance) int, wanted func(*saga.Row) bool) []saga.Row {
	var found []*instance
	for _, in := range from {
		if wanted(&in.row) {
			found = append(found, in)
		}
	}
	slices.SortFunc(found, order)
	var out []saga.Row
	for _, in := range found[:min(max(0, limit), len(found))] {
		out = append(out, *in.copy())
	}
	return out
}

func (in *instance) copy() *saga.Row {
	r := in.row
	r.State = bytes.Clone(r.State)
	return &r
}

// Signals implements saga.Store.
func (s *Store) Signals(_ context.Context, shards []int, after int64, limit int) ([]saga.Signal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []saga.Signal
	for _, id := range slices.Sorted(maps.Keys(s.signals)) {
		if len(out) >= limit {
			break
		}
		if sig := s.signals[id]; id > after && slices.Contains(shards, s.rows[sig.Instance].row.Shard) {
			out = append(out, sig)
		}
	}
	return out, nil
}

// Row implements saga.Store.
func (s *Store) Row(_ context.Context, id string) (*saga.Row, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in := s.rows[id]; in != nil {
		return in.copy(), nil
	}
	return nil, nil //nolint:nilnil // nil stands for none
}

// Find implements saga.Store.
func (s *Store) Find(_ context.Context, q *saga.Query) ([]saga.Row, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := strings.ToLower(q.Error)
	rows := s.pick(s.rows, q.Limit, func(a, b *instance) int { return byID(b, a) }, func(r *saga.Row) bool {
		switch {
		case q.Saga != "" && r.Saga != q.Saga, q.Key != "" && r.Key != q.Key, q.Step != "" && r.Step != q.Step:
		case q.Parent != "" && r.Parent != q.Parent, q.Before != "" && r.ID >= q.Before:
		case !q.From.IsZero() && r.Started.Before(q.From), !q.To.IsZero() && !r.Started.Before(q.To):
		case len(q.Phases) > 0 && !slices.Contains(q.Phases, r.Phase):
		default:
			return strings.Contains(strings.ToLower(r.Error), text)
		}
		return false
	})
	for i := range rows {
		rows[i].State = nil
	}
	return rows, nil
}

// History implements saga.Store.
func (s *Store) History(_ context.Context, id string) ([]json.RawMessage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in := s.rows[id]; in != nil {
		return saga.Lines(in.history)
	}
	return nil, nil
}

// Count implements saga.Store.
func (s *Store) Count(context.Context) (map[string]map[saga.Phase]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]map[saga.Phase]int{}
	for name, by := range s.counts {
		out[name] = maps.Clone(by)
	}
	return out, nil
}

// SavePlan implements saga.Store.
func (s *Store) SavePlan(_ context.Context, hash, _ string, source []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plans[hash] == nil {
		s.plans[hash] = bytes.Clone(source)
	}
	return nil
}

// Plan implements saga.Store.
func (s *Store) Plan(_ context.Context, hash string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.plans[hash]), nil
}

// Mark implements saga.Store.
func (s *Store) Mark(_ context.Context, name string, at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.After(s.marks[name]) {
		s.marks[name] = at.UTC()
	}
	return nil
}

// Marks implements saga.Store.
func (s *Store) Marks(context.Context) (map[string]time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.marks), nil
}

// Hashes implements saga.Store.
func (s *Store) Hashes(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[string]bool{}
	for _, in := range s.rows {
		if !in.row.Phase.Ended() {
			seen[in.row.Hash] = true
		}
	}
	return slices.Sorted(maps.Keys(seen)), nil
}
