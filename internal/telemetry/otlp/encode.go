package otlp

import (
	"encoding/binary"
	"math"

	"github.com/atollhq/atoll/internal/telemetry"
)

// AppendTraces appends an ExportTraceServiceRequest in Protocol Buffers with the spans to b. Like the other requests it
// holds them by their resources and scopes, in the order in which these come first.
func AppendTraces(b []byte, spans []telemetry.Span) []byte {
	var g groups
	for i := range spans {
		g.add(spans[i].Resource, spans[i].Scope, i)
	}
	return g.append(b, func(b []byte, i int) []byte { return appendSpan(b, &spans[i]) })
}

// AppendLogs appends an ExportLogsServiceRequest in Protocol Buffers with the records to b.
func AppendLogs(b []byte, records []telemetry.Record) []byte {
	var g groups
	for i := range records {
		g.add(records[i].Resource, records[i].Scope, i)
	}
	return g.append(b, func(b []byte, i int) []byte { return appendRecord(b, &records[i]) })
}

// AppendMetrics appends an ExportMetricsServiceRequest in Protocol Buffers with the metrics to b.
func AppendMetrics(b []byte, metrics []telemetry.Metric) []byte {
	var g groups
	for i := range metrics {
		g.add(metrics[i].Resource, metrics[i].Scope, i)
	}
	return g.append(b, func(b []byte, i int) []byte { return appendMetric(b, &metrics[i]) })
}

// groups sorts items by resource and scope.
type groups struct {
	list     []*group
	pointers map[*telemetry.Resource]*group
	bytes    map[string]*group // by the resource as it is written
}

type group struct {
	resource []byte
	scopes   []scoped
}

type scoped struct {
	scope telemetry.Scope
	items []int
}

func (g *groups) add(r *telemetry.Resource, s *telemetry.Scope, i int) {
	if g.pointers == nil {
		g.pointers, g.bytes = map[*telemetry.Resource]*group{}, map[string]*group{}
	}
	at := g.pointers[r]
	if at == nil {
		written := appendResource(nil, r)
		if at = g.bytes[string(written)]; at == nil {
			at = &group{resource: written}
			g.bytes[string(written)] = at
			g.list = append(g.list, at)
		}
		g.pointers[r] = at
	}
	var scope telemetry.Scope
	if s != nil {
		scope = *s
	}
	for n := range at.scopes {
		if at.scopes[n].scope == scope {
			at.scopes[n].items = append(at.scopes[n].items, i)
			return
		}
	}
	at.scopes = append(at.scopes, scoped{scope: scope, items: []int{i}})
}

func (g *groups) append(b []byte, item func(b []byte, i int) []byte) []byte {
	for _, group := range g.list {
		var top, in int
		b, top = openMessage(b, 1)
		b = appendBytes(b, 1, group.resource)
		for _, s := range group.scopes {
			b, in = openMessage(b, 2)
			if s.scope != (telemetry.Scope{}) {
				var at int
				b, at = openMessage(b, 1)
				b = appendText(b, 1, s.scope.Name)
				b = closeMessage(appendText(b, 2, s.scope.Version), at)
			}
			for _, i := range s.items {
				var at int
				b, at = openMessage(b, 2)
				b = closeMessage(item(b, i), at)
			}
			b = closeMessage(b, in)
		}
		b = closeMessage(b, top)
	}
	return b
}

func appendResource(b []byte, r *telemetry.Resource) []byte {
	if r == nil {
		return b
	}
	b = appendAttr(b, 1, telemetry.Attr{Key: "service.name", Value: telemetry.String(r.Service)})
	if r.Replica != "" {
		b = appendAttr(b, 1, telemetry.Attr{Key: "service.instance.id", Value: telemetry.String(r.Replica)})
	}
	return appendAttrs(b, 1, r.Attrs)
}

func appendSpan(b []byte, s *telemetry.Span) []byte {
	b = appendBytes(b, 1, s.TraceID[:])
	b = appendBytes(b, 2, s.SpanID[:])
	b = appendText(b, 3, s.State)
	if !s.Parent.IsZero() {
		b = appendBytes(b, 4, s.Parent[:])
	}
	b = appendText(b, 5, s.Name)
	b = appendVarint(b, 6, uint64(s.Kind))
	b = appendFixed64(b, 7, uint64(s.Start))
	b = appendFixed64(b, 8, uint64(s.Start+s.Duration))
	b = appendAttrs(b, 9, s.Attrs)
	var at int
	for i := range s.Events {
		e := &s.Events[i]
		b, at = openMessage(b, 11)
		b = appendFixed64(b, 1, uint64(e.Time))
		b = appendText(b, 2, e.Name)
		b = closeMessage(appendAttrs(b, 3, e.Attrs), at)
	}
	for i := range s.Links {
		l := &s.Links[i]
		b, at = openMessage(b, 13)
		b = appendBytes(b, 1, l.TraceID[:])
		b = appendBytes(b, 2, l.SpanID[:])
		b = closeMessage(appendAttrs(b, 4, l.Attrs), at)
	}
	if s.Status != telemetry.StatusUnset || s.StatusText != "" {
		b, at = openMessage(b, 15)
		b = appendText(b, 2, s.StatusText)
		b = closeMessage(appendVarint(b, 3, uint64(s.Status)), at)
	}
	return b
}

