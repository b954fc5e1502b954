package telemetry

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// What the spans say that Atoll makes of each hop: a request to a service, a call between two, an event delivered, a step of a
// saga. Their resource is the service that was called, their kind is server, or consumer for events; one that failed has
// status error and the attribute error.type.
const (
	ScopeAtoll    = "atoll"
	AttrCaller    = "atoll.caller" // the service that calls, or CallerGateway
	AttrHop       = "atoll.hop"    // an EdgeKind; without it a hop is an event by its kind, from the gateway by its caller, else a call
	AttrErrorType = "error.type"   // of OpenTelemetry's conventions
	CallerGateway = "gateway"
)

// EdgeKind is how one node reaches another.
type EdgeKind string

// The kinds of edges.
const (
	EdgeCall    EdgeKind = "call"
	EdgeEvent   EdgeKind = "event"
	EdgeSaga    EdgeKind = "saga"
	EdgeGateway EdgeKind = "gateway"
)

// NodeKind is what a node of the map is.
type NodeKind string

// The kinds of nodes.
const (
	NodeService  NodeKind = "service"
	NodeGateway  NodeKind = "gateway"
	NodeDatabase NodeKind = "database"
	NodeQueue    NodeKind = "queue"
	NodeOutside  NodeKind = "outside" // named by peer.service alone
)

// Node is a part of the application, with what came to it.
type Node struct {
	Name   string   `json:"name"`
	Kind   NodeKind `json:"kind"`
	Calls  int64    `json:"calls"`
	Errors int64    `json:"errors"`
}

// Edge is what went from one node to another.
type Edge struct {
	From   string        `json:"from"`
	To     string        `json:"to"`
	Kind   EdgeKind      `json:"kind"`
	Calls  int64         `json:"calls"`
	Errors int64         `json:"errors"`
	P50    time.Duration `json:"p50"` // nanoseconds, within 1 %
	P99    time.Duration `json:"p99"`
}

// ServiceMap is who called whom in a time.
type ServiceMap struct {
	Nodes  []Node `json:"nodes"`  // by name
	Edges  []Edge `json:"edges"`  // by from, to and kind
	Missed int64  `json:"missed"` // calls on edges beyond MaxEdges
}

// Bounds of a MapBuilder.
const (
	MaxEdges = 10_000  // further ones are counted in Missed
	maxPairs = 100_000 // calls whose other side has not been seen; of more, the oldest are taken for complete
)

// MapBuilder makes a ServiceMap of spans, in whatever order they come. Sides of a call belong together by trace and parent:
//
//   - A span of Atoll's is an edge from its caller to its service. What instrumented services say of the same call (the caller's
//     client span above it, the service's own server span below it or beside it) is not counted again.
//   - A server span below a client span of another service is an edge, as is a consumer's below a producer's.
//   - A client span with nothing below it is an edge to what it names: peer.service, a database, a queue.
//
// It is not for use side by side.
type MapBuilder struct {
	edges  map[edgeKey]*edgeSum
	kinds  map[string]NodeKind
	pairs  map[spanKey]*pair
	queue  []spanKey // of pairs, the oldest first
	missed int64
}

type edgeKey struct {
	from, to string
	kind     EdgeKind
}

type spanKey struct {
	trace TraceID
	span  SpanID
}

// pair is what was seen of a client span and of the spans below it.
type pair struct {
	client *half
	below  []half
	atoll  bool // Atoll saw it: the edge is counted
}

// half is one side of a call.
type half struct {
	service  string
	kind     SpanKind
	failed   bool
	duration int64
	peer     string // what a client names, or ""
	peerKind NodeKind
}

// edgeSum adds up an edge.
type edgeSum struct {
	calls, errors int64
	took          sketch // of nanoseconds
	least, most   int64
}

func (e *edgeSum) add(failed bool, took int64) {
	if e.calls++; e.calls == 1 {
		e.least, e.most = took, took
	}
	if failed {
		e.errors++
	}
	e.took.add(float64(took), 1)
	e.least, e.most = min(e.least, took), max(e.most, took)
}

// quantile is never beyond what there was.
func (e *edgeSum) quantile(q float64) time.Duration {
	return time.Duration(min(max(int64(e.took.quantile(q)), e.least), e.most))
}

// NewMapBuilder returns a builder that has seen no spans.
func NewMapBuilder() *MapBuilder {
	return &MapBuilder{edges: map[edgeKey]*edgeSum{}, kinds: map[string]NodeKind{}, pairs: map[spanKey]*pair{}}
}

// Add takes a span. It keeps copies of nothing but names.
func (b *MapBuilder) Add(s *Span) {
	if s.Resource == nil || s.Resource.Service == "" {
		return
	}
	server := s.Kind == KindServer || s.Kind == KindConsumer
	if s.Scope != nil && s.Scope.Name == ScopeAtoll {
		if caller := s.attr(AttrCaller); server && caller != "" {
			b.hop(s, caller)
		}
		return
	}
	switch {
	case server && !s.Parent.IsZero():
		p := b.pair(spanKey{s.TraceID, s.Parent})
		p.below = append(p.below, halfOf(s))
	case s.Kind == KindClient || s.Kind == KindProducer:
		h := halfOf(s)
		b.pair(spanKey{s.TraceID, s.SpanID}).client = &h
	}
}

// hop counts a span of Atoll's.
func (b *MapBuilder) hop(s *Span, caller string) {
	kind := hopKind(s.attr(AttrHop), caller, s.Kind.String())
	from := NodeService
	if caller == CallerGateway {
		from = NodeGateway
	}
	b.count(caller, from, s.Resource.Service, NodeService, kind, s.Status == StatusError, s.Duration)
	if !s.Parent.IsZero() {
		b.pair(spanKey{s.TraceID, s.Parent}).atoll = true
	}
}

