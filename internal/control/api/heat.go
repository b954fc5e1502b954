package api

import "time"

// Looked is how many spans a query chose, and how many of them were looked at. Where these are fewer, the first of each of some parts
// of the time were, and counts are estimates.
type Looked struct {
	Spans  int64 `json:"spans"`
	Looked int64 `json:"looked"`
}

// HeatQuery asks for the spans that a query chooses by when they began and how long they took.
type HeatQuery struct {
	Query         string // without stages behind a bar
	From, To      time.Time
	Columns, Rows int // 0 for 60 and 30
}

// Heat is spans by when they began and how long they took. Column i is from From + i * EveryNS to before the next, row i from Edges[i] to
// before Edges[i+1].
type Heat struct {
	Looked
	From    time.Time    `json:"from"`
	To      time.Time    `json:"to"`
	EveryNS int64        `json:"every_ns"`
	Columns int          `json:"columns"`
	Edges   []int64      `json:"edges_ns"`
	Cells   [][4]float64 `json:"cells"` // column, row, spans, spans with an error; those without spans are left out
}

// DifferenceQuery asks how spans within a region differ from the others that a query chooses.
type DifferenceQuery struct {
	Query      string
	From, To   time.Time
	InsideFrom time.Time // of the region; what is zero is no bound
	InsideTo   time.Time
	Least      int64 // nanoseconds
	Most       int64 // the first that is outside
	Errors     bool  // only spans with an error are inside
}

// Difference is how spans within a region differ from the others.
type Difference struct {
	Looked
	Inside  int64       `json:"inside"` // of those that were looked at
	Outside int64       `json:"outside"`
	Fields  []DiffField `json:"fields"`         // most first
	Many    []string    `json:"many,omitempty"` // left out since they have too many values, such as ids
	Caps    DiffCaps    `json:"caps"`
}

// DiffCaps is how much is counted at most.
type DiffCaps struct {
	Fields  int  `json:"fields"`
	Values  int  `json:"values"`  // of a field
	Reached bool `json:"reached"` // there were more fields
}

// DiffField is how much a field differs: the total variation distance between its values inside and outside, from 0 (distributed alike) to
// 1 (nothing in common). Chance is what a region that was drawn blindly would have; fields are ranked by what is above it.
type DiffField struct {
	Field      string      `json:"field"`
	Difference float64     `json:"difference"`
	Chance     float64     `json:"chance"`
	Values     []DiffValue `json:"values"`
}

// DiffValue is a value of a field, a range of numbers (low and high), missing (spans without the field) or the rest.
type DiffValue struct {
	Inside  float64 `json:"inside"` // share of the spans inside, from 0 to 1
	Outside float64 `json:"outside"`
	Value   any     `json:"value,omitempty"`
	Cut     bool    `json:"cut,omitempty"` // the value goes on
	Low     any     `json:"low,omitempty"`
	High    any     `json:"high,omitempty"`
	Missing bool    `json:"missing,omitempty"`
	Rest    bool    `json:"rest,omitempty"`
}
