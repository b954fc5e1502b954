package telemetry_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
)

// hop makes spans for tests of the map: service, scope, kind, id, parent, and attributes as key=value.
func hop(service, scope string, kind telemetry.SpanKind, id, parent byte, attrs ...string) telemetry.Span {
	s := telemetry.Span{
		Resource: &telemetry.Resource{Service: service}, TraceID: telemetry.TraceID{1}, SpanID: telemetry.SpanID{id}, Kind: kind,
		Duration: int64(10 * time.Millisecond),
	}
	if scope != "" {
		s.Scope = &telemetry.Scope{Name: scope}
	}
	if parent != 0 {
		s.Parent = telemetry.SpanID{parent}
	}
	for _, a := range attrs {
		if a == "error" {
			s.Status = telemetry.StatusError
			a = "error.type=500"
		}
		k, v, _ := strings.Cut(a, "=")
		s.Attrs = append(s.Attrs, telemetry.Attr{Key: k, Value: telemetry.String(v)})
	}
	return s
}

func showEdges(m telemetry.ServiceMap) []string {
	out := []string{}
	for _, e := range m.Edges {
		out = append(out, fmt.Sprintf("%s-%s->%s %d/%d", e.From, e.Kind, e.To, e.Errors, e.Calls))
	}
	return out
}

const (
	client   = telemetry.KindClient
	server   = telemetry.KindServer
	producer = telemetry.KindProducer
	consumer = telemetry.KindConsumer
)

func TestTheMapCountsEachCallOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		spans []telemetry.Span
		want  []string
	}{
		"Atoll's own, of each kind": {[]telemetry.Span{
			hop("orders", "atoll", server, 1, 0, "atoll.caller=gateway"),
			hop("stock", "atoll", server, 2, 1, "atoll.caller=orders"),
			hop("stock", "atoll", server, 3, 1, "atoll.caller=orders", "error"),
			hop("mail", "atoll", consumer, 4, 1, "atoll.caller=orders"),
			hop("crm", "atoll", server, 5, 1, "atoll.caller=orders", "atoll.hop=saga"),
		}, []string{"gateway-gateway->orders 0/1", "orders-saga->crm 0/1", "orders-event->mail 0/1", "orders-call->stock 1/2"}},
		"Atoll between two that are instrumented": {[]telemetry.Span{
			hop("orders", "sdk", client, 1, 0, "peer.service=stock"),
			hop("stock", "atoll", server, 2, 1, "atoll.caller=orders"),
			hop("stock", "sdk", server, 3, 2),
		}, []string{"orders-call->stock 0/1"}},
		"Atoll beside one whose parent it passed on": {[]telemetry.Span{
			hop("orders", "sdk", client, 1, 0),
			hop("stock", "atoll", server, 2, 1, "atoll.caller=orders"),
			hop("stock", "sdk", server, 3, 1),
		}, []string{"orders-call->stock 0/1"}},
		"two that Atoll did not see": {[]telemetry.Span{
			hop("orders", "", client, 1, 0, "peer.service=elsewhere"),
			hop("stock", "", server, 2, 1, "error"),
		}, []string{"orders-call->stock 1/1"}},
		"a message between two": {[]telemetry.Span{
			hop("orders", "", producer, 1, 0, "messaging.system=nats"),
			hop("mail", "", consumer, 2, 1),
			hop("crm", "", consumer, 3, 1),
		}, []string{"orders-event->crm 0/1", "orders-event->mail 0/1"}},
		"a service that calls itself": {[]telemetry.Span{
			hop("orders", "", client, 1, 0), hop("orders", "", server, 2, 1),
		}, []string{}},
		"leaves": {[]telemetry.Span{
			hop("orders", "", client, 1, 0, "db.system.name=postgresql", "db.namespace=orders"),
			hop("orders", "", client, 2, 0, "db.system=redis", "error"),
			hop("orders", "", client, 3, 0, "peer.service=pay.example"),
			hop("orders", "", producer, 4, 0, "messaging.system=kafka", "messaging.destination.name=jobs"),
			hop("orders", "", client, 5, 0, "server.address=10.0.0.1"),
			hop("orders", "", server, 6, 0), hop("orders", "", telemetry.KindInternal, 7, 6),
		}, []string{"orders-event->kafka:jobs 0/1", "orders-call->pay.example 0/1", "orders-call->postgresql:orders 0/1", "orders-call->redis 1/1"}},
		"spans without what is needed": {[]telemetry.Span{
			{Kind: server}, hop("", "", server, 1, 9), hop("orders", "atoll", server, 2, 0), hop("stock", "", server, 3, 8),
		}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			for range 10 {
				b := telemetry.NewMapBuilder()
				for _, i := range rand.Perm(len(tt.spans)) {
					b.Add(&tt.spans[i])
				}
				slices.Sort(tt.want)
				got := showEdges(b.Map())
				slices.Sort(got)
				if !slices.Equal(got, tt.want) {
					t.Fatalf("got %q, want %q", got, tt.want)
				}
				if again := showEdges(b.Map()); len(again) != len(got) {
					t.Fatalf("asked twice: %q", again)
				}
			}
		})
	}
}

