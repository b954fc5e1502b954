package main

import (
	"math/rand/v2"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
	"github.com/atollhq/atoll/internal/telemetry/telemetrytest"
)

// batch is how many spans or records an export holds, as the batch processors of the SDKs have it.
const batch = 512

// export is a request that was encoded.
type export struct {
	signal otlp.Signal
	body   []byte
	items  int
}

// stream makes exports. Each holds what one replica sends, so the spans of a trace come in several.
type stream struct {
	g     *telemetrytest.Generator
	make  func() bool // makes some more; false at the end
	ready []export
	ended bool
}

// next is the next export; ok is false after the last one.
func (s *stream) next() (e export, ok bool) {
	for len(s.ready) == 0 {
		if s.ended {
			return e, false
		}
		s.ended = !s.make()
	}
	e, s.ready = s.ready[0], s.ready[1:]
	return e, true
}

// shape is what is sent.
type shape struct {
	seed   uint64
	from   time.Time
	rate   float64 // spans or records a second of the time that they have
	items  int
	picked *picked // nil to pick none
}

// spans makes a stream of spans.
func spans(sh shape) *stream {
	s := &stream{g: telemetrytest.New(telemetrytest.Options{Seed: sh.seed, From: sh.from, Spans: sh.rate, Records: sh.rate})}
	by, left := map[*telemetry.Resource][]telemetry.Span{}, sh.items
	var trace []telemetry.Span
	s.make = func() bool {
		if left <= 0 {
			for _, r := range s.g.Resources() {
				s.flushSpans(by[r])
			}
			return false
		}
		trace = s.g.AppendTrace(trace[:0])
		if len(trace) > left {
			trace = trace[:left]
		}
		left -= len(trace)
		sh.picked.trace(trace)
		for i := range trace {
			r := trace[i].Resource
			by[r] = append(by[r], trace[i])
			if len(by[r]) == batch {
				s.flushSpans(by[r])
				by[r] = by[r][:0]
			}
		}
		return true
	}
	return s
}

func (s *stream) flushSpans(spans []telemetry.Span) {
	if len(spans) > 0 {
		s.ready = append(s.ready, export{otlp.Traces, otlp.AppendTraces(nil, spans), len(spans)})
	}
}

// records makes a stream of records, of which some have ids of the traces that a stream of spans with the same seed has.
func records(sh shape) *stream {
	s := &stream{g: telemetrytest.New(telemetrytest.Options{Seed: sh.seed, From: sh.from, Spans: sh.rate, Records: sh.rate})}
	by, left := map[*telemetry.Resource][]telemetry.Record{}, sh.items
	var trace []telemetry.Span
	var some []telemetry.Record
	s.make = func() bool {
		if left <= 0 {
			for _, r := range s.g.Resources() {
				s.flushRecords(by[r])
			}
			return false
		}
		if !s.g.SpanTime().After(s.g.RecordTime()) {
			trace = s.g.AppendTrace(trace[:0])
		}
		some = s.g.AppendRecords(some[:0], min(16, left))
		left -= len(some)
		for i := range some {
			r := some[i].Resource
			sh.picked.record(&some[i])
			by[r] = append(by[r], some[i])
			if len(by[r]) == batch {
				s.flushRecords(by[r])
				by[r] = by[r][:0]
			}
		}
		return true
	}
	return s
}

func (s *stream) flushRecords(records []telemetry.Record) {
	if len(records) > 0 {
		s.ready = append(s.ready, export{otlp.Logs, otlp.AppendLogs(nil, records), len(records)})
	}
}

// metrics makes a stream of metrics; its items are samples.
func metrics(sh shape) *stream {
	s := &stream{g: telemetrytest.New(telemetrytest.Options{Seed: sh.seed, From: sh.from})}
	left := sh.items
	s.make = func() bool {
		m := s.g.Metrics()
		n := telemetrytest.Samples(m)
		s.ready = append(s.ready, export{otlp.Metrics, otlp.AppendMetrics(nil, m), n})
		left -= n
		return left > 0
	}
	return s
}

// picked are some of what was sent, each as likely as any other, to be looked for.
type picked struct {
	r      *rand.Rand
	traces reservoir[telemetry.TraceID]
	orders reservoir[order]
	lines  reservoir[string] // ids in bodies
}

// order is one that a service has to do with.
type order struct{ service, id string }

const picks = 400

func newPicked(seed uint64) *picked { return &picked{r: rand.New(rand.NewPCG(seed, seed))} }

func (p *picked) trace(spans []telemetry.Span) {
	if p == nil || len(spans) == 0 {
		return
	}
	p.traces.add(p.r, spans[0].TraceID)
	for i := range spans {
		for _, a := range spans[i].Attrs {
			if a.Key == "order.id" {
				p.orders.add(p.r, order{spans[i].Resource.Service, a.Value.Str()})
				return
			}
		}
	}
}

func (p *picked) record(r *telemetry.Record) {
	if p == nil {
		return
	}
	for _, a := range r.Attrs {
		if a.Key == "order.id" { // it is in the body too
			p.lines.add(p.r, a.Value.Str())
		}
	}
}

// reservoir keeps picks of all that are added (Vitter's algorithm R).
type reservoir[T any] struct {
	list []T
	seen int
}

func (v *reservoir[T]) add(r *rand.Rand, x T) {
	v.seen++
	if len(v.list) < picks {
		v.list = append(v.list, x)
	} else if at := r.IntN(v.seen); at < picks {
		v.list[at] = x
	}
}

// any is one of those that were kept.
func (v *reservoir[T]) any(r *rand.Rand) T { return v.list[r.IntN(len(v.list))] }
