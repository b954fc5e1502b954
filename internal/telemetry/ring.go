package telemetry

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// HopSpan is one hop of a request: from a client to a service through the gateway, or from one service to
// another.
type HopSpan struct {
	TraceID  string        `json:"trace_id"`
	SpanID   string        `json:"span_id"`
	ParentID string        `json:"parent_id,omitempty"`
	Start    time.Time     `json:"start"`
	Duration time.Duration `json:"duration_ns"`
	Kind     string        `json:"kind"` // gateway, call
	Caller   string        `json:"caller,omitempty"`
	Service  string        `json:"service,omitempty"`
	Replica  string        `json:"replica,omitempty"`
	Method   string        `json:"method,omitempty"`
	Path     string        `json:"path,omitempty"`
	Route    string        `json:"route,omitempty"`
	Status   int           `json:"status"`
	Error    string        `json:"error,omitempty"` // the code of the fault that the relay answered with
	Tries    int           `json:"tries,omitempty"`
	BytesIn  int64         `json:"bytes_in"`
	BytesOut int64         `json:"bytes_out"`
}

// Failed tells whether the span ended in an error of the server's side.
func (s *HopSpan) Failed() bool { return s.Error != "" || s.Status >= 500 }

// Ring keeps the newest spans in memory. It is safe for concurrent use.
type Ring struct {
	mu    sync.Mutex
	spans []HopSpan // guarded by mu; a circle once it is full
	next  int       // guarded by mu
	size  int
}

// NewRing returns a ring of at most size spans.
func NewRing(size int) *Ring { return &Ring{size: size} }

// Add keeps a span; the oldest makes place for it when the ring is full.
func (r *Ring) Add(s HopSpan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.spans) < r.size {
		r.spans = append(r.spans, s)
		return
	}
	r.spans[r.next] = s
	r.next = (r.next + 1) % r.size
}

// minPrefix is how much of an id must be given at least.
const minPrefix = 8

// Trace returns the spans of a trace, by their start. Of an id whose beginning is given, the newest trace is meant.
func (r *Ring) Trace(id string) []HopSpan {
	var out []HopSpan
	for _, s := range r.newestFirst() {
		if len(id) >= minPrefix && strings.HasPrefix(s.TraceID, id) {
			id = s.TraceID
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b HopSpan) int { return a.Start.Compare(b.Start) })
	return out
}

// HopSummary is one trace in a list.
type HopSummary struct {
	TraceID  string        `json:"trace_id"`
	Start    time.Time     `json:"start"`
	Duration time.Duration `json:"duration_ns"`
	Method   string        `json:"method"`
	Path     string        `json:"path"`
	Service  string        `json:"service"`
	Status   int           `json:"status"`
	Spans    int           `json:"spans"`
	Errors   int           `json:"errors"`
}

// Traces lists the newest traces, newest first.
func (r *Ring) Traces(limit int) []HopSummary {
	byTrace := map[string]*HopSummary{}
	var order []*HopSummary
	for _, s := range r.newestFirst() {
		t := byTrace[s.TraceID]
		if t == nil {
			t = &HopSummary{TraceID: s.TraceID, Start: s.Start}
			byTrace[s.TraceID] = t
			order = append(order, t)
		}
		t.Spans++
		if s.Failed() {
			t.Errors++
		}
		// The span that began first stands for the trace.
		if t.Method == "" || !s.Start.After(t.Start) {
			t.Start, t.Duration, t.Method, t.Path = s.Start, s.Duration, s.Method, s.Path
			t.Service, t.Status = s.Service, s.Status
		}
	}
	slices.SortStableFunc(order, func(a, b *HopSummary) int { return b.Start.Compare(a.Start) })
	out := make([]HopSummary, 0, min(limit, len(order)))
	for _, t := range order[:min(limit, len(order))] {
		out = append(out, *t)
	}
	return out
}

// newestFirst copies the spans, the last added first.
func (r *Ring) newestFirst() []HopSpan {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]HopSpan, 0, len(r.spans))
	for i := range r.spans {
		at := (r.next - 1 - i + 2*len(r.spans)) % len(r.spans)
		out = append(out, r.spans[at])
	}
	return out
}
