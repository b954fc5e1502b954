package otlp_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

var (
	traceID = bytes.Repeat([]byte{1}, 16)
	spanID  = bytes.Repeat([]byte{2}, 8)
)

func text(s string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: s}}
}

func list(values ...*common.AnyValue) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: values}}}
}

func attr(key string, v *common.AnyValue) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: v}
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func spansOf(spans ...*trace.Span) *coltrace.ExportTraceServiceRequest {
	return &coltrace.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{{
		ScopeSpans: []*trace.ScopeSpans{{Spans: spans}},
	}}}
}

func recordsOf(records ...*logs.LogRecord) *collogs.ExportLogsServiceRequest {
	return &collogs.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{
		ScopeLogs: []*logs.ScopeLogs{{LogRecords: records}},
	}}}
}

// decode decodes with small limits and a clock that stands at 1000 s.
func decode(t *testing.T, s otlp.Signal, m proto.Message) (*telemetry.Batch, otlp.Partial) {
	t.Helper()
	d := otlp.NewDecoder(
		otlp.Limits{Value: 100, Body: 200, Attrs: 4, Events: 3, Depth: 3},
		func() time.Time { return time.Unix(1000, 0) },
	)
	b, p, err := d.Decode(s, marshal(t, m))
	if err != nil {
		t.Fatal(err)
	}
	return b, p
}

