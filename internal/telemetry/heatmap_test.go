package telemetry_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
)

func heatSpans(rng *rand.Rand, n int, from time.Time, width time.Duration) []telemetry.Span {
	spans := make([]telemetry.Span, n)
	for i := range spans {
		s := &spans[i]
		s.Start = from.UnixNano() + rng.Int64N(int64(width)*3/2) - int64(width)/4
		s.Duration = rng.Int64N(1 << rng.IntN(50))
		s.Status = telemetry.Status(rng.IntN(3))
	}
	return spans
}

func TestEachSpanOfAHeatMapIsInTheOneCellThatHoldsIt(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	from := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for range 200 {
		width := time.Duration(1 + rng.Int64N(int64(time.Hour)))
		columns, rows := 1+rng.IntN(150), 1+rng.IntN(70)
		b := telemetry.NewHeatBuilder(telemetry.Range{From: from, To: from.Add(width)}, columns)
		spans := heatSpans(rng, rng.IntN(60), from, width)
		for i := range spans {
			b.Add(&spans[i], 1)
		}
		h := b.Heat(rows)
		if h.Columns > min(columns, telemetry.MaxHeatColumns) || len(h.Edges) > min(rows, telemetry.MaxHeatRows)+1 {
			t.Fatalf("asked for %d by %d: %d columns, %d edges", columns, rows, h.Columns, len(h.Edges))
		}
		// The oracle looks at each cell by its bounds, for each span.
		got := map[[2]int]telemetry.HeatCell{}
		for _, c := range h.Cells {
			got[[2]int{c.Column, c.Row}] = c
		}
		want := map[[2]int]telemetry.HeatCell{}
		for _, s := range spans {
			for c := range h.Columns {
				low := from.Add(time.Duration(c) * h.Every)
				if at := s.StartTime(); at.Before(low) || !at.Before(low.Add(h.Every)) {
					continue
				}
				for r := 0; r+1 < len(h.Edges); r++ {
					if s.Duration < h.Edges[r] || s.Duration >= h.Edges[r+1] {
						continue
					}
					cell := want[[2]int{c, r}]
					cell.Column, cell.Row = c, r
					cell.Spans++
					if s.Status == telemetry.StatusError {
						cell.Errors++
					}
					want[[2]int{c, r}] = cell
				}
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d cells, want %d", len(got), len(want))
		}
		for at, cell := range want {
			if got[at] != cell {
				t.Fatalf("cell %v is %+v, want %+v", at, got[at], cell)
			}
		}
	}
}

func TestASpanOfAHeatMapCountsAsManyAsItStandsFor(t *testing.T) {
	from := time.Unix(100, 0)
	b := telemetry.NewHeatBuilder(telemetry.Range{From: from, To: from.Add(time.Second)}, 1)
	b.Add(&telemetry.Span{Start: from.UnixNano(), Duration: 5, Status: telemetry.StatusError}, 2.5)
	if h := b.Heat(10); len(h.Cells) != 1 || h.Cells[0].Spans != 2.5 || h.Cells[0].Errors != 2.5 {
		t.Errorf("%+v", h.Cells)
	}
}

func TestAHeatMapWithoutSpansIsEmpty(t *testing.T) {
	from := time.Unix(100, 0)
	if h := telemetry.NewHeatBuilder(telemetry.Range{From: from, To: from.Add(time.Second)}, 10).Heat(10); len(h.Edges) != 0 || len(h.Cells) != 0 || h.Columns != 10 {
		t.Errorf("%+v", h)
	}
}
