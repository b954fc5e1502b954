package block

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
)

// over runs do over the segments of a signal in a range, on all processors, the newest segments first. A block that turns out to be
// torn is set aside, and counts for nothing.
func (s *Store) over(ctx context.Context, signal telemetry.Signal, snap *snapshot, r telemetry.Range, do func(ctx context.Context, seg segment) error) error {
	t := s.table(signal)
	from, to := nanos(r)
	list := snap.segments(from, to)
	slices.SortStableFunc(list, func(a, b segment) int {
		_, x := a.span()
		_, y := b.span()
		return cmp.Compare(y, x)
	})
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan segment)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(list)) {
		wg.Go(func() {
			for seg := range next {
				err := do(ctx, seg)
				if g, ok := seg.(*fileGroup); ok && isTorn(err) {
					t.setAside(g.block, err)
					continue
				}
				if err != nil {
					cancel(err)
				}
			}
		})
	}
feed:
	for _, seg := range list {
		select {
		case next <- seg:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

func isTorn(err error) bool {
	_, corrupt := errors.AsType[*parquet.Corrupt](err)
	return corrupt || errors.Is(err, errShape)
}

// newest gathers the newest rows of all segments. It is safe for concurrent use.
type newest struct {
	limit int

	mu     sync.Mutex
	places []place // guarded by mu: at most limit, the newest first
	reach  telemetry.Reach
}

// floor is the time below which a row has no place any more.
func (n *newest) floor() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.places) < n.limit {
		return math.MinInt64
	}
	return n.places[len(n.places)-1].time
}

func byTime(a, b place) int { return cmp.Compare(b.time, a.time) }

// add merges places of one segment, which are in no order.
func (n *newest) add(list []place, reach telemetry.Reach) {
	slices.SortStableFunc(list, byTime)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reach.Blocks += reach.Blocks
	n.reach.Rows += reach.Rows
	n.reach.Matched += reach.Matched
	n.places = append(n.places, list...)
	slices.SortStableFunc(n.places, byTime)
	n.places = n.places[:min(len(n.places), n.limit)]
}

// trim drops what cannot be among the newest, where a list grows too long.
func trim(list []place, limit int) []place {
	if (len(list)-pageRows)/4 < limit { // as a product the limit could be beyond all numbers
		return list
	}
	slices.SortStableFunc(list, byTime)
	return list[:limit]
}

// gather looks for the newest rows that where chooses.
func (s *Store) gather(ctx context.Context, signal telemetry.Signal, snap *snapshot, r telemetry.Range, where telemetry.Expr, limit int, found func([]place) error) (telemetry.Reach, error) {
	n := &newest{limit: limit}
	from, to := nanos(r)
	err := s.over(ctx, signal, snap, r, func(ctx context.Context, seg segment) error {
		if _, last := seg.span(); last < n.floor() {
			return nil
		}
		var list []place
		var reach telemetry.Reach
		low := n.floor()
		times := times{seg: seg}
		looked, err := search(ctx, seg, signal, where, max(from, low), to, func(lo, hi int, rows bitmap) error {
			at, err := times.page(lo, hi)
			if err != nil {
				return err
			}
			for row := range rows.each {
				list = append(list, place{at[row], seg, lo + row})
			}
			reach.Matched += int64(rows.count())
			list = trim(list, limit)
			return nil
		})
		if err != nil {
			return err
		}
		if looked {
			reach.Blocks, reach.Rows = 1, int64(seg.rows())
		}
		n.add(list, reach)
		return nil
	})
	if err != nil {
		return n.reach, err
	}
	return n.reach, found(n.places)
}

// times reads the times of rows.
type times struct {
	seg     segment
	scratch scratch
}

func (t *times) page(lo, hi int) ([]int64, error) {
	v := t.seg.get(colTime)
	if v == nil {
		return nil, errShape
	}
	p, err := v.page(lo, hi, &t.scratch)
	if err == nil && len(p.Ints) != hi-lo {
		err = errShape
	}
	return p.Ints, err
}

// Find calls yield with the rows that q chooses, the newest first.
func (s *Store) Find(ctx context.Context, signal telemetry.Signal, r telemetry.Range, q *telemetry.Query, yield func(telemetry.Row) error) (telemetry.Reach, error) {
	limit := cmp.Or(q.Limit, telemetry.DefaultLimit)
	sorted := len(q.Sort) == 0 || q.Sort[0].Field.Name == telemetry.FieldTime && q.Sort[0].Descending
	enough := limit
	if !sorted {
		enough = telemetry.MaxSorted
	}
	snap := s.table(signal).snapshot()
	defer snap.release()
	return s.gather(ctx, signal, snap, r, q.Where, enough, func(places []place) error {
		if sorted {
			return s.deliver(signal, places, yield)
		}
		rows, err := s.fetch(signal, places)
		if err != nil {
			return err
		}
		sortRows(rows, q.Sort)
		for _, row := range rows[:min(limit, len(rows))] {
			if err := yield(row); err != nil {
				return err
			}
		}
		return nil
	})
}

