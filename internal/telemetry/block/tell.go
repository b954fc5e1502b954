package block

import (
	"cmp"
	"context"
	"sync"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
)

// Tell answers a query with an aggregation.
func (s *Store) Tell(ctx context.Context, signal telemetry.Signal, r telemetry.Range, q *telemetry.Query) (*telemetry.Table, telemetry.Reach, error) {
	all := telemetry.NewAggregator(signal, q.Tell, r)
	var reach telemetry.Reach
	var mu sync.Mutex
	from, to := nanos(r)
	snap := s.table(signal).snapshot()
	defer snap.release()
	err := s.over(ctx, signal, snap, r, func(ctx context.Context, seg segment) error {
		t := newTeller(seg, signal, r, q.Tell)
		looked, err := search(ctx, seg, signal, q.Where, from, to, t.page)
		if err != nil || !looked {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		reach.Blocks++
		reach.Rows += int64(seg.rows())
		reach.Matched += t.matched
		return all.Merge(t.agg)
	})
	if err != nil {
		return nil, reach, err
	}
	return all.Table(q.Sort, cmp.Or(q.Limit, telemetry.DefaultLimit)), reach, nil
}

// teller gathers the rows of one segment. Rows with the same codes in the fields grouped by, and in the same bucket, belong to
// the same group, so a group is looked up once for each combination.
type teller struct {
	agg     *telemetry.Aggregator
	a       *telemetry.Aggregation
	by      []*fieldReader
	inputs  []*fieldReader // of functions; nil for those of rows
	times   times
	groups  map[string]*telemetry.Group
	key     []byte
	matched int64

	single *telemetry.Group // where nothing is grouped by
}

func newTeller(seg segment, signal telemetry.Signal, r telemetry.Range, a *telemetry.Aggregation) *teller {
	t := &teller{agg: telemetry.NewAggregator(signal, a, r), a: a, times: times{seg: seg}, groups: map[string]*telemetry.Group{}}
	for _, f := range a.By {
		t.by = append(t.by, newFieldReader(seg, signal, f.Name))
	}
	for _, f := range a.Funcs {
		var in *fieldReader
		if f.Field.Name != "" {
			in = newFieldReader(seg, signal, f.Field.Name)
		}
		t.inputs = append(t.inputs, in)
	}
	return t
}

func (t *teller) page(lo, hi int, rows bitmap) error {
	at, err := t.times.page(lo, hi)
	if err != nil {
		return err
	}
	for _, f := range t.by {
		if err := f.page(lo, hi); err != nil {
			return err
		}
	}
	for _, f := range t.inputs {
		if f != nil {
			if err := f.page(lo, hi); err != nil {
				return err
			}
		}
	}
	t.matched += int64(rows.count())
	for row := range rows.each {
		g, err := t.group(at[row], row)
		if err != nil {
			return err
		}
		for i, in := range t.inputs {
			if in == nil {
				g.Count(i, 1)
			} else if v := in.value(row); v.Kind() != telemetry.KindNone {
				g.Add(i, v)
			}
		}
	}
	return nil
}

func (t *teller) group(at int64, row int) (*telemetry.Group, error) {
	t.agg.Seen(at, at)
	if len(t.by) == 0 && t.a.Every == 0 {
		if t.single == nil {
			g, err := t.agg.Group(at, nil)
			if err != nil {
				return nil, err
			}
			t.single = g
		}
		return t.single, nil
	}
	t.key = appendInt(t.key[:0], uint64(t.agg.Bucket(at)))
	for _, f := range t.by {
		t.key = f.appendKey(t.key, row)
	}
	if g, ok := t.groups[string(t.key)]; ok {
		return g, nil
	}
	values := make([]telemetry.Value, len(t.by))
	for i, f := range t.by {
		values[i] = cloneValue(f.value(row))
	}
	g, err := t.agg.Group(at, values)
	if err == nil {
		t.groups[string(t.key)] = g
	}
	return g, err
}

func appendInt(b []byte, n uint64) []byte {
	return append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24), byte(n>>32), byte(n>>40), byte(n>>48), byte(n>>56))
}

// fieldReader reads a field of rows, page by page.
type fieldReader struct {
	sources []readSource
	no      uint64 // of the page, for keys
}

type readSource struct {
	source
	dictionary *parquet.Strings
	loaded     bool
	page       parquet.Page
	scratch    scratch
}

func newFieldReader(seg segment, signal telemetry.Signal, name string) *fieldReader {
	f := &fieldReader{}
	for _, s := range sources(seg, signal, name) {
		f.sources = append(f.sources, readSource{source: s})
	}
	return f
}

func (f *fieldReader) page(lo, hi int) (err error) {
	f.no = uint64(lo)
	for i := range f.sources {
		s := &f.sources[i]
		if !s.loaded {
			s.loaded = true
			if s.dictionary, err = s.vec.strings(&s.scratch); err != nil {
				return err
			}
		}
		if s.page, err = s.vec.page(lo, hi, &s.scratch); err != nil {
			return err
		}
	}
	return nil
}

// value is the field's value in a row of the page; its text aliases the page.
func (f *fieldReader) value(row int) telemetry.Value {
	for i := range f.sources {
		s := &f.sources[i]
		if v := s.valueAt(&s.page, s.dictionary, row); v.Kind() != telemetry.KindNone {
			return v
		}
	}
	return telemetry.Value{}
}

// appendKey appends what tells the values of this segment apart.
func (f *fieldReader) appendKey(key []byte, row int) []byte {
	for i := range f.sources {
		s := &f.sources[i]
		if s.page.Codes != nil && s.dictionary != nil {
			code := s.page.Codes[row]
			key = append(key, byte(code), byte(code>>8), byte(code>>16), byte(code>>24))
			continue
		}
		v := s.valueAt(&s.page, s.dictionary, row)
		key = append(key, byte(v.Kind()))
		key = append(key, v.Text()...)
		key = append(key, 0)
	}
	return key
}
