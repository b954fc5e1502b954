package platform_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block"
)

// heatStore has 600 spans, one a second from a minute past 100,000 s: each tenth takes 2 s and is on shard b, the others take 1 ms on a.
func heatStore(t *testing.T) (store *block.Store, from, to time.Time) {
	t.Helper()
	store, err := block.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	from = time.Unix(100_060, 0)
	b := &telemetry.Batch{}
	res := &telemetry.Resource{Service: "orders"}
	for i := range 600 {
		s := telemetry.Span{
			Resource: res, TraceID: telemetry.TraceID{1, byte(i >> 8), byte(i)}, SpanID: telemetry.SpanID{1}, Name: "x", Start: from.UnixNano() + int64(i)*int64(time.Second),
			Duration: int64(time.Millisecond), Attrs: []telemetry.Attr{{Key: "shard", Value: telemetry.String("a")}},
		}
		if i%10 == 9 {
			s.Duration, s.Attrs[0].Value = int64(2*time.Second), telemetry.String("b")
		}
		b.Spans = append(b.Spans, s)
	}
	if err := store.Append(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	return store, from, from.Add(600 * time.Second)
}

func heatSum(h *api.Heat) (spans float64) {
	for _, c := range h.Cells {
		spans += c[2]
	}
	return spans
}

func TestAHeatMapCountsAllSpansOfItsRange(t *testing.T) {
	store, from, to := heatStore(t)
	h, err := platform.HeatOf(t.Context(), store, &api.HeatQuery{From: from, To: to}, to, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if h.Spans != 600 || h.Looked.Looked != 600 || heatSum(h) != 600 || h.Columns != 60 || len(h.Edges) < 2 {
		t.Errorf("%d spans, %d looked at, %v in %d cells, %d columns", h.Spans, h.Looked.Looked, heatSum(h), len(h.Cells), h.Columns)
	}
	h, err = platform.HeatOf(t.Context(), store, &api.HeatQuery{Query: "duration > 1s", From: from, To: from.Add(100 * time.Second)}, to, 1000)
	if err != nil || heatSum(h) != 10 {
		t.Errorf("%v slow spans in 100 s, want 10: %v", heatSum(h), err)
	}
}

func TestOfTooManySpansASampleStandsForAll(t *testing.T) {
	store, from, to := heatStore(t)
	h, err := platform.HeatOf(t.Context(), store, &api.HeatQuery{From: from, To: to}, to, 150)
	if err != nil {
		t.Fatal(err)
	}
	if h.Spans != 600 || h.Looked.Looked > 150 || h.Looked.Looked < 100 || math.Abs(heatSum(h)-600) > 1e-6 {
		t.Errorf("%d spans, %d looked at, %v counted", h.Spans, h.Looked.Looked, heatSum(h))
	}
}

func TestTheDifferenceOfSlowSpansIsTheirShard(t *testing.T) {
	store, from, to := heatStore(t)
	d, err := platform.DifferenceOf(t.Context(), store, &api.DifferenceQuery{From: from, To: to, Least: int64(time.Second)}, to, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if d.Inside != 60 || d.Outside != 540 || len(d.Fields) != 1 || d.Fields[0].Field != "shard" || d.Fields[0].Values[0].Value != "b" && d.Fields[0].Values[0].Value != "a" {
		t.Errorf("%+v", d)
	}
}

func TestHeatAndDifferenceRefuseWhatTheyCannotAnswer(t *testing.T) {
	store, from, to := heatStore(t)
	for name, q := range map[string]api.HeatQuery{
		"a table":             {Query: "| count()", From: from, To: to},
		"no query":            {Query: "((", From: from, To: to},
		"time that runs back": {From: to, To: from},
	} {
		if _, err := platform.HeatOf(t.Context(), store, &q, to, 10); err == nil {
			t.Errorf("%s was answered", name)
		}
		if _, err := platform.DifferenceOf(t.Context(), store, &api.DifferenceQuery{Query: q.Query, From: q.From, To: q.To}, to, 10); err == nil {
			t.Errorf("%s was answered", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := platform.HeatOf(ctx, store, &api.HeatQuery{From: from, To: to}, to, 10); err == nil {
		t.Error("a question that was given up was answered")
	}
}