func TestSpansWithoutValidIDsAreRejectedAlone(t *testing.T) {
	good := &trace.Span{TraceId: traceID, SpanId: spanID, Name: "good", Attributes: []*common.KeyValue{attr("a", text("b"))}}
	for name, bad := range map[string]*trace.Span{
		"no trace id":    {SpanId: spanID},
		"short trace id": {TraceId: traceID[:8], SpanId: spanID},
		"zero trace id":  {TraceId: make([]byte, 16), SpanId: spanID},
		"no span id":     {TraceId: traceID},
		"zero span id":   {TraceId: traceID, SpanId: make([]byte, 8), Attributes: good.GetAttributes()},
	} {
		b, p := decode(t, otlp.Traces, spansOf(bad, good, bad))
		if len(b.Spans) != 1 || b.Spans[0].Name != "good" || len(b.Spans[0].Attrs) != 1 {
			t.Errorf("%s: took %+v", name, b.Spans)
		}
		if p.Rejected != 2 || !strings.Contains(p.Why, name[strings.Index(name, " ")+1:]) && !strings.Contains(p.Why, "id") {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestTimesThatCannotBeAreMended(t *testing.T) {
	now := time.Unix(1000, 0).UnixNano()
	for _, c := range []struct {
		start, end      uint64
		wantAt, wantFor int64
	}{
		{100, 350, 100, 250},
		{350, 100, 350, 0},
		{100, 0, 100, 0},
		{0, 100, 100, 0},
		{0, 0, now, 0},
		{math.MaxUint64, 50, 50, 0},
		{1, math.MaxInt64, 1, math.MaxInt64 - 1},
	} {
		b, _ := decode(t, otlp.Traces, spansOf(&trace.Span{
			TraceId: traceID, SpanId: spanID, StartTimeUnixNano: c.start, EndTimeUnixNano: c.end,
		}))
		if s := b.Spans[0]; s.Start != c.wantAt || s.Duration != c.wantFor {
			t.Errorf("%d to %d: at %d for %d", c.start, c.end, s.Start, s.Duration)
		}
	}
	b, _ := decode(t, otlp.Logs, recordsOf(
		&logs.LogRecord{TimeUnixNano: 5, ObservedTimeUnixNano: 7}, &logs.LogRecord{ObservedTimeUnixNano: 7}, &logs.LogRecord{},
	))
	if r := b.Records; r[0].Time != 5 || r[1].Time != 7 || r[2].Time != now {
		t.Errorf("records at %d, %d, %d", r[0].Time, r[1].Time, r[2].Time)
	}
}

func TestAServiceIsKnownByItsResource(t *testing.T) {
	m := spansOf(&trace.Span{TraceId: traceID, SpanId: spanID})
	b, _ := decode(t, otlp.Traces, m)
	if r := b.Spans[0].Resource; r.Service != otlp.UnknownService {
		t.Errorf("without a resource: %+v", r)
	}
	m.ResourceSpans[0].Resource = &resource.Resource{Attributes: []*common.KeyValue{
		attr("service.instance.id", text("leads-2")), attr("host", text("h")), attr("service.name", text("leads")),
	}}
	b, _ = decode(t, otlp.Traces, m)
	want := "&{leads leads-2 [{host {h 0 1}}]}"
	if got := fmt.Sprint(b.Spans[0].Resource); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if b.Spans[0].Scope != nil {
		t.Errorf("a scope of nothing: %+v", b.Spans[0].Scope)
	}
}

// A resource that stands after its spans belongs to them all the same.
func TestTheOrderOfFieldsDoesNotMatter(t *testing.T) {
	m := spansOf(&trace.Span{TraceId: traceID, SpanId: spanID})
	rs := m.GetResourceSpans()[0]
	tail := marshal(t, &trace.ResourceSpans{Resource: &resource.Resource{
		Attributes: []*common.KeyValue{attr("service.name", text("late"))},
	}})
	inner := append(marshal(t, rs), tail...)
	request := append([]byte{1<<3 | 2, byte(len(inner))}, inner...)
	b, _, err := otlp.NewDecoder(otlp.Limits{}, nil).Decode(otlp.Traces, request)
	if err != nil || b.Spans[0].Resource.Service != "late" {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestResourcesAreSharedAndStayWhatTheyAre(t *testing.T) {
	d := otlp.NewDecoder(otlp.Limits{}, nil)
	request := otlp.AppendTraces(nil, someSpans(8))
	b, _, err := d.Decode(otlp.Traces, request)
	must(t, err)
	r := b.Spans[0].Resource
	clear(request)
	request = otlp.AppendTraces(request[:0], someSpans(8))
	b, _, err = d.Decode(otlp.Traces, request)
	must(t, err)
	if b.Spans[0].Resource != r || b.Spans[1].Resource != r {
		t.Error("equal resources are not one")
	}
	clear(request)
	if r.Service != "service-0" || r.Attrs[0].Value.Str() != "node" {
		t.Errorf("a resource changed with its request: %+v", r)
	}
}

func TestWhatIsTooMuchIsCutAndCounted(t *testing.T) {
	long := strings.Repeat("é", 60) // 120 bytes
	var many []*common.KeyValue
	for i := range 10 {
		many = append(many, attr(fmt.Sprint(i), text("v")))
	}
	var events []*trace.Span_Event
	var links []*trace.Span_Link
	for range 5 {
		events = append(events, &trace.Span_Event{Name: "e"})
		links = append(links, &trace.Span_Link{TraceId: traceID, SpanId: spanID})
	}
	b, p := decode(t, otlp.Traces, spansOf(&trace.Span{
		TraceId: traceID, SpanId: spanID, Name: "a" + long, Attributes: many, Events: events, Links: links,
	}))
	s := b.Spans[0]
	if s.Name != "a"+long[:98] || len(s.Attrs) != 4 || len(s.Events) != 3 || len(s.Links) != 3 {
		t.Errorf("took %+v", s)
	}
	if p.Cut != 1+6+2+2 || p.Rejected != 0 {
		t.Errorf("counted %+v", p)
	}
	deep := text("x")
	for range 6 {
		deep = list(deep)
	}
	b, p = decode(t, otlp.Logs, recordsOf(
		&logs.LogRecord{Body: text(strings.Repeat("b", 500))},
		&logs.LogRecord{Body: deep},
		&logs.LogRecord{Body: list(text(strings.Repeat("\x01", 100)))},
	))
	if r := b.Records; len(r[0].Body.Str()) != 200 || r[1].Body != telemetry.JSON("[[[null]]]") ||
		r[2].Body.Kind() != telemetry.KindString || len(r[2].Body.Str()) > 200 || p.Cut != 3 {
		t.Errorf("took %+v, %+v", r, p)
	}
}

func TestValuesBecomeWhatAStoreKeeps(t *testing.T) {
	kv := &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{Values: []*common.KeyValue{
		attr("a\"", list(
			&common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: -3}},
			&common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: 2}},
			&common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: true}}, nil, text("\n"),
		)),
	}}}}
	for want, v := range map[telemetry.Value]*common.AnyValue{
		telemetry.String(""):                              text(""),
		telemetry.JSON(`{"a\"":[-3,2.0,true,null,"\n"]}`): kv,
		telemetry.JSON(`"AP8="`):                          {Value: &common.AnyValue_BytesValue{BytesValue: []byte{0, 255}}},
		{}:                                                {},
	} {
		b, _ := decode(t, otlp.Logs, recordsOf(&logs.LogRecord{Body: v, Attributes: []*common.KeyValue{attr("k", v)}}))
		if r := b.Records[0]; r.Body != want || r.Attrs[0].Value != want {
			t.Errorf("want %+v, got %+v", want, r)
		}
	}
	b, _ := decode(t, otlp.Logs, recordsOf(&logs.LogRecord{Body: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: 7}}}))
	if got := b.Records[0].Body; got != telemetry.JSON("7") {
		t.Errorf("a number as body is %+v", got)
	}
}

