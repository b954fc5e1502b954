package platform

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/telemetry"
)

const (
	heatColumns = 60
	heatRows    = 30
	diffFields  = 30

	sampleParts = 60 // of the time, when there are more spans than are looked at
)

// Heat is the spans that a query chooses by when they began and how long they took; without a range the last hour.
func (p *Platform) Heat(ctx context.Context, ask *api.HeatQuery) (*api.Heat, error) {
	p.telemetry.collector.settle(ctx)
	return heatOf(ctx, p.telemetry.store, ask, time.Now(), telemetry.MaxSorted)
}

func heatOf(ctx context.Context, store telemetry.Store, ask *api.HeatQuery, now time.Time, most int64) (*api.Heat, error) {
	r, err := rangeOf(ask.From, ask.To, now)
	if err != nil {
		return nil, err
	}
	b := telemetry.NewHeatBuilder(r, cmp.Or(ask.Columns, heatColumns))
	looked, err := look(ctx, store, ask.Query, r, most, b.Add)
	if err != nil {
		return nil, err
	}
	h := b.Heat(cmp.Or(ask.Rows, heatRows))
	out := &api.Heat{Looked: looked, From: r.From, To: r.To, EveryNS: int64(h.Every), Columns: h.Columns, Edges: h.Edges, Cells: make([][4]float64, len(h.Cells))}
	if out.Edges == nil {
		out.Edges = []int64{}
	}
	for i, c := range h.Cells {
		out.Cells[i] = [4]float64{float64(c.Column), float64(c.Row), c.Spans, c.Errors}
	}
	return out, nil
}

// Difference tells how spans within a region differ from the others that a query chooses.
func (p *Platform) Difference(ctx context.Context, ask *api.DifferenceQuery) (*api.Difference, error) {
	p.telemetry.collector.settle(ctx)
	return differenceOf(ctx, p.telemetry.store, ask, time.Now(), telemetry.MaxSorted)
}

func differenceOf(ctx context.Context, store telemetry.Store, ask *api.DifferenceQuery, now time.Time, most int64) (*api.Difference, error) {
	r, err := rangeOf(ask.From, ask.To, now)
	if err != nil {
		return nil, err
	}
	region := telemetry.Region{Range: telemetry.Range{From: ask.InsideFrom, To: ask.InsideTo}, Least: ask.Least, Most: ask.Most, Errors: ask.Errors}
	d := telemetry.NewDiffer()
	looked, err := look(ctx, store, ask.Query, r, most, func(s *telemetry.Span, weight float64) { d.Add(s, region.Contains(s), weight) })
	if err != nil {
		return nil, err
	}
	found := d.Difference(diffFields)
	out := &api.Difference{
		Looked: looked, Inside: found.Inside, Outside: found.Outside, Fields: make([]api.DiffField, len(found.Fields)), Many: found.Many,
		Caps: api.DiffCaps{Fields: telemetry.MaxDiffFields, Values: telemetry.MaxDiffValues, Reached: found.More},
	}
	for i := range found.Fields {
		out.Fields[i] = diffFieldOf(&found.Fields[i])
	}
	return out, nil
}

func diffFieldOf(f *telemetry.DiffField) api.DiffField {
	out := api.DiffField{Field: f.Field, Difference: f.Difference, Chance: f.Chance, Values: make([]api.DiffValue, len(f.Values))}
	for i, v := range f.Values {
		out.Values[i] = api.DiffValue{
			Inside: v.Inside, Outside: v.Outside, Value: v.Value.Any(), Cut: v.Cut, Low: v.Low.Any(), High: v.High.Any(), Missing: v.Missing, Rest: v.Rest,
		}
	}
	return out
}

// rangeOf is a range with both ends: it ends now, and begins an hour before.
func rangeOf(from, to, now time.Time) (telemetry.Range, error) {
	if to.IsZero() {
		to = now
	}
	if from.IsZero() {
		from = to.Add(-time.Hour)
	}
	if !from.Before(to) {
		return telemetry.Range{}, fault.New(fault.CodeBadRequest, "the range of time ends before it begins").Fix("let from be before to")
	}
	return telemetry.Range{From: from, To: to}, nil
}

// look shows the spans that a query chooses, each with how many it stands for. Of more than most, the first of each part of the time
// are shown, and stand for all of that part; parts are counted first, which needs no rows.
func look(ctx context.Context, store telemetry.Store, query string, r telemetry.Range, most int64, show func(*telemetry.Span, float64)) (api.Looked, error) {
	q, err := telemetry.ParseQuery(query, telemetry.Spans)
	if err != nil {
		return api.Looked{}, err
	}
	if q.Tell != nil || len(q.Sort) > 0 {
		return api.Looked{}, fault.New(fault.CodeBadRequest, "only a filter can be asked for here").Fix("leave out what stands behind the bar")
	}
	every := max((r.To.Sub(r.From) / sampleParts).Truncate(time.Millisecond), time.Millisecond)
	parts, total, err := countParts(ctx, store, r, q.Where, every)
	if err != nil {
		return api.Looked{}, err
	}
	if total <= most {
		looked := int64(0)
		err = store.Scan(ctx, telemetry.Spans, r, q.Where, func(row telemetry.Row) error {
			looked++
			show(row.Span, 1)
			return nil
		})
		return api.Looked{Spans: looked, Looked: looked}, err
	}
	out := api.Looked{Spans: total}
	for _, part := range parts {
		n, err := lookAt(ctx, store, r, q.Where, part, every, most/int64(len(parts)), show)
		if err != nil {
			return out, err
		}
		out.Looked += n
	}
	return out, nil
}

// timePart is the spans of a part of the time.
type timePart struct {
	from  time.Time
	spans int64
}

func countParts(ctx context.Context, store telemetry.Store, r telemetry.Range, where telemetry.Expr, every time.Duration) (parts []timePart, total int64, err error) {
	const many = 1000
	tell := &telemetry.Aggregation{Funcs: []telemetry.Func{{Kind: telemetry.FuncCount, As: "count"}}, Every: every}
	table, _, err := store.Tell(ctx, telemetry.Spans, r, &telemetry.Query{Where: where, Tell: tell, Limit: many})
	if err != nil {
		return nil, 0, err
	}
	for _, row := range table.Rows {
		parts = append(parts, timePart{from: time.Unix(0, row[0].Int()), spans: row[1].Int()})
		total += row[1].Int()
	}
	return parts, total, nil
}

// lookAt shows at most so many spans of a part of the time.
func lookAt(ctx context.Context, store telemetry.Store, r telemetry.Range, where telemetry.Expr, part timePart, every time.Duration, most int64, show func(*telemetry.Span, float64)) (int64, error) {
	most = max(most, 1)
	weight := max(float64(part.spans)/float64(most), 1)
	to := part.from.Add(every)
	if to.After(r.To) {
		to = r.To
	}
	if part.from.Before(r.From) {
		part.from = r.From
	}
	seen := int64(0)
	err := store.Scan(ctx, telemetry.Spans, telemetry.Range{From: part.from, To: to}, where, func(row telemetry.Row) error {
		if seen == most {
			return errEnough
		}
		seen++
		show(row.Span, weight)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return seen, err
}
