package otlp

import (
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/atollhq/atoll/internal/telemetry"
)

// Signal is one of the three kinds of requests.
type Signal uint8

// The signals of OTLP.
const (
	Traces Signal = iota + 1
	Logs
	Metrics
)

// String is the signal's name in paths of OTLP over HTTP.
func (s Signal) String() string {
	switch s {
	case Traces:
		return "traces"
	case Logs:
		return "logs"
	case Metrics:
		return "metrics"
	}
	return "unknown"
}

// Decoder decodes requests into batches. It is used by one goroutine at a time and keeps its memory from one request to
// the next: a batch is good until the next call of its Decoder, and only as long as the bytes of its request are not
// changed, since its strings alias them. Resources and Scopes alone are copies, which are never changed.
type Decoder struct {
	limits Limits
	now    func() time.Time
	grant  func(n int64) error // asks for n more bytes of memory; may be nil

	root    []byte // the request
	batch   telemetry.Batch
	partial Partial
	used    int64 // bytes of memory for this request
	granted int64
	fail    error // why the request is given up

	attrs  []telemetry.Attr
	events []telemetry.SpanEvent
	links  []telemetry.Link
	points []telemetry.Point
	floats []float64
	counts []uint64
	quants []telemetry.Quantile
	json   []byte // texts of arrays and maps

	schema *schema // of OTLP/JSON
	binary []byte  // a request in JSON as Protocol Buffers

	resources map[string]*telemetry.Resource // by their bytes
	scopes    map[string]*telemetry.Scope
}

// NewDecoder makes a Decoder. now tells the time for what comes without one; nil is time.Now.
func NewDecoder(limits Limits, now func() time.Time) *Decoder {
	if now == nil {
		now = time.Now
	}
	return &Decoder{
		limits: limits.withDefaults(), now: now,
		resources: map[string]*telemetry.Resource{}, scopes: map[string]*telemetry.Scope{},
	}
}

// Decode decodes an export request in Protocol Buffers. Errors are *Malformed and *TooLarge.
func (d *Decoder) Decode(s Signal, request []byte) (*telemetry.Batch, Partial, error) {
	d.Reset()
	if int64(len(request)) > d.limits.Request {
		return nil, Partial{}, &TooLarge{"the request is larger than " + size(d.limits.Request)}
	}
	d.root = request
	switch s {
	case Traces:
		d.envelope(request, "resource_spans", "scope_spans", "spans", d.span)
	case Logs:
		d.envelope(request, "resource_logs", "scope_logs", "log_records", d.record)
	case Metrics:
		d.envelope(request, "resource_metrics", "scope_metrics", "metrics", d.metric)
	}
	if d.fail != nil {
		return nil, Partial{}, d.fail
	}
	return &d.batch, d.partial, nil
}

// Reset lets go of the last request and its batch. Memory that a rare large request took is not kept.
func (d *Decoder) Reset() {
	d.root, d.partial, d.used, d.granted, d.fail = nil, Partial{}, 0, 0, nil
	d.batch.Spans = reuse(d.batch.Spans)
	d.batch.Records = reuse(d.batch.Records)
	d.batch.Metrics = reuse(d.batch.Metrics)
	d.attrs, d.events, d.links = reuse(d.attrs), reuse(d.events), reuse(d.links)
	d.points, d.floats, d.counts = reuse(d.points), reuse(d.floats), reuse(d.counts)
	d.quants, d.json = reuse(d.quants), reuse(d.json)
}

// maxKept is how many bytes of one slab are kept for the next request.
const maxKept = 4 << 20

// reuse empties a slab and keeps its memory if it is not much.
func reuse[T any](s []T) []T {
	var t T
	if uintptr(cap(s))*unsafe.Sizeof(t) > maxKept {
		return nil
	}
	clear(s)
	return s[:0]
}

// origin is who and what library sent something.
type origin struct {
	resource *telemetry.Resource
	scope    *telemetry.Scope
}

// envelope walks the two levels that are the same for all signals: resources, and scopes in them. item decodes what is
// in a scope.
func (d *Decoder) envelope(request []byte, inner0, inner1, inner2 string, item func([]byte, origin, string)) {
	where1 := inner0 + "." + inner1
	where2 := where1 + "." + inner2
	top := cursor{b: request}
	for d.fail == nil && top.next() {
		if top.tag != 1<<3|wireLen {
			continue
		}
		o := origin{resource: d.resource(first(top.raw, 1), inner0)}
		group := cursor{b: top.raw}
		for d.fail == nil && group.next() {
			if group.tag != 2<<3|wireLen {
				continue
			}
			o.scope = d.scope(first(group.raw, 1), where1)
			items := cursor{b: group.raw}
			for d.fail == nil && items.next() {
				if items.tag == 2<<3|wireLen {
					item(items.raw, o, where2)
				}
			}
			d.check(&items, where1, "")
		}
		d.check(&group, inner0, "")
	}
	d.check(&top, "the request", "")
}

// first finds a message in a message, whose fields may come in any order; nil if it is not there.
func first(b []byte, field uint64) []byte {
	c := cursor{b: b}
	for c.next() {
		if c.tag == field<<3|wireLen {
			return c.raw
		}
	}
	return nil
}

