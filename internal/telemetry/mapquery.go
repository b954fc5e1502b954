package telemetry

import (
	"maps"
	"time"
)

// MapQuery is the question to Store.Tell whose answer MapFromTable makes the map of: the edges that Atoll saw itself. For a long
// time it is much quicker than all spans through a MapBuilder, and gives the same for these edges.
func MapQuery() *Query {
	field := func(name string) Field { return Field{Name: name} }
	equal := func(name, value string) Expr { return &Compare{field(name), OpEqual, String(value)} }
	q := &Query{
		Where: &And{equal(FieldScope, ScopeAtoll), &Or{equal(FieldKind, KindServer.String()), equal(FieldKind, KindConsumer.String())}},
		Tell: &Aggregation{
			Funcs: mapFuncs(),
			By:    []Field{field(AttrCaller), field(FieldService), field(FieldKind), field(AttrHop)},
		},
		Limit: MaxEdges,
	}
	q.Text = q.Format(Spans)
	return q
}

// MapPeerQuery is the like question for databases, which Atoll does not see: spans of clients that instrumented services send.
func MapPeerQuery() *Query {
	field := func(name string) Field { return Field{Name: name} }
	q := &Query{
		Where: &And{
			&Compare{field(FieldKind), OpEqual, String(KindClient.String())},
			&Or{&Has{field("db.system.name")}, &Has{field("db.system")}},
		},
		Tell: &Aggregation{
			Funcs: mapFuncs(),
			By: []Field{
				field(FieldService), field("peer.service"), field("db.system.name"), field("db.system"), field("db.namespace"), field("db.name"),
			},
		},
		Limit: MaxEdges,
	}
	q.Text = q.Format(Spans)
	return q
}

func mapFuncs() []Func {
	duration := Field{Name: FieldDuration}
	return []Func{
		{Kind: FuncCount, As: "calls"},
		{Kind: FuncCount, Field: Field{Name: AttrErrorType}, As: "errors"},
		{Kind: FuncQuantile, Field: duration, Q: 0.5, As: "p50"},
		{Kind: FuncQuantile, Field: duration, Q: 0.99, As: "p99"},
	}
}

// MapFromTable makes a map of the answers to MapQuery and MapPeerQuery. Rows without a caller or a service are left out. Where several
// rows are one edge, its quantiles are the largest of theirs.
func MapFromTable(tables ...*Table) ServiceMap {
	sums := map[edgeKey]Edge{}
	kinds := map[string]NodeKind{}
	missed := int64(0)
	for _, t := range tables {
		for _, row := range t.Rows {
			e, fromKind, toKind := edgeOf(t.Columns, row)
			if e.From == "" || e.To == "" {
				continue
			}
			key := edgeKey{e.From, e.To, e.Kind}
			old, ok := sums[key]
			if !ok && len(sums) >= MaxEdges {
				missed += e.Calls
				continue
			}
			e.Calls += old.Calls
			e.Errors += old.Errors
			e.P50, e.P99 = max(e.P50, old.P50), max(e.P99, old.P99)
			sums[key] = e
			for name, kind := range map[string]NodeKind{e.From: fromKind, e.To: toKind} {
				if had, ok := kinds[name]; !ok || had == NodeOutside {
					kinds[name] = kind
				}
			}
		}
	}
	m := ServiceMap{Edges: make([]Edge, 0, len(sums)), Missed: missed}
	for e := range maps.Values(sums) {
		m.Edges = append(m.Edges, e)
	}
	m.finish(kinds)
	return m
}

// edgeOf reads a row of an answer to MapQuery, or to MapPeerQuery if it has no column of callers.
func edgeOf(columns []string, row []Value) (e Edge, from, to NodeKind) {
	cells := map[string]Value{}
	for i, c := range columns {
		if i < len(row) {
			cells[c] = row[i]
		}
	}
	text := func(name string) string { return cells[name].Text() }
	number := func(name string) float64 { n, _ := cells[name].Number(); return n }
	e = Edge{
		Calls: int64(number("calls")), Errors: int64(number("errors")),
		P50: time.Duration(number("p50")), P99: time.Duration(number("p99")),
	}
	if _, ok := cells[AttrCaller]; !ok {
		e.From, e.Kind = text(FieldService), EdgeCall
		e.To, to = peerOf(text)
		return e, NodeService, to
	}
	e.From, e.To = text(AttrCaller), text(FieldService)
	e.Kind = hopKind(text(AttrHop), e.From, text(FieldKind))
	from = NodeService
	if e.From == CallerGateway {
		from = NodeGateway
	}
	return e, from, NodeService
}
