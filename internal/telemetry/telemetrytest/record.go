package telemetrytest

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
)

// Phrases that records have, in order of how common they are.
const (
	// PhraseCommon is in every ninth record or so.
	PhraseCommon = "HTTP/1.1 200"
	// PhraseMedium is in one of about 900 records.
	PhraseMedium = "deadline exceeded while waiting"
	// PhraseRare is in one of about 250,000 records.
	PhraseRare = "checksum mismatch in segment"
)

const rare = 1.0 / 250_000

// form is a way to write records, with its templates.
type form struct {
	lines []line
	which *rand.Zipf // line
}

// style is how a service writes: one line for requests, and one form for the rest, of which it has lines of its own in front.
type style struct {
	access *line
	form   *form
	first  int
}

// accessShare is the part of a service's records that are lines of requests.
const accessShare = 0.345

// line is a template of a record.
type line struct {
	body     pattern
	severity uint8
	fields   []string // keys of attributes
}

// newStyles makes the styles of services, by their numbers.
func newStyles(r *rand.Rand, services int) []style {
	requests, forms := access(), []*form{structured(), plain(), pairs(), plain(), structured(), plain(), pairs(), plain(), structured()}
	for _, f := range forms {
		f.which = rand.NewZipf(r, 1.15, 3, uint64(len(f.lines)-1))
	}
	styles := make([]style, services)
	for i := range styles {
		styles[i] = style{access: &requests.lines[i%len(requests.lines)], form: forms[i%len(forms)], first: 5 * i}
	}
	return styles
}

// line is one of the style's lines.
func (s *style) line(g *Generator) *line {
	if g.chance(accessShare) {
		return s.access
	}
	pick := func() *line { return &s.form.lines[(s.first+int(s.form.which.Uint64()))%len(s.form.lines)] }
	l := pick()
	if l.severity != telemetry.SeverityInfo && g.chance(0.5) {
		l = pick() // Most of what is written is no warning.
	}
	return l
}

// AppendRecord appends one record to records and lets time go on.
func (g *Generator) AppendRecord(records []telemetry.Record) []telemetry.Record {
	t := &g.talks[g.r.IntN(len(g.talks))]
	if t.left == 0 {
		g.talk(t)
	}
	t.left--
	home := g.byName[t.of.resource.Service]
	r := telemetry.Record{Time: g.recordTime, Resource: t.of.resource, Scope: home.scopes.own}
	g.recordTime += int64(g.r.ExpFloat64() / g.opts.Records * float64(time.Second))
	g.now = t.now
	g.now.time, g.now.host = r.Time, home.name+":8080"
	if t.known {
		r.TraceID, r.SpanID = t.of.trace, t.of.span
	}
	g.write(&r, home)
	t.now.order, t.now.hasOrder = g.now.order, g.now.hasOrder
	return append(records, r)
}

// talk begins another one: of a recent span, or of something without a trace.
func (g *Generator) talk(t *talk) {
	g.fresh()
	*t = talk{now: g.now, left: 1 + g.r.IntN(5)}
	t.of, t.known = g.recently()
	if t.known = t.known && g.chance(0.4); t.known {
		t.now.trace = t.of.trace
		return
	}
	s := g.services[g.r.IntN(len(g.services))]
	t.of.resource = s.replicas[g.r.IntN(len(s.replicas))]
	g.id(t.now.trace[:])
}

// AppendRecords appends n records.
func (g *Generator) AppendRecords(records []telemetry.Record, n int) []telemetry.Record {
	for range n {
		records = g.AppendRecord(records)
	}
	return records
}

// write gives the record its body, severity and attributes.
func (g *Generator) write(r *telemetry.Record, home *service) {
	x := g.r.Float64()
	switch {
	case g.chance(rare):
		r.Severity, r.Body = telemetry.SeverityError, telemetry.String(PhraseRare+" "+g.made(verbN)+" of "+g.made(verbHex))
		return
	case x < 0.01:
		lang := home.lang
		kind := lang.exceptions[g.r.IntN(len(lang.exceptions))]
		message := g.fill(&g.pools.failures[g.r.IntN(len(g.pools.failures))])
		r.Severity, r.Body = telemetry.SeverityError, telemetry.String(g.stack(lang, home.name, kind, message))
		r.Attrs = append(g.room(3), text("exception.type", kind), text("exception.message", message), text("log.iostream", "stderr"))
		return
	}
	o := g.entries[g.r.IntN(len(g.entries))]
	if o.route != "" && g.chance(0.85) {
		g.now.method, g.now.path, g.now.status = o.method, g.fill(&o.pathOf), g.answer()
	} else { // One of few that look whether it is well.
		g.now.method, g.now.path, g.now.status = "GET", "/healthz", 200
		g.now.user, g.now.product = g.r.IntN(6), 0
	}
	l := g.styles[home.number].line(g)
	r.Severity, r.Body = l.severity, telemetry.String(g.fill(&l.body))
	if len(l.fields) == 0 {
		return
	}
	r.Attrs = g.room(len(l.fields))
	for _, key := range l.fields {
		r.Attrs = append(r.Attrs, g.field(key, home))
	}
}

