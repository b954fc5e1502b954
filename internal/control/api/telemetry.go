package api

import (
	"encoding/json"
	"math"
	"time"
)

// Span is one operation of a trace.
type Span struct {
	TraceID    string         `json:"trace_id"`
	SpanID     string         `json:"span_id"`
	ParentID   string         `json:"parent_id,omitempty"`
	Service    string         `json:"service"`
	Replica    string         `json:"replica,omitempty"`
	Scope      string         `json:"scope,omitempty"` // library that made it
	Name       string         `json:"name"`
	Kind       string         `json:"kind"` // internal, server, client, producer, consumer, unspecified
	Time       time.Time      `json:"time"` // when it began
	DurationNS int64          `json:"duration_ns"`
	Status     string         `json:"status"` // ok, error, unset
	StatusText string         `json:"status_text,omitempty"`
	Attributes map[string]any `json:"attributes,omitempty"`
	Resource   map[string]any `json:"resource,omitempty"` // attributes of who sent it
	Events     []SpanEvent    `json:"events,omitempty"`
	Links      []SpanLink     `json:"links,omitempty"`
}

// SpanEvent is something that happened within a span.
type SpanEvent struct {
	Time       time.Time      `json:"time"`
	Name       string         `json:"name"`
	Attributes map[string]any `json:"attributes,omitempty"`
}

// SpanLink names a span of another trace.
type SpanLink struct {
	TraceID    string         `json:"trace_id"`
	SpanID     string         `json:"span_id"`
	Attributes map[string]any `json:"attributes,omitempty"`
}

// The statuses of spans and traces.
const (
	SpanOK    = "ok"
	SpanError = "error"
	SpanUnset = "unset"
)

// Record is a log record, or an event if it has a name.
type Record struct {
	Time       time.Time      `json:"time"`
	Service    string         `json:"service"`
	Replica    string         `json:"replica,omitempty"`
	Scope      string         `json:"scope,omitempty"`
	Level      string         `json:"level"` // debug, info, warn, error
	Name       string         `json:"name,omitempty"`
	Text       string         `json:"text"` // the body; JSON where it is not a text
	TraceID    string         `json:"trace_id,omitempty"`
	SpanID     string         `json:"span_id,omitempty"`
	Attributes map[string]any `json:"attributes,omitempty"`
	Resource   map[string]any `json:"resource,omitempty"`
}

// TraceSummary is a trace by its root, or by its first span where there is no root.
type TraceSummary struct {
	TraceID    string    `json:"trace_id"`
	Time       time.Time `json:"time"`
	DurationNS int64     `json:"duration_ns"` // from its first moment to its last
	Service    string    `json:"service"`
	Name       string    `json:"name"`
	Status     string    `json:"status"`
	StatusText string    `json:"status_text,omitempty"`
	Spans      int       `json:"spans"`
	Errors     int       `json:"errors"` // spans with an error
	Services   []string  `json:"services"`
}

// Trace is all that is known of a trace: its spans by their start, its records by time where they were asked for.
type Trace struct {
	TraceID string   `json:"trace_id"`
	Spans   []Span   `json:"spans"`
	Records []Record `json:"records,omitempty"`
}

// TracesQuery asks for traces.
type TracesQuery struct {
	Query    string // in the query language; empty for all
	From, To time.Time
	Limit    int  // 0 means the query's own
	Spans    bool // the spans that the query chooses, and not their traces
}

// RecordsQuery asks for log records.
type RecordsQuery struct {
	Query    string
	From, To time.Time
	Limit    int // 0 means the query's own
}

// ExportQuery asks for everything as OTLP.
type ExportQuery struct {
	Signal   string // traces, logs or metrics
	Query    string // in the query language; of metrics a PromQL selector
	From, To time.Time
	Limit    int // rows; 0 means all
}

// CompleteQuery asks what may stand at the cursor of a query.
type CompleteQuery struct {
	Signal string // traces or logs
	Text   string
	Cursor int // in characters, from 0
}

// Found is what a query found: traces, spans where they were asked for, log records, or a table if the query has functions.
type Found struct {
	Traces  []TraceSummary `json:"traces,omitempty"`
	Spans   []Span         `json:"spans,omitempty"`
	Records []Record       `json:"records,omitempty"`
	Table   *Table         `json:"table,omitempty"`
	Reach   Reach          `json:"reach"`
}

// TelemetryUsage is what is kept of telemetry, and what was not.
type TelemetryUsage struct {
	Rows     Kept           `json:"rows"`    // spans, log records and events
	Metrics  Kept           `json:"metrics"` // samples
	Series   int            `json:"series"`  // of metrics, in memory
	Services []ServiceUsage `json:"services"`
	GRPC     string         `json:"otlp_grpc,omitempty"` // where OTLP is taken in
	HTTP     string         `json:"otlp_http,omitempty"`
	Forwards []ForwardUsage `json:"forwards,omitempty"` // backends that get a copy
}

