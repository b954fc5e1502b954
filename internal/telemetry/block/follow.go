package block

import (
	"context"
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
	signal telemetry.Signal
	query  *telemetry.Query
	rows   chan telemetry.Row
	missed atomic.Int64
}

// Follow calls yield with rows as they are appended, until ctx or the store ends.
func (s *Store) Follow(ctx context.Context, signal telemetry.Signal, q *telemetry.Query, yield func(telemetry.Row, int64) error) error {
	f := &follower{signal: signal, query: q, rows: make(chan telemetry.Row, maxFollowed)}
	if !s.followers.add(f) {
		return nil
	}
	defer s.followers.remove(f)
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
	for _, one := range f.list {
		if one.signal == telemetry.Spans {
			for i := range spans {
				one.offer(telemetry.Row{Span: &spans[i]})
			}
			continue
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