func appendRecord(b []byte, r *telemetry.Record) []byte {
	b = appendFixed64(b, 1, uint64(r.Time))
	b = appendFixed64(b, 11, uint64(r.Time)) // Receivers want an observed time.
	b = appendVarint(b, 2, uint64(r.Severity))
	if r.Body.Kind() != telemetry.KindNone {
		b = appendValue(b, 5, r.Body)
	}
	b = appendAttrs(b, 6, r.Attrs)
	if !r.TraceID.IsZero() {
		b = appendBytes(b, 9, r.TraceID[:])
	}
	if !r.SpanID.IsZero() {
		b = appendBytes(b, 10, r.SpanID[:])
	}
	return appendText(b, 12, r.Name)
}

func appendAttrs(b []byte, field int, attrs []telemetry.Attr) []byte {
	for _, a := range attrs {
		b = appendAttr(b, field, a)
	}
	return b
}

func appendAttr(b []byte, field int, a telemetry.Attr) []byte {
	b, at := openMessage(b, field)
	b = appendText(b, 1, a.Key)
	return closeMessage(appendValue(b, 2, a.Value), at)
}

// appendValue appends an AnyValue. JSON becomes what it was: a text alone is bytes in Base64, and bytes within arrays
// and maps stay texts. What is not JSON, though it should be, is sent as a text.
func appendValue(b []byte, field int, v telemetry.Value) []byte {
	b, at := openMessage(b, field)
	switch v.Kind() {
	case telemetry.KindString:
		b = appendBytes(b, 1, []byte(v.Str()))
	case telemetry.KindBool:
		b = append(appendTag(b, 2, wireVarint), truth(v.Bool()))
	case telemetry.KindInt:
		b = binary.AppendUvarint(appendTag(b, 3, wireVarint), uint64(v.Int()))
	case telemetry.KindFloat:
		f, _ := v.Number()
		b = appendDouble(b, 4, f)
	case telemetry.KindJSON:
		b = appendJSONValue(b, v.Str())
	case telemetry.KindNone:
	}
	return closeMessage(b, at)
}

// appendDouble appends a double, even if it is 0.
func appendDouble(b []byte, field int, f float64) []byte {
	return binary.LittleEndian.AppendUint64(appendTag(b, field, wireFixed64), math.Float64bits(f))
}

// appendJSONValue appends the field of an AnyValue for a text of JSON.
func appendJSONValue(b []byte, text string) []byte {
	start := len(b)
	l := valueReader{lexer: lexer{b: []byte(text)}, out: b}
	var err error
	if l.peek() == '"' {
		var raw []byte
		if raw, err = l.text(); err == nil {
			if raw, err = base64Bytes(raw); err == nil {
				l.out = appendBytes(l.out, 7, raw)
			}
		}
	} else {
		err = l.value(1)
	}
	if err != nil || l.peek() != 0 {
		return appendBytes(l.out[:start], 1, []byte(text))
	}
	return l.out
}

// valueReader writes JSON as AnyValue.
type valueReader struct {
	lexer
	out []byte
}

func (r *valueReader) value(depth int) error {
	switch r.peek() {
	case '{':
		return r.object(depth)
	case '[':
		return r.array(depth)
	case '"':
		b, err := r.text()
		r.out = appendBytes(r.out, 1, b)
		return err
	}
	switch {
	case r.word("null"):
		return nil
	case r.word("true"):
		r.out = append(appendTag(r.out, 2, wireVarint), 1)
		return nil
	case r.word("false"):
		r.out = append(appendTag(r.out, 2, wireVarint), 0)
		return nil
	}
	return r.num()
}

func (r *valueReader) object(depth int) error {
	var list int
	r.out, list = openMessage(r.out, 6)
	err := r.lexer.object(depth, func(key []byte) error {
		var pair, at int
		r.out, pair = openMessage(r.out, 1)
		r.out = appendBytes(r.out, 1, key)
		r.out, at = openMessage(r.out, 2)
		err := r.value(depth + 1)
		r.out = closeMessage(closeMessage(r.out, at), pair)
		return err
	})
	r.out = closeMessage(r.out, list)
	return err
}

func (r *valueReader) array(depth int) error {
	var list int
	r.out, list = openMessage(r.out, 5)
	err := r.lexer.array(depth, func() error {
		var at int
		r.out, at = openMessage(r.out, 1)
		err := r.value(depth + 1)
		r.out = closeMessage(r.out, at)
		return err
	})
	r.out = closeMessage(r.out, list)
	return err
}

// num writes a number: one without point and exponent is an integer, if it fits.
func (r *valueReader) num() error {
	b, err := r.number()
	if err != nil {
		return err
	}
	whole := true
	for _, ch := range b {
		whole = whole && ch != '.' && ch != 'e' && ch != 'E'
	}
	if n, ok := parseInt(b); whole && ok && (b[0] == '-' || n <= math.MaxInt64) {
		r.out = binary.AppendUvarint(appendTag(r.out, 3, wireVarint), n)
		return nil
	}
	f, ok := parseFloat(b)
	if !ok {
		return errJSON
	}
	r.out = appendDouble(r.out, 4, f)
	return nil
}
