package telemetry

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"time"
)

// The bounds of a heat map.
const (
	MaxHeatColumns = 120
	MaxHeatRows    = 60
)

const (
	heatSteps = 8              // that a doubling of the duration is divided into, before rows are put together
	heatFine  = 63 * heatSteps // steps, from 1 ns to more than 2^62 ns
)

// HeatCell counts the spans of a column and a row. The counts are estimates where spans were sampled.
type HeatCell struct {
	Column, Row int
	Spans       float64
	Errors      float64
}

// Heat is spans by when they began and how long they took. Column i is from From + i*Every to before From + (i+1)*Every. Row i is
// from Edges[i] to before Edges[i+1], in nanoseconds; each is wider than the one below by the same factor, a power of two or a
// root of two, but for durations of some nanoseconds, which are rounded. Cells without spans are left out.
type Heat struct {
	From    time.Time
	Every   time.Duration
	Columns int
	Edges   []int64
	Cells   []HeatCell // by column, then row
}

// HeatBuilder makes a heat map of spans. It needs memory for each cell that is not empty, and there are at most MaxHeatColumns times
// 504 of these: rows are put together when the range of durations is known.
type HeatBuilder struct {
	from    int64
	every   int64
	columns int
	edges   []int64
	cells   map[heatPlace]*HeatCell
}

type heatPlace struct{ column, fine int }

// NewHeatBuilder makes a builder for the spans that begin in r, whose ends are both set, the second after the first.
func NewHeatBuilder(r Range, columns int) *HeatBuilder {
	columns = min(max(columns, 1), MaxHeatColumns)
	width := max(r.To.UnixNano()-r.From.UnixNano(), 1)
	every := (width + int64(columns) - 1) / int64(columns)
	return &HeatBuilder{
		from: r.From.UnixNano(), every: every, columns: int((width + every - 1) / every), edges: heatEdges(), cells: map[heatPlace]*HeatCell{},
	}
}

// heatEdges are the lowest durations of the fine steps. Among the first are some without a duration of their own.
func heatEdges() []int64 {
	edges := make([]int64, heatFine)
	for i := range edges {
		edges[i] = int64(math.Ceil(math.Exp2(float64(i) / heatSteps)))
	}
	return edges
}

// Add counts a span as so many as it stands for. One that began outside of the range is left out.
func (b *HeatBuilder) Add(s *Span, weight float64) {
	column := (s.Start - b.from) / b.every
	if s.Start < b.from || column >= int64(b.columns) {
		return
	}
	fine := sort.Search(len(b.edges), func(i int) bool { return b.edges[i] > s.Duration }) - 1
	at := heatPlace{int(column), max(fine, 0)}
	cell := b.cells[at]
	if cell == nil {
		cell = &HeatCell{}
		b.cells[at] = cell
	}
	cell.Spans += weight
	if s.Status == StatusError {
		cell.Errors += weight
	}
}

// Heat is what was counted, in at most so many rows. Without spans it has neither rows nor cells.
func (b *HeatBuilder) Heat(rows int) Heat {
	h := Heat{From: time.Unix(0, b.from), Every: time.Duration(b.every), Columns: b.columns}
	if len(b.cells) == 0 {
		return h
	}
	low, high := heatFine, 0
	for at := range b.cells {
		low, high = min(low, at.fine), max(high, at.fine)
	}
	step := 1
	for high/step-low/step+1 > min(max(rows, 1), MaxHeatRows) {
		step *= 2
	}
	low /= step
	for i := low; i <= high/step+1; i++ {
		h.Edges = append(h.Edges, b.edge(i*step))
	}
	h.Edges[0] = b.lowest(low * step)
	merged := map[heatPlace]*HeatCell{}
	for at, cell := range b.cells {
		to := heatPlace{at.column, at.fine/step - low}
		if merged[to] == nil {
			merged[to] = &HeatCell{Column: to.column, Row: to.fine}
		}
		merged[to].Spans += cell.Spans
		merged[to].Errors += cell.Errors
	}
	for _, cell := range merged {
		h.Cells = append(h.Cells, *cell)
	}
	slices.SortFunc(h.Cells, func(a, b HeatCell) int { return cmp.Or(cmp.Compare(a.Column, b.Column), cmp.Compare(a.Row, b.Row)) })
	return h
}

// edge is where a fine step begins; behind the last it is the longest duration.
func (b *HeatBuilder) edge(fine int) int64 {
	if fine >= len(b.edges) {
		return math.MaxInt64
	}
	return b.edges[fine]
}

// lowest is where the first row begins: spans that took no time are in the row of 1 ns.
func (b *HeatBuilder) lowest(fine int) int64 {
	if fine == 0 {
		return 0
	}
	return b.edges[fine]
}
