package block

import (
	"cmp"
	"context"
	"slices"

	"github.com/atollhq/atoll/internal/telemetry"
)

// Scan calls yield with all rows that where chooses, the oldest first.
func (s *Store) Scan(ctx context.Context, signal telemetry.Signal, r telemetry.Range, where telemetry.Expr, yield func(telemetry.Row) error) error {
	snap := s.table(signal).snapshot()
	defer snap.release()
	return s.scan(ctx, signal, snap, r, where, yield)
}

// scan merges segments by time. Those of files hardly overlap, so only a few are open at once; of each that is open the places of
// its rows are in memory.
func (s *Store) scan(ctx context.Context, signal telemetry.Signal, snap *snapshot, r telemetry.Range, where telemetry.Expr, yield func(telemetry.Row) error) error {
	const atOnce = 1000
	from, to := nanos(r)
	waiting := snap.segments(from, to)
	slices.SortStableFunc(waiting, func(a, b segment) int {
		x, _ := a.span()
		y, _ := b.span()
		return cmp.Compare(x, y)
	})
	var open [][]place // each by time, the oldest first
	var next []place
	for len(waiting) > 0 || len(open) > 0 {
		low := slices.IndexFunc(open, func(list []place) bool { return list[0].time == lowest(open) })
		if len(waiting) > 0 {
			if first, _ := waiting[0].span(); low < 0 || first <= open[low][0].time {
				list, err := s.placesOf(ctx, signal, waiting[0], where, from, to)
				if err != nil {
					return err
				}
				waiting = waiting[1:]
				if len(list) > 0 {
					open = append(open, list)
				}
				continue
			}
		}
		next = append(next, open[low][0])
		if open[low] = open[low][1:]; len(open[low]) == 0 {
			open = slices.Delete(open, low, low+1)
		}
		if len(next) == atOnce {
			if err := s.deliver(signal, next, yield); err != nil {
				return err
			}
			next = next[:0]
		}
	}
	return s.deliver(signal, next, yield)
}

func lowest(open [][]place) int64 {
	low := open[0][0].time
	for _, list := range open[1:] {
		low = min(low, list[0].time)
	}
	return low
}

// placesOf is where the rows of a segment lie that where chooses, by time. A torn block has none.
func (s *Store) placesOf(ctx context.Context, signal telemetry.Signal, seg segment, where telemetry.Expr, from, to int64) ([]place, error) {
	var list []place
	times := times{seg: seg}
	_, err := search(ctx, seg, signal, where, from, to, func(lo, hi int, rows bitmap) error {
		at, err := times.page(lo, hi)
		if err != nil {
			return err
		}
		for row := range rows.each {
			list = append(list, place{at[row], seg, lo + row})
		}
		return nil
	})
	if g, ok := seg.(*fileGroup); ok && isTorn(err) {
		s.table(signal).setAside(g.block, err)
		return nil, nil
	}
	slices.SortStableFunc(list, func(a, b place) int { return cmp.Compare(a.time, b.time) })
	return list, err
}