func TestNodesSayWhatTheyAreAndWhatCameToThem(t *testing.T) {
	b := telemetry.NewMapBuilder()
	for _, s := range []telemetry.Span{
		hop("orders", "atoll", server, 1, 0, "atoll.caller=gateway", "error"),
		hop("mail", "", client, 9, 0, "peer.service=orders"),
		hop("orders", "", client, 2, 1, "db.system=redis"),
		hop("orders", "", producer, 3, 1, "messaging.system=kafka"),
		hop("orders", "", client, 4, 1, "peer.service=pay"),
	} {
		b.Add(&s)
	}
	want := []telemetry.Node{
		{Name: "gateway", Kind: telemetry.NodeGateway},
		{Name: "kafka", Kind: telemetry.NodeQueue, Calls: 1},
		{Name: "mail", Kind: telemetry.NodeService},
		{Name: "orders", Kind: telemetry.NodeService, Calls: 2, Errors: 1},
		{Name: "pay", Kind: telemetry.NodeOutside, Calls: 1},
		{Name: "redis", Kind: telemetry.NodeDatabase, Calls: 1},
	}
	if got := b.Map().Nodes; !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestEdgesHaveQuantiles(t *testing.T) {
	b := telemetry.NewMapBuilder()
	for i := range 100 {
		s := hop("orders", "atoll", server, byte(i+1), 0, "atoll.caller=gateway")
		s.Duration = int64(i+1) * int64(time.Millisecond)
		b.Add(&s)
	}
	e := b.Map().Edges[0]
	if within := func(got, want time.Duration) bool { return (got - want).Abs() <= want/100 }; !within(e.P50, 50*time.Millisecond) || !within(e.P99, 99*time.Millisecond) {
		t.Errorf("p50 %s p99 %s", e.P50, e.P99)
	}
}

func TestTheMapIsBounded(t *testing.T) {
	b := telemetry.NewMapBuilder()
	for i := range telemetry.MaxEdges + 5 {
		s := hop(fmt.Sprintf("s%d", i), "atoll", server, 1, 0, "atoll.caller=gateway")
		b.Add(&s)
	}
	// Of calls whose other side never comes only so many are held; those that had to go count all the same.
	lone := 150_000
	for i := range lone {
		s := hop("s1", "", client, 1, 0, "db.system=redis")
		s.TraceID = telemetry.TraceID{2, byte(i), byte(i >> 8), byte(i >> 16)}
		b.Add(&s)
	}
	m := b.Map()
	if len(m.Edges) != telemetry.MaxEdges || m.Missed != int64(5+lone) {
		t.Errorf("%d edges, %d missed", len(m.Edges), m.Missed)
	}
}

func TestTheQueryOfTheMapTellsWhatTheSpansDo(t *testing.T) {
	spans := []telemetry.Span{
		hop("orders", "atoll", server, 1, 0, "atoll.caller=gateway"),
		hop("stock", "atoll", server, 2, 1, "atoll.caller=orders"),
		hop("stock", "atoll", server, 3, 1, "atoll.caller=orders", "error"),
		hop("mail", "atoll", consumer, 4, 1, "atoll.caller=orders"),
		hop("crm", "atoll", server, 5, 1, "atoll.caller=orders", "atoll.hop=saga"),
		hop("orders", "", client, 6, 1, "db.system.name=postgresql", "db.namespace=orders"),
		hop("orders", "", client, 7, 1, "db.system=postgresql", "db.name=orders", "error"),
		hop("orders", "atoll", telemetry.KindInternal, 8, 1),
	}
	b := telemetry.NewMapBuilder()
	tables := []*telemetry.Table{}
	for _, q := range []*telemetry.Query{telemetry.MapQuery(), telemetry.MapPeerQuery()} {
		a := telemetry.NewAggregator(telemetry.Spans, q.Tell, telemetry.Range{})
		for i := range spans {
			if row := (telemetry.Row{Span: &spans[i]}); q.Match(row) {
				if err := a.Add(row); err != nil {
					t.Fatal(err)
				}
			}
		}
		tables = append(tables, a.Table(q.Sort, q.Limit))
		parsed, err := telemetry.ParseQuery(q.Text, telemetry.Spans)
		if err != nil || dump(parsed) != dump(q) {
			t.Errorf("%s: %v", q.Text, err)
		}
	}
	for i := range spans {
		b.Add(&spans[i])
	}
	got, want := telemetry.MapFromTable(tables...), b.Map()
	if !slices.Equal(got.Edges, want.Edges) || !slices.Equal(got.Nodes, want.Nodes) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}