func TestTextsThatAreNotUTF8AreMended(t *testing.T) {
	request := marshal(t, spansOf(&trace.Span{
		TraceId: traceID, SpanId: spanID, Name: "nameXYZ", Attributes: []*common.KeyValue{attr("keyXYZ", text("valueXYZ"))},
	}))
	request = bytes.ReplaceAll(request, []byte("XYZ"), []byte("X\xffZ"))
	b, _, err := otlp.NewDecoder(otlp.Limits{}, nil).Decode(otlp.Traces, request)
	must(t, err)
	if s := b.Spans[0]; s.Name != "nameX\uFFFDZ" || s.Attrs[0].Key != "keyX\uFFFDZ" || s.Attrs[0].Value.Str() != "valueX\uFFFDZ" {
		t.Errorf("took %+v", s)
	}
}

func TestTheNameOfALevelCountsWhereItsNumberIsMissing(t *testing.T) {
	for name, want := range map[string]uint8{"": 0, "WARN": 13, "Warning": 13, "err": 17, "CRITICAL": 21, "note": 0, "info": 9} {
		b, _ := decode(t, otlp.Logs, recordsOf(&logs.LogRecord{SeverityText: name}, &logs.LogRecord{SeverityText: name, SeverityNumber: 6}))
		if got := b.Records[0].Severity; got != want {
			t.Errorf("%q is %d", name, got)
		}
		if got := b.Records[1].Severity; got != 6 {
			t.Errorf("%q with a number is %d", name, got)
		}
	}
}

func TestPointsThatContradictThemselvesAreRejected(t *testing.T) {
	metric := func(name string, points ...*metrics.HistogramDataPoint) *metrics.Metric {
		return &metrics.Metric{Name: name, Data: &metrics.Metric_Histogram{Histogram: &metrics.Histogram{DataPoints: points}}}
	}
	m := &colmetrics.ExportMetricsServiceRequest{ResourceMetrics: []*metrics.ResourceMetrics{{ScopeMetrics: []*metrics.ScopeMetrics{{
		Metrics: []*metrics.Metric{
			metric("m",
				&metrics.HistogramDataPoint{Count: 3},
				&metrics.HistogramDataPoint{Count: 3, BucketCounts: []uint64{3}},
				&metrics.HistogramDataPoint{Count: 3, BucketCounts: []uint64{1, 2}, ExplicitBounds: []float64{1}, Flags: 1},
				&metrics.HistogramDataPoint{Count: 3, BucketCounts: []uint64{1, 2}, ExplicitBounds: []float64{1, 2}},
				&metrics.HistogramDataPoint{Count: 3, ExplicitBounds: []float64{1}},
			),
			metric("", &metrics.HistogramDataPoint{Count: 3}),
			{Name: "without data"},
		},
	}}}}}
	b, p := decode(t, otlp.Metrics, m)
	if len(b.Metrics) != 1 || len(b.Metrics[0].Points) != 3 || !b.Metrics[0].Points[2].Stale || p.Rejected != 3 {
		t.Errorf("took %+v, %+v", b.Metrics, p)
	}
}

func TestUnknownAndDeprecatedFieldsAreSkipped(t *testing.T) {
	want := marshal(t, spansOf(&trace.Span{TraceId: traceID, SpanId: spanID, Name: "n", DroppedEventsCount: 3, Flags: 1}))
	unknown := []byte{
		0xc2, 0x3e, 1, 'x', // 1000: bytes
		0xc8, 0x3e, 5, // 1001: varint
		0xd3, 0x3e, 0x08, 1, 0x13, 0x14, 0xd4, 0x3e, // 1002: a group with a number and a group in it
		0xdd, 0x3e, 1, 2, 3, 4, // 1003: fixed32
		0x09, 1, 2, 3, 4, 5, 6, 7, 8, // 1 as fixed64, which is another type than it has
	}
	b, p, err := otlp.NewDecoder(otlp.Limits{}, nil).Decode(otlp.Traces, append(unknown, want...))
	if err != nil || p.Rejected != 0 || len(b.Spans) != 1 || b.Spans[0].Name != "n" {
		t.Errorf("%+v, %+v, %v", b, p, err)
	}
	js := `{"resourceSpans":[{"deprecated":[{"a":null}],"scopeSpans":[{"scope":null,"spans":[{"flags":1e2,"x":{},
		"traceId":"0102030405060708090A0b0c0d0e0f10","spanId":"0102030405060708","name":"\u00e9\ud83d\ude00\ud83d","kind":"3",
		"startTimeUnixNano":1700000000000000000,"endTimeUnixNano":"1700000000000000007",
		"attributes":[{"key":"b","value":{"bytesValue":"-_8"}},{"key":"d","value":{"doubleValue":"NaN"}},
		{"key":"i","value":{"intValue":"-9223372036854775808"}}]}]}]}], "resource_spans": 3}`
	b, p, err = otlp.NewDecoder(otlp.Limits{}, nil).DecodeJSON(otlp.Traces, []byte(js))
	if err != nil || p.Rejected != 0 || len(b.Spans) != 1 {
		t.Fatalf("%+v, %+v, %v", b, p, err)
	}
	s := b.Spans[0]
	if s.Name != "é😀\uFFFD" || s.Kind != telemetry.KindClient || s.Start != 1700000000000000000 || s.Duration != 7 ||
		s.TraceID.String() != "0102030405060708090a0b0c0d0e0f10" {
		t.Errorf("took %+v", s)
	}
	f, _ := s.Attrs[1].Value.Number()
	if s.Attrs[0].Value != telemetry.JSON(`"+/8="`) || !math.IsNaN(f) || s.Attrs[2].Value.Int() != math.MinInt64 {
		t.Errorf("attributes are %+v", s.Attrs)
	}
}

