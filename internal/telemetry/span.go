package telemetry

import (
	"encoding/hex"
	"time"
)

// TraceID names a trace. The zero value is none.
type TraceID [16]byte

// String is 32 lower-case hexadecimal digits.
func (t TraceID) String() string { return hex.EncodeToString(t[:]) }

// IsZero tells whether there is no trace.
func (t TraceID) IsZero() bool { return t == TraceID{} }

// ParseTraceID reads 32 hexadecimal digits.
func ParseTraceID(s string) (t TraceID, ok bool) {
	if len(s) != 2*len(t) {
		return t, false
	}
	_, err := hex.Decode(t[:], []byte(s))
	return t, err == nil
}

// SpanID names a span in its trace. The zero value is none.
type SpanID [8]byte

// String is 16 lower-case hexadecimal digits.
func (s SpanID) String() string { return hex.EncodeToString(s[:]) }

// IsZero tells whether there is no span.
func (s SpanID) IsZero() bool { return s == SpanID{} }

// ParseSpanID reads 16 hexadecimal digits.
func ParseSpanID(text string) (s SpanID, ok bool) {
	if len(text) != 2*len(s) {
		return s, false
	}
	_, err := hex.Decode(s[:], []byte(text))
	return s, err == nil
}

// Resource is who sent something: a replica of a service. Spans, records and metrics share one by pointer; it is not
// changed once it is shared.
type Resource struct {
	Service string // service.name
	Replica string // service.instance.id, or ""
	Attrs   []Attr // the others, by key
}

// Scope is the library that made a span, a record or a metric.
type Scope struct {
	Name    string
	Version string
}

// SpanKind is a span's place between the two sides of a call, with the numbers of OTLP.
type SpanKind uint8

// The kinds of spans.
const (
	KindUnspecified SpanKind = iota
	KindInternal
	KindServer
	KindClient
	KindProducer
	KindConsumer
)

// String is the kind's name in queries.
func (k SpanKind) String() string {
	switch k {
	case KindInternal:
		return "internal"
	case KindServer:
		return "server"
	case KindClient:
		return "client"
	case KindProducer:
		return "producer"
	case KindConsumer:
		return "consumer"
	case KindUnspecified:
	}
	return "unspecified"
}

// Status is how a span ended, with the numbers of OTLP.
type Status uint8

// The statuses of spans.
const (
	StatusUnset Status = iota
	StatusOK
	StatusError
)

// String is the status's name in queries.
func (s Status) String() string {
	switch s {
	case StatusOK:
		return "ok"
	case StatusError:
		return "error"
	case StatusUnset:
	}
	return "unset"
}

// Span is one operation of a trace.
type Span struct {
	Resource   *Resource
	Scope      *Scope // nil for none
	TraceID    TraceID
	SpanID     SpanID
	Parent     SpanID
	State      string // W3C tracestate
	Name       string
	Kind       SpanKind
	Start      int64 // nanoseconds since 1970 UTC
	Duration   int64 // nanoseconds, never negative
	Status     Status
	StatusText string
	Attrs      []Attr
	Events     []SpanEvent
	Links      []Link
}

// SpanEvent is something that happened within a span.
type SpanEvent struct {
	Time  int64 // nanoseconds since 1970 UTC
	Name  string
	Attrs []Attr
}

// Link names a span of another trace.
type Link struct {
	TraceID TraceID
	SpanID  SpanID
	Attrs   []Attr
}

// StartTime is when the span began.
func (s *Span) StartTime() time.Time { return time.Unix(0, s.Start) }

// Took is how long the span took.
func (s *Span) Took() time.Duration { return time.Duration(s.Duration) }
