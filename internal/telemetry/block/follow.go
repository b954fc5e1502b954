package block

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/atollhq/atoll/internal/telemetry"
)

// maxFollowed is how many rows wait for one who follows; beyond, rows are missed.
const maxFollowed = 4096

// followers are those who want rows as they come.
type followers struct {
	mu     sync.RWMutex
	list   []*follower // guarded by mu
	closed bool        // guarded by mu
}

type follower struct {
	query  *telemetry.Query
	rows   chan telemetry.Row
	missed atomic.Int64
}

// Follow calls yield with what h chooses of the rows that are there, then with rows as they are appended.
func (s *Store) Follow(ctx context.Context, signal telemetry.Signal, q *telemetry.Query, h telemetry.History, yield func(telemetry.Row, int64) error) error {
	t := s.table(signal)
	f := &follower{query: q, rows: make(chan telemetry.Row, maxFollowed)}
	// The keeper tells followers under the same lock under which it puts rows into memory, so each row is in one of the two.
	t.mu.RLock()
	snap := t.snapshotLocked()
	there := t.followers.add(f)
	t.mu.RUnlock()
	defer t.followers.remove(f)
	history := func(row telemetry.Row) error { return yield(row, 0) }
	err := s.history(ctx, signal, snap, q, h, history)
	snap.release()
	if err != nil || !there {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case row, ok := <-f.rows:
			if !ok {
				return nil
			}
			if err := yield(row, f.missed.Swap(0)); err != nil {
				return err
			}
		}
	}
}

func (s *Store) history(ctx context.Context, signal telemetry.Signal, snap *snapshot, q *telemetry.Query, h telemetry.History, yield func(telemetry.Row) error) error {
	r := telemetry.Range{From: h.Since}
	switch {
	case h.Last < 0:
		return nil
	case h.Last == 0:
		return s.scan(ctx, signal, snap, r, q.Where, yield)
	}
	if h.Match != nil {
		return s.lastOf(ctx, signal, snap, r, q, h, yield)
	}
	_, err := s.gather(ctx, signal, snap, r, q.Where, h.Last, func(places []place) error {
		slices.Reverse(places)
		return s.deliver(signal, places, yield)
	})
	return err
}

// errEnough ends a search that has found what it wanted.
var errEnough = errors.New("enough")

// lastOf is history where not all rows are among the last. How many to look at for so many nobody knows.
func (s *Store) lastOf(ctx context.Context, signal telemetry.Signal, snap *snapshot, r telemetry.Range, q *telemetry.Query, h telemetry.History, yield func(telemetry.Row) error) error {
	var last []telemetry.Row
	_, err := s.gather(ctx, signal, snap, r, q.Where, telemetry.MaxSorted, func(places []place) error {
		return s.deliver(signal, places, func(row telemetry.Row) error {
			if h.Match(row) {
				last = append(last, row)
			}
			if len(last) == h.Last {
				return errEnough
			}
			return nil
		})
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	for _, row := range slices.Backward(last) {
		if err := yield(row); err != nil {
			return err
		}
	}
	return nil
}

func (f *followers) add(one *follower) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.list = append(f.list, one)
	return true
}

func (f *followers) remove(one *follower) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = slices.DeleteFunc(f.list, func(other *follower) bool { return other == one })
}

func (f *followers) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	for _, one := range f.list {
		close(one.rows)
	}
	f.list = nil
}

// tell hands rows to those who want them.
func (f *followers) tell(spans []telemetry.Span, records []telemetry.Record) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return
	}
	for _, one := range f.list {
		for i := range spans {
			one.offer(telemetry.Row{Span: &spans[i]})
		}
		for i := range records {
			one.offer(telemetry.Row{Record: &records[i]})
		}
	}
}

func (f *follower) offer(row telemetry.Row) {
	if !f.query.Match(row) {
		return
	}
	if len(f.rows) == cap(f.rows) {
		f.missed.Add(1)
		return
	}
	select {
	case f.rows <- cloneRow(row):
	default:
		f.missed.Add(1)
	}
}

// cloneRow copies a row with all that it points to, through the form that the log has.
func cloneRow(row telemetry.Row) telemetry.Row {
	var e encoder
	if row.Span != nil {
		if spans, err := decodeSpans(e.encodeSpans([]telemetry.Span{*row.Span})); err == nil {
			return telemetry.Row{Span: &spans[0]}
		}
		return telemetry.Row{}
	}
	if records, err := decodeRecords(e.encodeRecords([]telemetry.Record{*row.Record})); err == nil {
		return telemetry.Row{Record: &records[0]}
	}
	return telemetry.Row{}
}