func TestABrokenRequestIsRefusedWithItsPlace(t *testing.T) {
	whole := otlp.AppendTraces(nil, someSpans(2))
	d := otlp.NewDecoder(otlp.Limits{}, nil)
	var bad *otlp.Malformed
	for n := range whole {
		if n == 0 || n == len(whole)/2 { // Between the two resources it is whole.
			continue
		}
		if _, _, err := d.Decode(otlp.Traces, whole[:n:n]); !errors.As(err, &bad) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(whole), err)
		}
	}
	for text, request := range map[string]string{
		"the request at byte 1: the message is truncated":        "0a",
		"resource_spans at byte 4: the message is truncated":     "0a021205",
		"wire type that does not exist":                          "0f",
		"number that no field can have":                          "00",
		"longer than 64 bits":                                    "08ffffffffffffffffffffff01",
		"a group ends that did not begin":                        "0b14",
		"nested too deep":                                        strings.Repeat("0b", 40),
		"resource_spans.scope_spans.spans.attributes at byte 10": "0a08120612044a020a05",
	} {
		b, err := hex.DecodeString(request)
		must(t, err)
		if _, _, err := d.Decode(otlp.Traces, b); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %s", request, err, text)
		}
	}
	for request, text := range map[string]string{
		``:                                  "the request at byte 0: an object is expected",
		`{} {}`:                             "something follows",
		`{"resourceSpans":{}}`:              "resourceSpans at byte 17: an array",
		`{"resourceSpans":[{}`:              "not JSON",
		`{"x":` + strings.Repeat(`[`, 1000): "nested too deep",
		`{"x":1.2.3}`:                       "not JSON",
		`{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":"SPAN"}]}]}]}`: `resourceSpans.scopeSpans.spans.kind at byte 57: "SPAN" is not a whole number`,
	} {
		if _, _, err := d.DecodeJSON(otlp.Traces, []byte(request)); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %s", request[:min(len(request), 80)], err, text)
		}
	}
}

