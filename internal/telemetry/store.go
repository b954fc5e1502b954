package telemetry

import (
	"context"
	"time"
)

// Batch is what came together. Its strings may alias the bytes of a request: who keeps more than the call that it came
// with copies.
type Batch struct {
	Spans   []Span
	Records []Record
	Metrics []Metric
}

// Signal is what is asked for.
type Signal string

// The signals that a Store keeps.
const (
	Spans Signal = "spans"
	Logs  Signal = "logs" // records, events among them
)

// History is what Follow begins with: the last rows, at most so many where Last is not 0, none where it is negative, and not
// older than Since where that is set. Where Match is set, only rows that it chooses are among the last so many, which are looked for in
// the last MaxSorted; it has no part in what comes after them.
type History struct {
	Last  int
	Since time.Time
	Match func(Row) bool
}

// Range is a span of time, from its first moment to before its last. A zero time is no bound.
type Range struct{ From, To time.Time }

// Row is a span or a record as a query finds it; one of the two is set. What it points to is the reader's own.
type Row struct {
	Span   *Span
	Record *Record
}

// Table is what an aggregation found: a value for each column in each row. A column of time buckets is called time and
// holds KindInt, nanoseconds since 1970 UTC.
type Table struct {
	Columns []string
	Rows    [][]Value
}

// Reach is how much was looked at to answer.
type Reach struct {
	Blocks  int   // that could not be left out by their time, their blooms or their dictionaries
	Rows    int64 // in them
	Matched int64
}

// Store keeps spans and records. Append and the questions may be called side by side. Errors of a Query are
// *fault.Error and point at the column; the others are of disk or ctx.
type Store interface {
	// Append keeps the spans and the records of a batch. When it returns nil they are durable. It refuses with
	// *Busy when it cannot keep up; nothing of the batch is kept then, but for one with both spans and records, of which it may
	// have kept the spans: who tries again sends them apart.
	Append(ctx context.Context, b *Batch) error

	// Find calls yield with the rows that q chooses in r, the newest first, as many as q's limit; q has no aggregation.
	// With a sort of another order all rows are gathered first, at most MaxSorted.
	Find(ctx context.Context, s Signal, r Range, q *Query, yield func(Row) error) (Reach, error)
	// Tell answers a query with an aggregation.
	Tell(ctx context.Context, s Signal, r Range, q *Query) (*Table, Reach, error)
	// Trace returns the spans of traces by their start.
	Trace(ctx context.Context, ids ...TraceID) ([]Span, error)
	// Traces looks up traces whose id begins with a prefix of at least 4 hexadecimal digits, the newest first, at most 10.
	Traces(ctx context.Context, prefix string) ([]TraceID, error)
	// Scan calls yield with all rows that where chooses in r, the oldest first. Rows that come meanwhile are left out.
	Scan(ctx context.Context, s Signal, r Range, where Expr, yield func(Row) error) error
	// Follow calls yield with rows as they are appended, until ctx or the store ends; before them with those that are there
	// already, the oldest first: h says which. No row is left out between the two, and none comes twice. One who reads too
	// slowly loses rows; missed is how many since the call before.
	Follow(ctx context.Context, s Signal, q *Query, h History, yield func(row Row, missed int64) error) error
	// Fields lists the fields that rows of r have, at most limit, the most common first.
	Fields(ctx context.Context, s Signal, r Range, prefix string, limit int) ([]FieldInfo, error)
	// Values lists values of a field, at most limit, the most common first.
	Values(ctx context.Context, s Signal, r Range, field, prefix string, limit int) ([]ValueInfo, error)
	// Usage tells what is kept and what was dropped.
	Usage(ctx context.Context) (Usage, error)
	Close() error
}

// MaxSorted is how many rows are gathered at most to be sorted by something other than time.
const MaxSorted = 100_000

// Busy is the error of a Store that cannot keep up. The sender may try again After.
type Busy struct{ After time.Duration }

func (b *Busy) Error() string { return "the store cannot keep up; try again after " + b.After.String() }

// FieldInfo is a field that rows have.
type FieldInfo struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	Rows int64  `json:"rows"` // that have it
}

// ValueInfo is a value of a field.
type ValueInfo struct {
	Value Value
	Rows  int64 // 0 where it was not counted
}

// Usage is what a store keeps.
type Usage struct {
	Bytes    int64                   // on disk
	Limit    int64                   // bytes on disk at most
	Oldest   time.Time               // the oldest row; zero for none
	Services map[string]ServiceUsage // by name
	Torn     []string                // names of block files that were set aside
}

// ServiceUsage is what is kept and was dropped of one service since the start.
type ServiceUsage struct {
	Spans, Records int64 // kept on disk and in memory
	Bytes          int64 // on disk, about
	Dropped        Drops
}

// Drops counts what was not kept, by cause.
type Drops struct {
	Rate    int64 // more than the limits of rate allowed
	Sampled int64 // by tail sampling
	Evicted int64 // removed before its age, since the disk's limit was reached
}
