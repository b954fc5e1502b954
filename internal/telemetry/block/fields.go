package block

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
)

// mostSegments is how many segments completion looks at, the newest.
const mostSegments = 16

// recent lists the newest segments in a range. The caller releases the snapshot.
func (s *Store) recent(signal telemetry.Signal, r telemetry.Range) (*snapshot, []segment) {
	snap := s.table(signal).snapshot()
	from, to := nanos(r)
	list := snap.segments(from, to)
	slices.SortStableFunc(list, func(a, b segment) int {
		_, x := a.span()
		_, y := b.span()
		return cmp.Compare(y, x)
	})
	return snap, list[:min(len(list), mostSegments)]
}

// Fields lists the fields that rows have.
func (s *Store) Fields(ctx context.Context, signal telemetry.Signal, r telemetry.Range, prefix string, limit int) ([]telemetry.FieldInfo, error) {
	snap, list := s.recent(signal, r)
	defer snap.release()
	byName := map[string]*telemetry.FieldInfo{}
	for _, seg := range list {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, column := range seg.names() {
			field := fieldOf(signal, column)
			if field == "" || !strings.HasPrefix(field, prefix) {
				continue
			}
			info := byName[field]
			if info == nil {
				info = &telemetry.FieldInfo{Name: field, Kind: kindIn(seg, column)}
				byName[field] = info
			}
			info.Rows += seg.valued(column)
		}
	}
	out := make([]telemetry.FieldInfo, 0, len(byName))
	for _, info := range byName {
		out = append(out, *info)
	}
	slices.SortFunc(out, func(a, b telemetry.FieldInfo) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Name, b.Name))
	})
	return out[:min(len(out), limit)], nil
}

// kindIn is what the values of a column are.
func kindIn(seg segment, column string) telemetry.Kind {
	v := seg.get(column)
	if v == nil {
		return telemetry.KindString
	}
	switch v.typ() {
	case parquet.Int64, parquet.Timestamp:
		return telemetry.KindInt
	case parquet.Double:
		return telemetry.KindFloat
	case parquet.Bool:
		return telemetry.KindBool
	case parquet.JSON:
		return telemetry.KindJSON
	case parquet.Text, parquet.Fixed8, parquet.Fixed16:
	}
	if key, ok := strings.CutPrefix(column, prefixResource); ok {
		return resourceValue(suffixIn(key))(nil).Kind()
	}
	return telemetry.KindString
}

// maxCounted is how many different values of a field are counted.
const maxCounted = 20_000

// Values lists values of a field.
func (s *Store) Values(ctx context.Context, signal telemetry.Signal, r telemetry.Range, field, prefix string, limit int) ([]telemetry.ValueInfo, error) {
	snap, list := s.recent(signal, r)
	defer snap.release()
	counts := map[telemetry.Value]int64{}
	var mu sync.Mutex
	from, to := nanos(r)
	for _, seg := range list {
		f := newFieldReader(seg, signal, field)
		_, err := search(ctx, seg, signal, nil, from, to, func(lo, hi int, rows bitmap) error {
			if err := f.page(lo, hi); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			for row := range rows.each {
				f.countIn(counts, row, prefix, field)
			}
			return nil
		})
		if err != nil && !isTorn(err) {
			return nil, err
		}
	}
	out := make([]telemetry.ValueInfo, 0, len(counts))
	for v, n := range counts {
		out = append(out, telemetry.ValueInfo{Value: v, Rows: n})
	}
	slices.SortFunc(out, func(a, b telemetry.ValueInfo) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Value.Text(), b.Value.Text()))
	})
	return out[:min(len(out), limit)], nil
}

func (f *fieldReader) countIn(counts map[telemetry.Value]int64, row int, prefix, field string) {
	v := f.value(row)
	if v.Kind() == telemetry.KindNone {
		return
	}
	if field == telemetry.FieldLevel {
		v = levelName(v)
	}
	if !strings.HasPrefix(v.Text(), prefix) {
		return
	}
	if n, ok := counts[v]; ok {
		counts[v] = n + 1
	} else if len(counts) < maxCounted {
		counts[cloneValue(v)] = 1
	}
}

func levelName(v telemetry.Value) telemetry.Value {
	r := telemetry.Record{Severity: uint8(v.Int())}
	return telemetry.String(string(r.Level()))
}