// The memory that a request takes is bounded by the limits, however many elements its bytes stand for.
func TestAHostileRequestCannotAllocateWithoutBound(t *testing.T) {
	const decoded = 8 << 20
	repeat := func(s string, n int) []byte { return bytes.Repeat([]byte(s), n) }
	nest := func(b []byte, fields ...byte) []byte {
		for _, f := range fields {
			length := len(b)
			b = append([]byte{f<<3 | 2, byte(length) | 0x80, byte(length>>7) | 0x80, byte(length>>14) | 0x80, byte(length >> 21)}, b...)
		}
		return b
	}
	span := append(append([]byte{10, 16}, traceID...), append([]byte{18, 8}, spanID...)...)
	const n = 1 << 21
	resources := func(attr string, attrs int) []byte { return bytes.Repeat(nest(repeat(attr, attrs), 1, 1), 1500) }
	js := func(s string) []byte { return fmt.Appendf(nil, `{"resourceSpans":[%s{}]}`, repeat(s, n)) }
	for name, c := range map[string]struct {
		signal  otlp.Signal
		request []byte
		json    bool
	}{
		"resources":  {otlp.Traces, repeat("\x0a\x00", n), false},
		"own nones":  {otlp.Traces, resources("\x0a\x00", 3000), false},
		"own truths": {otlp.Traces, resources("\x0a\x04\x12\x02\x10\x01", 1024), false},
		"spans":      {otlp.Traces, nest(repeat("\x12\x00", n), 2, 1), false},
		"attributes": {otlp.Traces, nest(append(span, repeat("\x4a\x00", n)...), 2, 2, 1), false},
		"events":     {otlp.Traces, nest(append(span, repeat("\x5a\x00", n)...), 2, 2, 1), false},
		"records":    {otlp.Logs, nest(repeat("\x12\x00", n), 2, 1), false},
		"arrays":     {otlp.Logs, nest(repeat("\x0a\x00", n), 5, 5, 2, 2, 1), false},
		"points":     {otlp.Metrics, nest(append([]byte{10, 1, 'm'}, nest(repeat("\x0a\x00", n), 5)...), 2, 2, 1), false},
		"buckets":    {otlp.Metrics, nest(append([]byte{10, 1, 'm'}, nest(repeat("\x00", n), 2, 8, 1, 10)...), 2, 2, 1), false},
		"quantiles":  {otlp.Metrics, nest(append([]byte{10, 1, 'm'}, nest(repeat("\x32\x00", n), 1, 11)...), 2, 2, 1), false},
		"depth":      {otlp.Traces, js(`[`), true},
		"objects":    {otlp.Traces, js(`{},`), true},
	} {
		t.Run(name, func(t *testing.T) {
			d := otlp.NewDecoder(otlp.Limits{Decoded: decoded}, nil)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var err error
			if c.json {
				_, _, err = d.DecodeJSON(c.signal, c.request)
			} else {
				_, _, err = d.Decode(c.signal, c.request)
			}
			runtime.ReadMemStats(&after)
			// A slab that grows by doubling leaves as much behind as it has.
			took := after.TotalAlloc - before.TotalAlloc
			if limit := uint64(6*decoded + 4*len(c.request)); took > limit {
				t.Errorf("a request of %d bytes allocated %d, more than %d", len(c.request), took, limit)
			}
			t.Logf("%d bytes allocated %d: %v", len(c.request), took, err)
		})
	}
}

func TestNumbersInJSONDoNotOutgrowTheRequest(t *testing.T) {
	const n, limit = 1 << 21, 5 << 20 // a number of two bytes becomes one of nine
	request := `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"histogram":{"dataPoints":[{"bucketCounts":[` + strings.Repeat("0,", n) + `0]}]}}]}]}]}`
	d := otlp.NewDecoder(otlp.Limits{Request: limit}, nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := d.DecodeJSON(otlp.Metrics, []byte(request))
	runtime.ReadMemStats(&after)
	if large := (*otlp.TooLarge)(nil); !errors.As(err, &large) {
		t.Errorf("decoded with %v", err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 10*limit {
		t.Errorf("allocated %d", took)
	}
}

// TestOnlyTheReasonThatIsToldIsWritten: it may be long, since it names what is rejected.
func TestOnlyTheReasonThatIsToldIsWritten(t *testing.T) {
	const n = 1000
	spans, metric := someSpans(n), telemetry.Metric{Resource: &telemetry.Resource{Service: "a"}, Name: strings.Repeat("m", 10_000), Kind: telemetry.Histogram}
	name := strings.Repeat("n", 10_000)
	for i := range spans {
		spans[i].TraceID, spans[i].Name = telemetry.TraceID{}, name
		metric.Points = append(metric.Points, telemetry.Point{Bounds: []float64{1}, Time: 1})
	}
	for s, request := range map[otlp.Signal][]byte{
		otlp.Traces: otlp.AppendTraces(nil, spans), otlp.Metrics: otlp.AppendMetrics(nil, []telemetry.Metric{metric}), // a point takes an allocation
	} {
		d := otlp.NewDecoder(otlp.Limits{}, nil)
		decode := func() {
			if _, p, err := d.Decode(s, request); err != nil || p.Rejected != n || len(p.Why) < 10_000 {
				t.Fatalf("%s: %v, %d rejected", s, err, p.Rejected)
			}
		}
		if allocs := testing.AllocsPerRun(10, decode); allocs > n+10 || s == otlp.Traces && allocs > 10 {
			t.Errorf("%s: %v allocations for %d that are rejected", s, allocs, n)
		}
	}
}

func TestDecodingIsFreeOfAllocationsOnceItIsWarm(t *testing.T) {
	request := otlp.AppendTraces(nil, someSpans(512))
	d := otlp.NewDecoder(otlp.Limits{}, nil)
	allocs := testing.AllocsPerRun(20, func() {
		if _, _, err := d.Decode(otlp.Traces, request); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 4 {
		t.Errorf("a request of 512 spans took %v allocations", allocs)
	}
}
