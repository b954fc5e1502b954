package logfile

import (
	"context"
	"math"
	"slices"

	"github.com/atollhq/atoll/internal/telemetry"
)

// cursor is how far a reader has come in the records of one service.
type cursor struct {
	segment int
	offset  int64
}

// extent is what there was to read of a service at one moment: its segments from the cursor on, oldest first.
type extent struct {
	service  string
	segments []int
	size     int64 // of the last segment
	at       *cursor
}

// reader is one Read.
type reader struct {
	store *Store
	query *telemetry.LineQuery
	at    map[string]*cursor // by service
}

// Read calls yield with the records that q chooses, by time. It returns when there are no more, or, when q follows,
// when ctx ends or the store is closed; an error of yield ends it and is returned.
//
// Records of one service come in the order in which they were appended, even where their times do not. Read holds
// one record of each service in memory, or, until it follows, twice q.Last of them where that is set; then it
// starts with the newest segments and goes back no further than it has to.
func (s *Store) Read(ctx context.Context, q *telemetry.LineQuery, yield func(*telemetry.Line) error) error {
	r := &reader{store: s, query: q, at: map[string]*cursor{}}
	read := r.merge
	if q.Last > 0 {
		read = r.last
	}
	for {
		s.mu.Lock()
		changed, closed := s.changed, s.closed
		s.mu.Unlock()
		if err := read(ctx, yield); err != nil {
			return err
		}
		read = r.merge
		if !q.Follow || closed {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// extents is what there is to read now. What is appended later is left to the next time, so that a busy writer cannot
// keep a reader from its end.
func (r *reader) extents() []extent {
	services := slices.Clone(r.query.Services)
	if len(services) == 0 {
		services = r.store.services()
	}
	slices.Sort(services)
	var extents []extent
	for _, name := range slices.Compact(services) {
		at := r.at[name]
		if at == nil {
			at = &cursor{}
			r.at[name] = at
		}
		e := extent{service: name, at: at}
		for _, number := range r.store.segments(name) {
			if number >= at.segment {
				e.segments = append(e.segments, number)
			}
		}
		if n := len(e.segments); n > 0 {
			e.size = r.store.size(name, e.segments[n-1])
			extents = append(extents, e)
		}
	}
	return extents
}

// merge calls yield with what the query chooses from the cursors on, and moves them to the end of the extents.
func (r *reader) merge(ctx context.Context, yield func(*telemetry.Line) error) error {
	var sources []*source
	defer func() {
		for _, src := range sources {
			src.close()
		}
	}()
	for _, e := range r.extents() {
		src := &source{store: r.store, query: r.query, extent: e}
		sources = append(sources, src)
		if err := src.next(ctx); err != nil {
			return err
		}
	}
	for {
		sources = slices.DeleteFunc(sources, func(src *source) bool { return src.head.record == nil })
		if len(sources) == 0 {
			return nil
		}
		first := slices.MinFunc(sources, func(a, b *source) int { return a.head.compare(b.head) })
		if err := yield(first.head.record); err != nil {
			return err
		}
		if err := first.next(ctx); err != nil {
			return err
		}
	}
}

// last calls yield with the last of what the query chooses, and moves the cursors to the end of the extents.
func (r *reader) last(ctx context.Context, yield func(*telemetry.Line) error) error {
	var chosen []placed
	for _, e := range r.extents() {
		tail, err := r.tail(ctx, &e)
		if err != nil {
			return err
		}
		chosen = append(chosen, tail...)
		slices.SortStableFunc(chosen, placed.compare)
		chosen = slices.Delete(chosen, 0, max(len(chosen)-r.query.Last, 0))
	}
	for _, p := range chosen {
		if err := yield(p.record); err != nil {
			return err
		}
	}
	return nil
}

// tail is the last of what the query chooses of one service, in order. Segments are read from the newest back.
func (r *reader) tail(ctx context.Context, e *extent) ([]placed, error) {
	var parts [][]*telemetry.Line // newest first
	found := 0
	for i, number := range slices.Backward(e.segments) {
		at := cursor{segment: number}
		part, err := r.segmentTail(ctx, e, &at, r.query.Last-found)
		if err != nil {
			return nil, err
		}
		if i == len(e.segments)-1 {
			*e.at = at
		}
		parts = append(parts, part)
		if found += len(part); found >= r.query.Last {
			break
		}
	}
	tail := make([]placed, 0, found)
	var before placed
	for _, part := range slices.Backward(parts) {
		for _, record := range part {
			before = before.then(record)
			tail = append(tail, before)
		}
	}
	return tail, nil
}

// segmentTail is the last of what the query chooses of the segment that the cursor is in, which is moved to its end.
func (r *reader) segmentTail(ctx context.Context, e *extent, at *cursor, most int) ([]*telemetry.Line, error) {
	lines, err := r.store.lines(e, at)
	if err != nil || lines == nil {
		return nil, err
	}
	defer lines.close()
	var found []*telemetry.Line
	for {
		record, err := lines.next(ctx)
		if err != nil {
			return nil, err
		}
		if record == nil {
			return slices.Delete(found, 0, max(len(found)-most, 0)), nil
		}
		if !r.query.Matches(record) {
			continue
		}
		if len(found)-most >= most {
			found = slices.Delete(found, 0, len(found)-most)
		}
		found = append(found, record)
	}
}

// limit is up to where a segment of the extent is read: those before the last do not change any more.
func (e *extent) limit(number int) int64 {
	if number == e.segments[len(e.segments)-1] {
		return e.size
	}
	return math.MaxInt64
}