// hopKind is the kind of the edge of a span of Atoll's.
func hopKind(told, caller, spanKind string) EdgeKind {
	switch k := EdgeKind(told); {
	case k == EdgeCall, k == EdgeEvent, k == EdgeSaga, k == EdgeGateway:
		return k
	case spanKind == KindConsumer.String():
		return EdgeEvent
	case caller == CallerGateway:
		return EdgeGateway
	}
	return EdgeCall
}

// pair returns what was seen of a client span.
func (b *MapBuilder) pair(key spanKey) *pair {
	p := b.pairs[key]
	if p == nil {
		if len(b.queue) >= maxPairs {
			b.settle(b.queue[0])
			b.queue = b.queue[1:]
		}
		p = &pair{}
		b.pairs[key] = p
		b.queue = append(b.queue, key)
	}
	return p
}

// settle counts a pair as complete and forgets it.
func (b *MapBuilder) settle(key spanKey) {
	p := b.pairs[key]
	delete(b.pairs, key)
	b.tally(p)
}

// tally counts a pair as it is.
func (b *MapBuilder) tally(p *pair) {
	c := p.client
	if c == nil || p.atoll {
		return
	}
	if len(p.below) == 0 {
		if c.peer != "" && c.peer != c.service {
			kind := EdgeCall
			if c.kind == KindProducer {
				kind = EdgeEvent
			}
			b.count(c.service, NodeService, c.peer, c.peerKind, kind, c.failed, c.duration)
		}
		return
	}
	for _, s := range p.below {
		if s.service == c.service {
			continue
		}
		kind, took := EdgeCall, c.duration
		if c.kind == KindProducer || s.kind == KindConsumer {
			kind, took = EdgeEvent, s.duration
		}
		b.count(c.service, NodeService, s.service, NodeService, kind, c.failed || s.failed, took)
	}
}

// count adds a call to an edge.
func (b *MapBuilder) count(from string, fromKind NodeKind, to string, toKind NodeKind, kind EdgeKind, failed bool, took int64) {
	key := edgeKey{from, to, kind}
	e := b.edges[key]
	if e == nil {
		if len(b.edges) >= MaxEdges {
			b.missed++
			return
		}
		e = &edgeSum{}
		b.edges[key] = e
		b.name(from, fromKind)
		b.name(to, toKind)
	}
	e.add(failed, took)
}

// name notes what a node is. One that is a service anywhere is not outside.
func (b *MapBuilder) name(node string, kind NodeKind) {
	if old, ok := b.kinds[node]; !ok || old == NodeOutside {
		b.kinds[node] = kind
	}
}

// Map is the map of the spans so far. More may be added afterwards.
func (b *MapBuilder) Map() ServiceMap {
	all := NewMapBuilder()
	all.missed = b.missed
	maps.Copy(all.kinds, b.kinds)
	for key, e := range b.edges {
		sum := &edgeSum{calls: e.calls, errors: e.errors, least: e.least, most: e.most}
		sum.took.merge(&e.took)
		all.edges[key] = sum
	}
	for _, key := range b.queue {
		all.tally(b.pairs[key])
	}
	m := ServiceMap{Edges: []Edge{}, Missed: all.missed}
	for key, e := range all.edges {
		m.Edges = append(m.Edges, Edge{
			From: key.from, To: key.to, Kind: key.kind, Calls: e.calls, Errors: e.errors,
			P50: e.quantile(0.5), P99: e.quantile(0.99),
		})
	}
	m.finish(all.kinds)
	return m
}

// finish sorts the edges and makes the nodes.
func (m *ServiceMap) finish(kinds map[string]NodeKind) {
	slices.SortFunc(m.Edges, func(a, b Edge) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Kind, b.Kind))
	})
	nodes := map[string]*Node{}
	for name, kind := range kinds {
		nodes[name] = &Node{Name: name, Kind: kind}
	}
	for _, e := range m.Edges {
		nodes[e.To].Calls += e.Calls
		nodes[e.To].Errors += e.Errors
	}
	m.Nodes = make([]Node, 0, len(nodes))
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		m.Nodes = append(m.Nodes, *nodes[name])
	}
}

// attr is the text of a span's attribute, or "".
func (s *Span) attr(key string) string {
	for i := range s.Attrs {
		if s.Attrs[i].Key == key {
			return s.Attrs[i].Value.Text()
		}
	}
	return ""
}

func halfOf(s *Span) half {
	h := half{service: s.Resource.Service, kind: s.Kind, failed: s.Status == StatusError, duration: s.Duration}
	if s.Kind == KindClient || s.Kind == KindProducer {
		h.peer, h.peerKind = peerOf(s.attr)
	}
	return h
}

// peerOf is what a client span names, after OpenTelemetry's conventions, those before 2025 among them.
func peerOf(attr func(string) string) (name string, kind NodeKind) {
	peer := attr("peer.service")
	if system := cmp.Or(attr("db.system.name"), attr("db.system")); system != "" {
		return peerName(peer, system, cmp.Or(attr("db.namespace"), attr("db.name"))), NodeDatabase
	}
	if system := attr("messaging.system"); system != "" {
		return peerName(peer, system, attr("messaging.destination.name")), NodeQueue
	}
	return peer, NodeOutside
}

// peerName is what a database or a queue is called: as its client says, or its kind and which of it.
func peerName(peer, system, which string) string {
	switch {
	case peer != "":
		return peer
	case which != "":
		return system + ":" + which
	}
	return system
}