func (g *Generator) answer() int64 {
	switch x := g.r.Float64(); {
	case x < 0.86:
		return 200
	case x < 0.92:
		return 304
	case x < 0.95:
		return 201
	case x < 0.985:
		return 404
	case x < 0.993:
		return 401
	}
	return 500
}

// field makes an attribute of a record.
func (g *Generator) field(key string, home *service) telemetry.Attr {
	switch key {
	case "log.iostream":
		return text(key, "stdout")
	case "thread.name":
		return text(key, "http-nio-8080-exec-"+strconv.Itoa(g.r.IntN(64)))
	case "code.function.name":
		return text(key, home.name+".handler.handle")
	case "code.line.number":
		return number(key, 12+int64(g.pools.lines.Uint64()))
	case "user.id":
		return text(key, g.made(verbUser))
	case "order.id":
		return text(key, g.made(verbOrder))
	}
	return text(key, g.made(verbHex))
}

func lines(severity uint8, fields []string, texts ...string) []line {
	var all []line
	for _, t := range texts {
		all = append(all, line{body: compile(t), severity: severity, fields: fields})
	}
	return all
}

func access() *form {
	info := telemetry.SeverityInfo
	out := []string{"log.iostream"}
	return &form{lines: append(lines(info, out,
		`<client> - - [<clf>] "<method> <path> HTTP/1.1" <status> <size> "-" "<agent>"`),
		lines(info, nil,
			`[<time>] "<method> <path> HTTP/1.1" <status> - 0 <size> <n> <n> "<client>" "<uuid>" "<host>"`,
			`<method> <path> HTTP/1.1 <status> <size> <ms>ms`,
			`<client> <host> [<clf>] "<method> <path>?v=<n> HTTP/1.1 <status>" <size> <ms> request=<hex>`)...)}
}

func structured() *form {
	info, warn, fail, debug := telemetry.SeverityInfo, telemetry.SeverityWarn, telemetry.SeverityError, telemetry.SeverityDebug
	lists := [][]line{
		lines(info, nil,
			`{"level":"info","ts":"<time>","caller":"outbox/relay.go:118","msg":"nothing to publish, waiting for the next notification","component":"outbox","idle":true}`,
			`{"level":"info","ts":"<time>","caller":"stock/reserve.go:64","msg":"reserved stock for an order","component":"inventory","warehouse":"w-<n>","lines":<n>}`),
		lines(info, nil,
			`{"level":"info","ts":"<time>","caller":"handler/orders.go:<line>","msg":"order placed","order_id":"<order>","user_id":"<user>","total":<money>}`,
			`{"level":"info","ts":"<time>","msg":"request handled","method":"<method>","path":"<path>","status":<status>,"duration_ms":<ms>,"trace_id":"<trace>"}`),
		lines(info, []string{"user.id"},
			`{"level":30,"time":"<time>","pid":<n>,"hostname":"<host>","msg":"session refreshed","user":"<user>","ttl":3600}`,
			`{"timestamp":"<time>","severity":"INFO","logger":"shop.cart","message":"cart updated","user":"<user>","sku":"<product>","quantity":<n>}`),
		lines(info, nil,
			`{"@timestamp":"<time>","log.level":"INFO","message":"price quoted","sku":"<product>","net":<money>,"currency":"EUR","cache":"hit"}`,
			`{"level":"info","ts":"<time>","msg":"message consumed","topic":"order.placed","partition":<n>,"offset":<id>,"lag":<n>}`),
		lines(debug, nil, `{"level":"debug","ts":"<time>","msg":"cache lookup","key":"product:<product>","hit":true,"took_us":<n>}`),
		lines(warn, nil,
			`{"level":"warn","ts":"<time>","msg":"slow query","statement":"SELECT * FROM stock WHERE sku = ANY($1)","duration_ms":<ms>,"rows":<n>}`,
			`{"level":"warn","ts":"<time>","msg":"retrying","attempt":<n>,"error":"dial tcp <ip>:5432: connect: connection refused"}`),
		lines(fail, []string{"order.id"}, `{"level":"error","ts":"<time>","msg":"payment declined","order_id":"<order>","code":"card_declined","amount":<money>}`),
	}
	return &form{lines: joined(lists)}
}

