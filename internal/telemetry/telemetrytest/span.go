package telemetrytest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
)

const (
	longest = 40 // spans of a trace
	late    = 25 // at most as many lines has a stack trace
)

// trace is a trace being made.
type trace struct {
	g     *Generator
	spans []telemetry.Span
	first int // of its spans
	id    telemetry.TraceID
}

// begin makes the trace's first span and all that follows from it.
func (t *trace) begin(o *operation, at int64) { t.serve(o, telemetry.SpanID{}, at) }

// open adds a span. It is told by its number, since others make the slice grow.
func (t *trace) open(r *telemetry.Resource, scope *telemetry.Scope, parent telemetry.SpanID, kind telemetry.SpanKind, name string, at int64) int {
	s := telemetry.Span{Resource: r, Scope: scope, TraceID: t.id, Parent: parent, Kind: kind, Name: name, Start: at}
	t.g.id(s.SpanID[:])
	t.spans = append(t.spans, s)
	return len(t.spans) - 1
}

// close ends a span.
func (t *trace) close(n int, end int64) {
	s := &t.spans[n]
	s.Duration = max(0, end-s.Start)
	t.g.remember(s)
}

// room tells whether the trace may have so many more spans.
func (t *trace) room(n int) bool { return len(t.spans)-t.first+n <= longest }

// breaks tells with a probability whether something fails, never before the trace has three spans.
func (t *trace) breaks(p float64) bool { return len(t.spans)-t.first >= 3 && t.g.chance(p) }

// serve is an operation at one of the service's replicas. It returns when it ends, and whether it fails.
func (t *trace) serve(o *operation, parent telemetry.SpanID, at int64) (end int64, failed bool) {
	g, home := t.g, o.home
	which := g.r.IntN(len(home.replicas))
	res := home.replicas[which]
	kind, name, scope := telemetry.KindServer, o.name, home.scopes.http
	switch {
	case o.rpcService != "":
		name, scope = o.name[1:], home.scopes.rpc
	case o.route == "" && o.entry > 0:
		kind, scope = telemetry.KindInternal, home.scopes.own
	case o.route == "":
		kind, name, scope = telemetry.KindConsumer, "process "+o.name, home.scopes.messages
	}
	n := t.open(res, scope, parent, kind, name, at)
	own := g.around(o.own, 0.6)
	now := at + own/2
	for i := range o.steps {
		s := &o.steps[i]
		if s.chance > 0 && !g.chance(s.chance) {
			continue
		}
		times := 1
		if s.times[1] > 0 {
			times = s.times[0] + g.r.IntN(s.times[1]-s.times[0]+1)
		}
		for ; times > 0 && !failed && t.room(2); times-- {
			now, failed = t.step(o, s, n, now)
			now += 20_000
		}
		if failed {
			break
		}
	}
	thrown := !failed && t.breaks(o.fails)
	failed = failed || thrown
	end = now + own/2
	t.describe(n, o, which, failed)
	if thrown {
		t.fail(n, end)
	}
	if failed {
		t.spans[n].Status = telemetry.StatusError
	} else if g.chance(0.09) {
		t.happen(n, now)
	}
	t.close(n, end)
	return end, failed && !g.chance(0.15) // Some callers can do without.
}

// step is one step of the span with the number.
func (t *trace) step(o *operation, s *step, parent int, at int64) (end int64, failed bool) {
	g, home := t.g, o.home
	res, id := t.spans[parent].Resource, t.spans[parent].SpanID
	var n int
	switch s.do {
	case call:
		to := g.ops[s.what]
		n = t.out(to, home, res, id, at)
		end, failed = t.serve(to, t.spans[n].SpanID, at+g.around(180*time.Microsecond, 0.5))
		end += g.around(150*time.Microsecond, 0.5)
		t.outcome(n, to, failed)
	case publish:
		n = t.open(res, home.scopes.messages, id, telemetry.KindProducer, "send "+s.what, at)
		end = at + g.around(900*time.Microsecond, 0.5)
		t.spans[n].Attrs = t.message(s.what, "send", "send", "")
		to := g.ops[s.what]
		t.serve(to, t.spans[n].SpanID, end+g.around(6*time.Millisecond, 0.9))
	case query:
		n = t.open(res, home.scopes.db, id, telemetry.KindClient, s.verb+" "+s.table, at)
		end = at + g.around(s.took, 0.7)
		t.spans[n].Attrs = t.database(s, "postgresql", s.where, 5432)
		failed = t.breaks(0.006)
	case cached:
		n = t.open(res, home.scopes.cache, id, telemetry.KindClient, s.verb, at)
		end = at + g.around(s.took, 0.5)
		t.spans[n].Attrs = t.database(s, "redis", "0", 6379)
		failed = t.breaks(0.003)
	case work:
		n = t.open(res, home.scopes.own, id, telemetry.KindInternal, s.what, at)
		end = at + g.around(s.took, 0.6)
		t.spans[n].Attrs = t.function(home, s.what)
		failed = t.breaks(0.012)
	}
	if failed {
		t.spans[n].Status = telemetry.StatusError
		if s.do != call {
			t.fail(n, end)
		}
	}
	t.close(n, end)
	return end, failed
}

