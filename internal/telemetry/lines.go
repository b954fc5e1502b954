package telemetry

import (
	"context"
	"errors"
	"slices"
)

// errEnough ends a search that has found what it wanted.
var errEnough = errors.New("enough")

// ReadLines calls yield with the lines that q chooses, by time; where q follows it goes on with those that come until ctx or the
// store ends.
func ReadLines(ctx context.Context, s Store, q *LineQuery, yield func(*Line) error) error {
	where := &Query{Where: q.Where()}
	row := func(r Row, missed int64) error {
		l := LineOf(r.Record)
		l.Missed = missed
		if !q.Greps(l) {
			return nil
		}
		return yield(l)
	}
	switch {
	case q.Follow:
		history := History{Last: q.Last, Since: q.Since}
		if q.Grep != nil {
			history.Match = func(r Row) bool { return q.Greps(LineOf(r.Record)) }
		}
		return s.Follow(ctx, Logs, where, history, row)
	case q.Last == 0:
		return s.Scan(ctx, Logs, Range{From: q.Since}, where.Where, func(r Row) error { return row(r, 0) })
	case q.Grep != nil:
		lines, err := lastLines(ctx, s, q, where)
		for _, l := range lines {
			if err == nil {
				err = yield(l)
			}
		}
		return err
	}
	var rows []Row
	where.Limit = q.Last
	_, err := s.Find(ctx, Logs, Range{From: q.Since}, where, func(r Row) error {
		rows = append(rows, r)
		return nil
	})
	for _, r := range slices.Backward(rows) {
		if err == nil {
			err = row(r, 0)
		}
	}
	return err
}

// lastLines are the newest lines that q greps, the oldest first. How many rows to look at for so many nobody knows.
func lastLines(ctx context.Context, s Store, q *LineQuery, where *Query) ([]*Line, error) {
	var lines []*Line
	all := *where
	all.Limit = MaxSorted
	_, err := s.Find(ctx, Logs, Range{From: q.Since}, &all, func(r Row) error {
		if l := LineOf(r.Record); q.Greps(l) {
			lines = append(lines, l)
		}
		if len(lines) == q.Last {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	slices.Reverse(lines)
	return lines, err
}