func pairs() *form {
	info, warn, debug := telemetry.SeverityInfo, telemetry.SeverityWarn, telemetry.SeverityDebug
	lists := [][]line{
		lines(info, nil,
			`time=<time> level=INFO source=refresh.go:203 msg="nothing has changed since the last refresh of the exchange rates" component=refresher provider=ecb`,
			`time=<time> level=INFO source=consumer.go:77 msg="fetched a batch of messages from the broker" topic=order.placed group=worker partition=<n> messages=<n>`),
		lines(info, nil,
			`time=<time> level=INFO msg="request done" method=<method> path=<path> status=<status> took=<ms>ms bytes=<size> request_id=<hex>`,
			`time=<time> level=INFO msg="cache refreshed" component=pricing entries=<n> took=<ms>ms`),
		lines(info, []string{"code.function.name", "code.line.number"},
			`time=<time> level=INFO source=worker.go:<line> msg="job finished" job=<uuid> kind=thumbnail size=<size> took=<ms>ms`,
			`time=<time> level=INFO source=session.go:<line> msg="token issued" user=<user> client=<client> scope="cart orders"`),
		lines(debug, nil, `time=<time> level=DEBUG msg="connection taken from pool" pool=<n> idle=<n> waited=<ms>ms`),
		lines(warn, nil, `time=<time> level=WARN msg="stock is low" sku=<product> available=<n> warehouse=w-<n> order=<order>`,
			`time=<time> level=WARN msg="upstream is slow" upstream=<ip>:8080 p99=<ms>ms limit=250ms`),
	}
	return &form{lines: joined(lists)}
}

func plain() *form {
	info, warn, fail, debug := telemetry.SeverityInfo, telemetry.SeverityWarn, telemetry.SeverityError, telemetry.SeverityDebug
	thread := []string{"thread.name"}
	lists := [][]line{
		lines(info, nil,
			`<time>  INFO 1 --- [scheduling-1] c.e.jobs.ReservationSweeper : Released the reservations that have expired, <n> of them, and told their carts about it`,
			`<time>  INFO 1 --- [scheduling-1] c.e.jobs.OutboxPublisher : Published <n> events of the outbox, the oldest of them has waited for less than a second`),
		lines(info, thread,
			`<time>  INFO 1 --- [exec-<n>] c.e.orders.OrderController : Order <order> of user <user> accepted with <n> lines, total <money> EUR, reserved until the payment arrives`,
			`<time>  INFO 1 --- [exec-<n>] c.e.payments.PaymentService : Authorized payment <uuid> for order <order>: <money> EUR in <ms> ms through acquirer <n>`),
		lines(info, nil,
			`Delivered message <uuid> to <email> through <ip>:25 in <ms> ms: 250 2.0.0 Ok: queued as <hex>`,
			`INFO:     <client>:0 - "<method> <path> HTTP/1.1" <status> OK`,
			`Search for "<word>" found <n> products in <ms> ms, the first one is <product>`,
			`[<time>] Picked <n> of <product> from bin <hex> for order <order>, <n> left`,
			`User <user> signed in from <client> with <agent>`,
			`Thumbnail <hex>.webp of <product> written: <size> bytes, <ms> ms`,
			`Recommended <n> products to <user> after <product>, best score <ms>`),
		lines(debug, nil, `Evicted <n> entries of generation <n> in <ms> ms, heap is <size> kB`, `Heartbeat from <ip>:<n>, sequence <id>`),
		lines(warn, thread,
			`<time>  WARN 1 --- [exec-<n>] o.h.engine.jdbc.spi.SqlExceptionHelper : SQL Error: 0, SQLState: 40001; the transaction <id> is tried again`,
			`Connection to <ip>:6379 was lost after <ms> s; it is made again in <n> ms`),
		lines(fail, nil, `dial tcp <ip>:8080: connect: connection refused`, `Shipment of order <order> cannot be planned: no carrier serves postcode <n>`,
			`Mail to <email> bounced: 550 5.1.1 <hex> recipient address rejected`),
		lines(info, nil, `Started in <ms> seconds (process running for <n>), listening on 0.0.0.0:8080`, `Rotated the key <hex>; the one before is good until <time>`),
	}
	return &form{lines: joined(lists)}
}

func joined(lists [][]line) (all []line) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// failures are messages of exceptions.
func failures() (all []pattern) {
	for _, t := range []string{
		"connect to <ip>:5432: connection refused", "read tcp <ip>:<n>: i/o timeout after <ms> ms", "deadline exceeded while waiting for stock of <product>",
		"card declined by acquirer: code <n>, reference <hex>", "cannot read property 'items' of undefined", "unexpected status 502 from http://<ip>:8080",
		"duplicate key value violates unique constraint \"orders_pkey\": <order>", "could not serialize access due to concurrent update", "user <user> has no default address",
	} {
		all = append(all, compile(t))
	}
	return all
}