// out opens the client's span of a call.
func (t *trace) out(to *operation, home *service, res *telemetry.Resource, parent telemetry.SpanID, at int64) int {
	if to.rpcService != "" {
		return t.open(res, home.scopes.rpc, parent, telemetry.KindClient, to.name[1:], at)
	}
	return t.open(res, home.scopes.httpOut, parent, telemetry.KindClient, to.method, at)
}

// outcome gives the client's span of a call its attributes.
func (t *trace) outcome(n int, to *operation, failed bool) {
	g, a := t.g, t.g.room(8)
	if to.rpcService != "" {
		a = t.remote(a, to, failed)
		a = append(a, text("server.address", to.service), number("server.port", to.home.port))
	} else {
		a = append(a, text("http.request.method", to.method), text("url.full", g.fill(&to.full)), text("server.address", to.service),
			number("server.port", 8080), number("http.response.status_code", t.code(to, failed)), text("network.protocol.version", "1.1"))
	}
	t.spans[n].Attrs = a
}

// code is a status of HTTP.
func (t *trace) code(o *operation, failed bool) int64 {
	switch {
	case failed && t.g.chance(0.3):
		return 503
	case failed:
		return 500
	case o.method == "POST" && t.g.chance(0.4):
		return 201
	case t.g.chance(0.02):
		return 404
	case t.g.chance(0.01):
		return 304
	}
	return 200
}

// describe gives the span of an operation its attributes.
func (t *trace) describe(n int, o *operation, which int, failed bool) {
	g, s := t.g, &t.spans[n]
	switch {
	case o.rpcService != "":
		s.Attrs = t.remote(g.room(8), o, failed)
		s.Attrs = append(s.Attrs, text("network.peer.address", g.made(verbIP)))
	case s.Kind == telemetry.KindConsumer:
		s.Attrs = t.message(o.name, "process", "process", o.service)
	case s.Kind == telemetry.KindInternal:
		s.Attrs = append(g.room(4), text("app.job", o.name), number("app.batch.size", 1+g.r.Int64N(100)))
		for range g.r.IntN(4) {
			if r, ok := g.recently(); ok {
				s.Links = append(s.Links, telemetry.Link{TraceID: r.trace, SpanID: r.span, Attrs: append(g.room(1), text("messaging.message.id", string(appendUUID(nil, g.newUUID()))))})
			}
		}
	default:
		s.Attrs = t.request(o, which, failed)
	}
}

// request are the attributes of a server's span of HTTP.
func (t *trace) request(o *operation, which int, failed bool) []telemetry.Attr {
	g, a := t.g, t.g.room(18)
	a = append(a, text("http.request.method", o.method), text("http.route", o.route), text("url.scheme", "http"), text("url.path", g.fill(&o.pathOf)))
	if o.query != "" {
		a = append(a, text("url.query", g.fill(&o.queryOf)))
	}
	a = append(a, number("http.response.status_code", t.code(o, failed)), text("network.protocol.version", "1.1"))
	if o.entry > 0 { // from outside
		a = append(a, text("server.address", "shop.example.com"), number("server.port", 443), text("client.address", g.made(verbClient)),
			text("user_agent.original", g.agent()), text("user.id", g.made(verbUser)), text("network.peer.address", g.made(verbIP)))
		if g.chance(0.2) {
			a = append(a, text("enduser.id", g.made(verbEmail)))
		}
	} else {
		a = append(a, text("server.address", o.service), number("server.port", 8080), text("network.peer.address", g.made(verbIP)),
			number("network.peer.port", 32768+g.r.Int64N(200)*131), text("user_agent.original", o.home.lang.name+"-http-client/1.0"))
	}
	if failed {
		a = append(a, text("error.type", o.home.lang.exceptions[which%len(o.home.lang.exceptions)]))
	}
	switch o.service {
	case "orders", "checkout", "payments", "shipping":
		a = append(a, text("order.id", g.made(verbOrder)))
	case "cart":
		a = append(a, number("cart.items", 1+g.r.Int64N(9)), text("user.id", g.made(verbUser)))
	}
	return a
}

func (t *trace) remote(a []telemetry.Attr, o *operation, failed bool) []telemetry.Attr {
	code := int64(0)
	if failed {
		code = 14
	}
	return append(a, text("rpc.system", "grpc"), text("rpc.service", o.rpcService), text("rpc.method", o.method), number("rpc.grpc.status_code", code))
}