// ForwardUsage is how far a backend has come that gets a copy. What is counted is spans, log records and points, since the start.
type ForwardUsage struct {
	Endpoint string    `json:"endpoint"`
	Waiting  int64     `json:"waiting"` // on disk
	Bytes    int64     `json:"bytes"`   // that they take
	Limit    int64     `json:"limit_bytes"`
	Sent     int64     `json:"sent"`
	Dropped  int64     `json:"dropped"`            // since the queue, or its disk, was full
	Refused  int64     `json:"refused"`            // by the backend, for good
	Damaged  int64     `json:"damaged"`            // requests, at least, that could not be read in the queue
	Failing  bool      `json:"failing"`            // the latest request was not taken; the operator's log says why
	LastSent time.Time `json:"last_sent,omitzero"` // when the backend took something last
}

// Kept is what a store has on disk.
type Kept struct {
	Bytes  int64     `json:"bytes"`
	Limit  int64     `json:"limit_bytes"`
	Oldest time.Time `json:"oldest,omitzero"`
	Torn   []string  `json:"torn,omitempty"` // what was found damaged and set aside
}

// ServiceUsage is what is kept and was dropped of one service.
type ServiceUsage struct {
	Service string           `json:"service"`
	Spans   int64            `json:"spans"`
	Records int64            `json:"records"`
	Bytes   int64            `json:"bytes"` // of both, about
	Series  int              `json:"series"`
	Dropped map[string]int64 `json:"dropped,omitempty"` // by cause, since the start
}

// Reach is how much was looked at to answer.
type Reach struct {
	Blocks  int   `json:"blocks"`
	Rows    int64 `json:"rows"`
	Matched int64 `json:"matched"`
}

// Table is the answer to a query with functions. The columns are time if there are buckets, the fields to group by, the
// functions. Rows with buckets are by time and then as the query sorts them.
type Table struct {
	Columns []Column  `json:"columns"`
	Rows    [][]any   `json:"rows"` // numbers, texts, truth values, null; times as in RFC 3339
	EveryNS int64     `json:"every_ns,omitempty"`
	From    time.Time `json:"from,omitzero"` // the range that was asked about, where it is known
	To      time.Time `json:"to,omitzero"`
}

// Column is a column of a Table.
type Column struct {
	Name string `json:"name"`
	Role string `json:"role"`           // time, group, value
	Unit string `json:"unit,omitempty"` // ns, 1/s, or none
	Zero bool   `json:"zero,omitempty"` // a bucket without rows is 0, and not unknown
}

// The roles and units of columns.
const (
	ColumnTime      = "time"
	ColumnGroup     = "group"
	ColumnValue     = "value"
	UnitNanoseconds = "ns"
	UnitPerSecond   = "1/s"
)

// Series is values of a metric over time, or one of them, as a PromQL query answers.
type Series struct {
	Labels map[string]string `json:"labels"`
	Points []Point           `json:"points"`
}

// Point is a value at a time.
type Point struct {
	Time  time.Time
	Value float64 // may be infinite, or no number
}

// MarshalJSON writes time and value; a value that JSON has no number for is null.
func (p Point) MarshalJSON() ([]byte, error) {
	out := struct {
		Time  time.Time `json:"time"`
		Value *float64  `json:"value"`
	}{Time: p.Time}
	if !math.IsNaN(p.Value) && !math.IsInf(p.Value, 0) {
		out.Value = &p.Value
	}
	return json.Marshal(out)
}

// Metrics is the answer to a PromQL query.
type Metrics struct {
	Type     string   `json:"type"` // matrix, vector, scalar, string
	Series   []Series `json:"series"`
	Text     string   `json:"text,omitempty"` // of type string
	Warnings []string `json:"warnings,omitempty"`
}

// TopRow is a service as atoll top shows it.
type TopRow struct {
	Service    string  `json:"service"`
	State      string  `json:"state"` // the worst of its replicas
	Ready      int     `json:"ready"` // replicas
	Replicas   int     `json:"replicas"`
	PerSecond  float64 `json:"per_second"`  // requests
	ErrorRatio float64 `json:"error_ratio"` // of them, 0 to 1
	P50NS      int64   `json:"p50_ns"`      // 0 where there was no request
	P99NS      int64   `json:"p99_ns"`
	CPU        float64 `json:"cpu"` // cores
	Memory     int64   `json:"memory_bytes"`
	Restarts   int     `json:"restarts"`
}

// Top is the services of the application over the last moments.
type Top struct {
	Time     time.Time `json:"time"`
	WindowNS int64     `json:"window_ns"` // that rates and quantiles are over
	Services []TopRow  `json:"services"`
}
