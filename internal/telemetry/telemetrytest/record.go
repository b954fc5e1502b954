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
	weight float64
	lines  []line
	which  *rand.Zipf // line
}

// line is a template of a record.
type line struct {
	body     pattern
	severity uint8
	fields   []string // keys of attributes
}

func newForms(r *rand.Rand) []form {
	forms := []form{access(), structured(), pairs(), plain()}
	for i := range forms {
		forms[i].which = rand.NewZipf(r, 1.15, 3, uint64(len(forms[i].lines)-1))
	}
	return forms
}

// AppendRecord appends one record to records and lets time go on.
func (g *Generator) AppendRecord(records []telemetry.Record) []telemetry.Record {
	g.fresh()
	r := telemetry.Record{Time: g.recordTime}
	g.now.time = r.Time
	g.recordTime += int64(g.r.ExpFloat64() / g.opts.Records * float64(time.Second))
	from, known := g.recently()
	if !known || g.chance(0.3) {
		s := g.services[g.r.IntN(len(g.services))]
		from.resource, known = s.replicas[g.r.IntN(len(s.replicas))], false
	}
	home := g.byName[from.resource.Service]
	r.Resource, r.Scope = from.resource, home.scopes.own
	g.now.host = home.name + ":8080"
	if known && g.chance(0.57) {
		r.TraceID, r.SpanID = from.trace, from.span
		g.now.trace = from.trace
	} else {
		g.id(g.now.trace[:])
	}
	g.write(&r, home)
	return append(records, r)
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
		r.Severity, r.Body = telemetry.SeverityError, telemetry.String(PhraseRare+" "+g.made(verbN)+": expected "+g.made(verbHex)+", got "+g.made(verbHex))
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
	g.now.method, g.now.path = "GET", "/healthz"
	if o.route != "" && g.chance(0.95) {
		g.now.method, g.now.path = o.method, g.fill(&o.pathOf)
	}
	g.now.status = g.answer()
	x = g.r.Float64()
	f := &g.forms[0]
	for i := range g.forms {
		f = &g.forms[i]
		if x -= f.weight; x < 0 {
			break
		}
	}
	l := &f.lines[f.which.Uint64()]
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

func access() form {
	info := telemetry.SeverityInfo
	out := []string{"log.iostream"}
	return form{weight: 0.345, lines: append(lines(info, out,
		`<client> - - [<clf>] "<method> <path> HTTP/1.1" <status> <size> "-" "<agent>"`),
		lines(info, nil,
			`[<time>] "<method> <path> HTTP/1.1" <status> - 0 <size> <n> <n> "<client>" "<uuid>" "<host>"`,
			`<method> <path> HTTP/1.1 <status> <size> <ms>ms`,
			`<client> <host> [<clf>] "<method> <path>?v=<n> HTTP/1.1 <status>" <size> <ms> request=<hex>`)...)}
}

func structured() form {
	info, warn, fail, debug := telemetry.SeverityInfo, telemetry.SeverityWarn, telemetry.SeverityError, telemetry.SeverityDebug
	lists := [][]line{
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
	return form{weight: 0.215, lines: joined(lists)}
}

func pairs() form {
	info, warn, debug := telemetry.SeverityInfo, telemetry.SeverityWarn, telemetry.SeverityDebug
	lists := [][]line{
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
	return form{weight: 0.16, lines: joined(lists)}
}

func plain() form {
	info, warn, fail, debug := telemetry.SeverityInfo, telemetry.SeverityWarn, telemetry.SeverityError, telemetry.SeverityDebug
	thread := []string{"thread.name"}
	lists := [][]line{
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
	return form{weight: 0.28, lines: joined(lists)}
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