// check gives the request up if the cursor found it broken. The place is given in two parts that are joined only then.
func (d *Decoder) check(c *cursor, where, part string) {
	if c.why != "" && d.fail == nil {
		d.fail = &Malformed{Where: where + part, Offset: cap(d.root) - cap(c.b), Why: c.why}
	}
}

// charge counts memory that the request takes.
func (d *Decoder) charge(n int64) {
	const step = 256 << 10
	d.used += n
	if d.used <= d.granted || d.fail != nil {
		return
	}
	if d.used > d.limits.Decoded {
		d.fail = &TooLarge{"the request decodes to more than " + size(d.limits.Decoded) + "; send it in several"}
		return
	}
	more := d.used - d.granted + step
	if d.grant != nil {
		if d.fail = d.grant(more); d.fail != nil {
			return
		}
	}
	d.granted += more
}

// reject counts something that is not taken. Only the first reason is told, and only that is written.
func (d *Decoder) reject(n int64, why func() string) {
	if d.partial.Rejected == 0 {
		d.partial.Why = why()
	}
	d.partial.Rejected += n
}

// text is a text that aliases the request, cut to the limit and mended if it is not UTF-8.
func (d *Decoder) text(b []byte, limit int) string {
	if len(b) > limit {
		b = cut(b, limit)
		d.partial.Cut++
	}
	if len(b) == 0 {
		return ""
	}
	if !utf8.Valid(b) {
		s := strings.ToValidUTF8(string(b), "\uFFFD")
		d.charge(int64(len(s)))
		return s
	}
	return alias(b)
}

// alias is b as a string without a copy. It is safe as long as nobody writes to b: requests and the texts of arrays are
// written before they are aliased, and are written again only after the batch was let go.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// cut shortens a text to at most limit bytes, not within a rune.
func cut(b []byte, limit int) []byte {
	for i := limit; i > limit-utf8.UTFMax && i > 0; i-- {
		if utf8.RuneStart(b[i]) {
			return b[:i]
		}
	}
	return b[:limit]
}

// Limits of the caches of resources and scopes of one Decoder.
const (
	maxCached     = 128
	maxCachedSize = 4 << 10
)

// resource decodes a Resource, or finds it among those that came before.
func (d *Decoder) resource(b []byte, where string) *telemetry.Resource {
	if r, ok := d.resources[string(b)]; ok {
		return r
	}
	r := &telemetry.Resource{Service: UnknownService}
	start := len(d.attrs)
	c := cursor{b: b}
	for d.fail == nil && c.next() {
		if c.tag == 1<<3|wireLen {
			d.attr(c.raw, start, where)
		}
	}
	d.check(&c, where, ".resource")
	for _, a := range d.attrs[start:] {
		switch {
		case a.Value.Kind() == telemetry.KindNone: // says nothing
		case a.Key == "service.name":
			if name := a.Value.Text(); name != "" {
				r.Service = strings.Clone(name)
			}
		case a.Key == "service.instance.id":
			r.Replica = strings.Clone(a.Value.Text())
		default:
			r.Attrs = append(r.Attrs, telemetry.Attr{Key: strings.Clone(a.Key), Value: cloned(a.Value)})
		}
	}
	d.charge(int64(len(b)) + 128 + attrSize*int64(cap(r.Attrs)))
	d.attrs = d.attrs[:start]
	if d.fail == nil && len(b) <= maxCachedSize {
		if len(d.resources) >= maxCached {
			clear(d.resources)
		}
		d.resources[string(b)] = r
	}
	return r
}

// UnknownService is the name of a service that does not tell its name.
const UnknownService = "unknown_service"

func cloned(v telemetry.Value) telemetry.Value {
	switch v.Kind() {
	case telemetry.KindString:
		return telemetry.String(strings.Clone(v.Str()))
	case telemetry.KindJSON:
		return telemetry.JSON(strings.Clone(v.Str()))
	case telemetry.KindNone, telemetry.KindInt, telemetry.KindFloat, telemetry.KindBool:
	}
	return v
}

// scope decodes an InstrumentationScope; nil for one without a name and version.
func (d *Decoder) scope(b []byte, where string) *telemetry.Scope {
	if len(b) == 0 {
		return nil
	}
	if s, ok := d.scopes[string(b)]; ok {
		return s
	}
	var name, version string
	c := cursor{b: b}
	for c.next() {
		switch c.tag {
		case 1<<3 | wireLen:
			name = d.text(c.raw, d.limits.Value)
		case 2<<3 | wireLen:
			version = d.text(c.raw, d.limits.Value)
		}
	}
	d.check(&c, where, ".scope")
	var s *telemetry.Scope
	if name != "" || version != "" {
		s = &telemetry.Scope{Name: strings.Clone(name), Version: strings.Clone(version)}
	}
	d.charge(int64(len(b)) + 64)
	if d.fail == nil && len(b) <= maxCachedSize {
		if len(d.scopes) >= maxCached {
			clear(d.scopes)
		}
		d.scopes[string(b)] = s
	}
	return s
}

// when is a time of OTLP; 0 for one that cannot be.
func when(n uint64) int64 { return max(int64(n), 0) }

// or0 is the first time that is not 0, or else now.
func (d *Decoder) or0(times ...int64) int64 {
	for _, t := range times {
		if t != 0 {
			return t
		}
	}
	return d.now().UnixNano()
}