func (t *trace) database(s *step, system, name string, port int64) []telemetry.Attr {
	a := append(t.g.room(8), text("db.system.name", system), text("db.namespace", name), text("db.operation.name", s.verb),
		text("db.query.text", t.g.fill(&s.statement)), text("server.address", system+"-"+name+".db.internal"), number("server.port", port))
	if s.table != "" {
		a = append(a, text("db.collection.name", s.table))
	}
	return a
}

func (t *trace) message(topic, name, kind, group string) []telemetry.Attr {
	g := t.g
	a := append(g.room(10), text("messaging.system", "kafka"), text("messaging.destination.name", topic), text("messaging.operation.name", name), text("messaging.operation.type", kind),
		text("messaging.message.id", string(appendUUID(nil, g.newUUID()))), text("messaging.destination.partition.id", strconv.Itoa(g.r.IntN(12))),
		number("messaging.kafka.offset", int64(g.count)*3+g.r.Int64N(1000)), number("messaging.message.body.size", g.around(700, 0.6)))
	if group != "" {
		a = append(a, text("messaging.consumer.group.name", group))
	}
	return a
}

func (t *trace) function(home *service, name string) []telemetry.Attr {
	module, _, _ := strings.Cut(name, ".")
	a := append(t.g.room(4), text("code.function.name", home.name+"."+name), text("code.file.path", module+home.lang.file), number("code.line.number", int64(len(name)*17)))
	if t.g.chance(0.3) {
		a = append(a, text("thread.name", "worker-"+strconv.Itoa(t.g.r.IntN(16))))
	}
	return a
}

// fail says what went wrong in a span, by an exception event.
func (t *trace) fail(n int, at int64) {
	g, s := t.g, &t.spans[n]
	lang := g.byName[s.Resource.Service].lang
	kind := lang.exceptions[g.r.IntN(len(lang.exceptions))]
	message := g.fill(&g.pools.failures[g.r.IntN(len(g.pools.failures))])
	s.Status, s.StatusText = telemetry.StatusError, message
	s.Events = append(s.Events, telemetry.SpanEvent{Time: at, Name: "exception", Attrs: append(g.room(3),
		text("exception.type", kind), text("exception.message", message), text("exception.stacktrace", g.stack(lang, s.Resource.Service, kind, message)))})
}

// happen adds an event to a span.
func (t *trace) happen(n int, at int64) {
	g := t.g
	e := telemetry.SpanEvent{Time: at}
	switch g.r.IntN(4) {
	case 0:
		e.Name, e.Attrs = "cache.miss", append(g.room(2), text("cache.key", "product:"+g.made(verbProduct)))
	case 1:
		e.Name, e.Attrs = "retry", append(g.room(2), number("retry.count", 1+g.r.Int64N(3)), number("retry.wait_ms", 10<<g.r.Int64N(5)))
	case 2:
		e.Name, e.Attrs = "feature_flag.evaluation", append(g.room(3), text("feature_flag.key", "new-checkout"), text("feature_flag.result.variant", []string{"on", "off"}[g.r.IntN(2)]))
	case 3:
		e.Name = "response.first_byte"
	}
	t.spans[n].Events = append(t.spans[n].Events, e)
}

// stack makes a stack trace in the manner of a language.
func (g *Generator) stack(lang *language, service, kind, message string) string {
	modules := []string{"http", "handler", "service", "repository", "middleware", "client", "pool", "router"}
	functions := []string{"handle", "execute", "invoke", "dispatch", "query", "connect", "next", "call", "retry", "acquire"}
	first := fmt.Sprintf(lang.firstLine, kind, message)
	g.text = g.text[:0]
	if lang.atTail {
		g.text = append(g.text, "Traceback (most recent call last):\n"...)
	} else {
		g.text = append(append(g.text, first...), '\n')
	}
	// One place of a service fails in few ways: its frames follow from where it is.
	seed := int(g.pools.lines.Uint64()) % 40
	for i := range 6 + seed%(late-6) {
		h := (seed*31 + i*17 + len(service)*7)
		g.text = fmt.Appendf(g.text, lang.frame, modules[h%len(modules)], functions[h/3%len(functions)], 20+h*13%700)
		g.text = append(g.text, '\n')
	}
	if lang.atTail {
		g.text = append(g.text, first...)
	}
	return string(g.text)
}

// made is one value as text.
func (g *Generator) made(v verb) string {
	g.text = g.append(g.text[:0], v)
	return string(g.text)
}

func text(key, value string) telemetry.Attr {
	return telemetry.Attr{Key: key, Value: telemetry.String(value)}
}

func number(key string, value int64) telemetry.Attr {
	return telemetry.Attr{Key: key, Value: telemetry.Int(value)}
}