func sortRows(rows []telemetry.Row, by []telemetry.Order) {
	slices.SortStableFunc(rows, func(a, b telemetry.Row) int {
		for _, o := range by {
			x, _ := a.Field(o.Field.Name)
			y, _ := b.Field(o.Field.Name)
			c := telemetry.CompareOrder(x, y)
			if o.Descending {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return 0
	})
}

// deliver reads rows and yields them, some hundred at a time, so that many do not lie in memory at once.
func (s *Store) deliver(signal telemetry.Signal, places []place, yield func(telemetry.Row) error) error {
	const atOnce = 2000
	for chunk := range slices.Chunk(places, atOnce) {
		rows, err := s.fetch(signal, chunk)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := yield(row); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetch reads rows; those of a block that turns out to be torn are left out.
func (s *Store) fetch(signal telemetry.Signal, places []place) ([]telemetry.Row, error) {
	for {
		rows, err := fetch(signal, places)
		torn, ok := errors.AsType[*tornError](err)
		if !ok {
			return rows, err
		}
		s.table(signal).setAside(torn.block, torn.err)
		places = slices.DeleteFunc(slices.Clone(places), func(p place) bool {
			g, ok := p.seg.(*fileGroup)
			return ok && g.block == torn.block
		})
	}
}

// tornError tells which block could not be read.
type tornError struct {
	block *block
	err   error
}

func (e *tornError) Error() string { return e.err.Error() }

func (e *tornError) Unwrap() error { return e.err }

// Trace returns the spans of traces by their start.
func (s *Store) Trace(ctx context.Context, ids ...telemetry.TraceID) ([]telemetry.Span, error) {
	where := telemetry.OfTraces(ids)
	snap := s.spans.snapshot()
	defer snap.release()
	var spans []telemetry.Span
	_, err := s.gather(ctx, telemetry.Spans, snap, telemetry.Range{}, where, telemetry.MaxSorted, func(places []place) error {
		return s.deliver(telemetry.Spans, places, func(row telemetry.Row) error {
			spans = append(spans, *row.Span)
			return nil
		})
	})
	slices.SortStableFunc(spans, func(a, b telemetry.Span) int { return cmp.Compare(a.Start, b.Start) })
	return spans, err
}

const (
	leastPrefix = 4
	mostTraces  = 10
)

// Traces looks up traces by the beginning of their id.
func (s *Store) Traces(ctx context.Context, prefix string) ([]telemetry.TraceID, error) {
	prefix = strings.ToLower(prefix)
	if len(prefix) < leastPrefix || len(prefix) > 32 || strings.Trim(prefix, "0123456789abcdef") != "" {
		return nil, nil
	}
	if id, ok := telemetry.ParseTraceID(prefix); ok {
		spans, err := s.Trace(ctx, id)
		if len(spans) == 0 {
			return nil, err
		}
		return []telemetry.TraceID{id}, nil
	}
	// Equal to the even part of the prefix first, since that compares bytes.
	begin, err := hex.DecodeString(prefix[:len(prefix)/2*2])
	if err != nil {
		return nil, nil
	}
	latest := map[telemetry.TraceID]int64{}
	var mu sync.Mutex
	snap := s.spans.snapshot()
	defer snap.release()
	err = s.over(ctx, telemetry.Spans, snap, telemetry.Range{}, func(_ context.Context, seg segment) error {
		return traceIDs(seg, func(id telemetry.TraceID, at int64) {
			if string(id[:len(begin)]) != string(begin) || !strings.HasPrefix(id.String(), prefix) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			latest[id] = max(latest[id], at)
		})
	})
	var out []telemetry.TraceID
	for id := range latest {
		out = append(out, id)
	}
	slices.SortFunc(out, func(a, b telemetry.TraceID) int { return cmp.Compare(latest[b], latest[a]) })
	return out[:min(len(out), mostTraces)], err
}

// traceIDs calls yield with the traces of a segment and a time not before they began there.
func traceIDs(seg segment, yield func(telemetry.TraceID, int64)) error {
	v := seg.get(colTrace)
	if v == nil {
		return nil
	}
	_, last := seg.span()
	var sc scratch
	dictionary, err := v.strings(&sc)
	if err != nil {
		return err
	}
	if dictionary != nil {
		for i := range dictionary.Len() {
			yield(telemetry.TraceID(dictionary.At(i)), last)
		}
		return nil
	}
	for lo := 0; lo < seg.rows(); lo += pageRows {
		p, err := v.page(lo, min(lo+pageRows, seg.rows()), &sc)
		if err != nil {
			return err
		}
		for i := 0; i+16 <= len(p.Fixed); i += 16 {
			yield(telemetry.TraceID(p.Fixed[i:]), last)
		}
	}
	return nil
}
