package telemetrytest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
)

// Options are what a Generator can be told. A zero field is the default.
type Options struct {
	Seed uint64
	// From is when the first trace and the first record happen. The default is 2026-01-05 08:00 UTC.
	From time.Time
	// Spans is how many spans a second of the generator's own time there are, on average. The default is 500.
	Spans float64
	// Records is likewise how many records there are. The default is 500.
	Records float64
}

// Generator makes telemetry. It is not safe for use side by side; let each goroutine have one, with a seed of its own.
type Generator struct {
	r        *rand.Rand
	opts     Options
	services []*service
	byName   map[string]*service
	ops      map[string]*operation
	entries  []*operation // as often as they weigh
	styles   []style      // of services
	pools    pools

	spanTime   int64 // when the next trace begins
	recordTime int64
	metricTime int64
	metricTurn int
	counters   map[*telemetry.Resource]*replicaMetrics

	recent [4096]seen // ring of spans of servers and consumers
	count  int        // of spans that were put there
	talks  [32]talk   // what records are being written of

	attrs []telemetry.Attr // slab
	text  []byte           // being written
	now   values
}

// seen is what is remembered of a span.
type seen struct {
	resource *telemetry.Resource
	trace    telemetry.TraceID
	span     telemetry.SpanID
}

// talk is what a replica is doing while it writes some records: they share its span, user, order and product.
type talk struct {
	of    seen
	known bool // there is a span
	now   values
	left  int // records
}

// New makes a Generator.
func New(opts Options) *Generator {
	if opts.From.IsZero() {
		opts.From = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)
	}
	if opts.Spans <= 0 {
		opts.Spans = 500
	}
	if opts.Records <= 0 {
		opts.Records = 500
	}
	const half = 0x9e3779b97f4a7c15
	g := &Generator{
		r: rand.New(rand.NewPCG(opts.Seed, half)), opts: opts, byName: map[string]*service{}, ops: map[string]*operation{},
		counters: map[*telemetry.Resource]*replicaMetrics{},
	}
	g.spanTime = opts.From.UnixNano()
	g.recordTime, g.metricTime = g.spanTime, g.spanTime
	g.pools = newPools(g.r)
	// Who there is does not depend on the seed: generators side by side are the same shop.
	g.services = newServices(rand.New(rand.NewPCG(1, half)))
	for _, s := range g.services {
		g.byName[s.name] = s
	}
	for _, o := range operations() {
		o.home = g.byName[o.service]
		o.prepare()
		g.ops[o.name] = o
		for range o.entry {
			g.entries = append(g.entries, o)
		}
	}
	g.styles = newStyles(g.r, len(g.services))
	return g
}

// Resources are the replicas of all services.
func (g *Generator) Resources() []*telemetry.Resource {
	var all []*telemetry.Resource
	for _, s := range g.services {
		all = append(all, s.replicas...)
	}
	return all
}

// SpanTime is when the next trace begins.
func (g *Generator) SpanTime() time.Time { return time.Unix(0, g.spanTime) }

// RecordTime is when the next record happens.
func (g *Generator) RecordTime() time.Time { return time.Unix(0, g.recordTime) }

// AppendTrace appends the spans of one trace to spans, in the order in which they begin at their parents, and lets time go on.
func (g *Generator) AppendTrace(spans []telemetry.Span) []telemetry.Span {
	t := trace{g: g, spans: spans, first: len(spans)}
	g.id(t.id[:])
	g.fresh()
	t.begin(g.entries[g.r.IntN(len(g.entries))], g.spanTime)
	made := float64(len(t.spans) - t.first)
	g.spanTime += int64(g.r.ExpFloat64() * made / g.opts.Spans * float64(time.Second))
	return t.spans
}

// AppendTraces appends traces until at least n spans were appended.
func (g *Generator) AppendTraces(spans []telemetry.Span, n int) []telemetry.Span {
	for want := len(spans) + n; len(spans) < want; {
		spans = g.AppendTrace(spans)
	}
	return spans
}

// id fills b with an id.
func (g *Generator) id(b []byte) {
	for len(b) >= 8 {
		binary.BigEndian.PutUint64(b, g.r.Uint64())
		b = b[8:]
	}
}

// remember puts a span where records find it, if it is one in which records are written.
func (g *Generator) remember(s *telemetry.Span) {
	if s.Kind != telemetry.KindServer && s.Kind != telemetry.KindConsumer {
		return
	}
	g.recent[g.count%len(g.recent)] = seen{resource: s.Resource, trace: s.TraceID, span: s.SpanID}
	g.count++
}

// recently is one of the last spans; ok is false if there are none.
func (g *Generator) recently() (s seen, ok bool) {
	if g.count == 0 {
		return s, false
	}
	return g.recent[g.r.IntN(min(g.count, len(g.recent)))], true
}

// chance is true with a probability.
func (g *Generator) chance(p float64) bool { return g.r.Float64() < p }

// around is a duration in nanoseconds, log-normal around a median.
func (g *Generator) around(median time.Duration, sigma float64) int64 {
	return int64(float64(median) * math.Exp(sigma*g.r.NormFloat64()))
}

// room is an empty slice of attributes with a capacity; what it lies in is never used again.
func (g *Generator) room(n int) []telemetry.Attr {
	if cap(g.attrs)-len(g.attrs) < n {
		g.attrs = make([]telemetry.Attr, 0, 4096)
	}
	at := len(g.attrs)
	g.attrs = g.attrs[:at+n]
	return g.attrs[at : at : at+n]
}
