package otlp_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

func drawText(t *rapid.T) string {
	return rapid.OneOf(
		rapid.StringN(0, 8, -1), rapid.SampledFrom([]string{"http.route", "é\x00\"\\\n", "\u2028<>&", strings.Repeat("long ", 60)}),
	).Draw(t, "text")
}

func drawFloat(t *rapid.T) float64 {
	return rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, 1, -1e300, math.Inf(1), math.Inf(-1)})).Draw(t, "float")
}

func drawTime(t *rapid.T) int64 { return rapid.Int64Range(1, math.MaxInt64/2).Draw(t, "time") }

// drawNested draws what can lie in an array or a map, as encoding/json writes it.
func drawNested(t *rapid.T, depth int) any {
	switch kind := rapid.IntRange(0, 6).Draw(t, "nested"); {
	case kind == 0:
		return nil
	case kind == 1:
		return rapid.Bool().Draw(t, "bool")
	case kind == 2:
		return rapid.Int64().Draw(t, "int")
	case kind == 3:
		return rapid.StringN(0, 8, -1).Draw(t, "text")
	case kind == 4 || depth > 3:
		return 0.5 + float64(rapid.IntRange(-100, 100).Draw(t, "half"))
	case kind == 5:
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			list = append(list, drawNested(t, depth+1))
		}
		return list
	}
	m := map[string]any{}
	for range rapid.IntRange(0, 3).Draw(t, "n") {
		m[rapid.StringN(0, 4, -1).Draw(t, "key")] = drawNested(t, depth+1)
	}
	return m
}

func drawValue(t *rapid.T) telemetry.Value {
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 0:
		return telemetry.String(drawText(t))
	case 1:
		return telemetry.Int(rapid.Int64().Draw(t, "int"))
	case 2:
		return telemetry.Float(drawFloat(t))
	case 3:
		return telemetry.Bool(rapid.Bool().Draw(t, "bool"))
	case 4:
		b := rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "bytes")
		return telemetry.JSON(`"` + base64.StdEncoding.EncodeToString(b) + `"`)
	case 5:
		return drawJSON(t)
	}
	return telemetry.Value{}
}

func drawJSON(t *rapid.T) telemetry.Value {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode([]any{drawNested(t, 0)}); err != nil {
		t.Fatal(err)
	}
	text := strings.TrimSuffix(b.String(), "\n")
	// encoding/json escapes more than it has to.
	text = strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029", `\b`, `\u0008`, `\f`, `\u000c`).Replace(text)
	return telemetry.JSON(text)
}

func drawAttrs(t *rapid.T) (attrs []telemetry.Attr) {
	for range rapid.IntRange(0, 3).Draw(t, "attrs") {
		attrs = append(attrs, telemetry.Attr{Key: drawText(t), Value: drawValue(t)})
	}
	return attrs
}

// origins are the resources and scopes of a request. Each is another one, so that the order of items is kept by
// drawing them in the order of their groups.
type origins struct {
	resource *telemetry.Resource
	scope    *telemetry.Scope
	n        int
}

func (o *origins) next(t *rapid.T) (*telemetry.Resource, *telemetry.Scope) {
	o.n++
	if o.resource == nil || rapid.IntRange(0, 3).Draw(t, "resource") == 0 {
		o.resource = &telemetry.Resource{Service: "s" + string(rune('a'+o.n)), Replica: drawText(t)}
		for _, a := range drawAttrs(t) {
			// One without a value says nothing of a resource, and is left out.
			if a.Key != "service.name" && a.Key != "service.instance.id" && a.Value.Kind() != telemetry.KindNone {
				o.resource.Attrs = append(o.resource.Attrs, a)
			}
		}
		o.scope = nil
	} else if rapid.IntRange(0, 3).Draw(t, "scope") == 0 {
		o.scope = &telemetry.Scope{Name: "s" + string(rune('a'+o.n)), Version: drawText(t)}
	}
	return o.resource, o.scope
}

func drawID(t *rapid.T, id []byte) {
	copy(id, rapid.SliceOfN(rapid.Byte(), len(id), len(id)).Draw(t, "id"))
	id[0] |= 1
}

func drawSpans(t *rapid.T) []telemetry.Span {
	var o origins
	spans := make([]telemetry.Span, rapid.IntRange(0, 6).Draw(t, "spans"))
	for i := range spans {
		s := &spans[i]
		s.Resource, s.Scope = o.next(t)
		drawID(t, s.TraceID[:])
		drawID(t, s.SpanID[:])
		if rapid.Bool().Draw(t, "parent") {
			drawID(t, s.Parent[:])
		}
		s.State, s.Name, s.StatusText = drawText(t), drawText(t), drawText(t)
		s.Kind = telemetry.SpanKind(rapid.IntRange(0, 5).Draw(t, "kind"))
		s.Status = telemetry.Status(rapid.IntRange(0, 2).Draw(t, "status"))
		s.Start, s.Duration = drawTime(t), drawTime(t)
		s.Attrs = drawAttrs(t)
		for range rapid.IntRange(0, 2).Draw(t, "events") {
			s.Events = append(s.Events, telemetry.SpanEvent{Time: drawTime(t), Name: drawText(t), Attrs: drawAttrs(t)})
		}
		for range rapid.IntRange(0, 2).Draw(t, "links") {
			l := telemetry.Link{Attrs: drawAttrs(t)}
			drawID(t, l.TraceID[:])
			drawID(t, l.SpanID[:])
			s.Links = append(s.Links, l)
		}
	}
	return spans
}

func drawRecords(t *rapid.T) []telemetry.Record {
	var o origins
	records := make([]telemetry.Record, rapid.IntRange(0, 6).Draw(t, "records"))
	for i := range records {
		r := &records[i]
		r.Resource, r.Scope = o.next(t)
		r.Time, r.Severity, r.Name = drawTime(t), uint8(rapid.IntRange(0, 24).Draw(t, "severity")), drawText(t)
		if r.Body = drawValue(t); r.Body.Kind() != telemetry.KindNone && r.Body.Kind() != telemetry.KindJSON {
			r.Body = telemetry.String(r.Body.Text())
		}
		if rapid.Bool().Draw(t, "traced") {
			drawID(t, r.TraceID[:])
			drawID(t, r.SpanID[:])
		}
		r.Attrs = drawAttrs(t)
	}
	return records
}

func drawMetrics(t *rapid.T) []telemetry.Metric {
	var o origins
	metrics := make([]telemetry.Metric, rapid.IntRange(0, 6).Draw(t, "metrics"))
	for i := range metrics {
		m := &metrics[i]
		m.Resource, m.Scope = o.next(t)
		m.Name, m.Unit, m.Help = "m"+drawText(t), drawText(t), drawText(t)
		m.Kind = telemetry.MetricKind(rapid.IntRange(1, 5).Draw(t, "kind"))
		m.Monotonic = m.Kind == telemetry.Sum && rapid.Bool().Draw(t, "monotonic")
		m.Delta = m.Kind >= telemetry.Sum && m.Kind <= telemetry.ExponentialHistogram && rapid.Bool().Draw(t, "delta")
		for range rapid.IntRange(1, 3).Draw(t, "points") {
			m.Points = append(m.Points, drawPoint(t, m.Kind))
		}
	}
	return metrics
}

func drawPoint(t *rapid.T, kind telemetry.MetricKind) telemetry.Point {
	p := telemetry.Point{Attrs: drawAttrs(t), Start: drawTime(t), Time: drawTime(t), Stale: rapid.Bool().Draw(t, "stale")}
	if kind == telemetry.Gauge || kind == telemetry.Sum {
		if !p.Stale {
			p.Value = drawFloat(t)
		}
		return p
	}
	p.Count, p.Sum = rapid.Uint64().Draw(t, "count"), drawFloat(t)
	counts := func(n int) []uint64 {
		if n == 0 {
			return nil
		}
		return rapid.SliceOfN(rapid.Uint64(), n, n).Draw(t, "counts")
	}
	switch n := rapid.IntRange(0, 3).Draw(t, "n"); kind {
	case telemetry.Histogram:
		for range n {
			p.Bounds = append(p.Bounds, drawFloat(t))
		}
		p.Buckets = counts(n + 1)
	case telemetry.ExponentialHistogram:
		p.Scale, p.Zero = rapid.Int32().Draw(t, "scale"), rapid.Uint64().Draw(t, "zero")
		p.ZeroThreshold = math.Abs(drawFloat(t))
		p.Positive = telemetry.ExponentialBuckets{Offset: rapid.Int32().Draw(t, "offset"), Counts: counts(n)}
		p.Negative = telemetry.ExponentialBuckets{Offset: rapid.Int32().Draw(t, "offset"), Counts: counts(n)}
	case telemetry.SummaryMetric:
		for range n {
			p.Quantiles = append(p.Quantiles, telemetry.Quantile{Q: drawFloat(t), Value: drawFloat(t)})
		}
	default:
	}
	return p
}

// trip is one signal of a round trip: decode gives what was decoded in a form to be compared.
type trip struct {
	signal  otlp.Signal
	want    any
	decoded func(*telemetry.Batch) any
	request []byte
	message proto.Message
}

func drawTrip(t *rapid.T) trip {
	switch rapid.IntRange(1, 3).Draw(t, "signal") {
	case 1:
		x := drawSpans(t)
		return trip{
			otlp.Traces, x, func(b *telemetry.Batch) any { return b.Spans }, otlp.AppendTraces(nil, x),
			&coltrace.ExportTraceServiceRequest{},
		}
	case 2:
		x := drawRecords(t)
		return trip{
			otlp.Logs, x, func(b *telemetry.Batch) any { return b.Records }, otlp.AppendLogs(nil, x),
			&collogs.ExportLogsServiceRequest{},
		}
	}
	x := drawMetrics(t)
	return trip{
		otlp.Metrics, x, func(b *telemetry.Batch) any { return b.Metrics }, otlp.AppendMetrics(nil, x),
		&colmetrics.ExportMetricsServiceRequest{},
	}
}

func (tr trip) check(t *rapid.T, how string, b *telemetry.Batch, p otlp.Partial, err error) {
	t.Helper()
	if err != nil || p != (otlp.Partial{}) {
		t.Fatalf("%s: %v, %+v", how, err, p)
	}
	got := tr.decoded(b)
	if reflect.ValueOf(got).Len() == 0 && reflect.ValueOf(tr.want).Len() == 0 {
		return
	}
	if !reflect.DeepEqual(got, tr.want) {
		t.Fatalf("%s:\n got %+v\nwant %+v", how, got, tr.want)
	}
}

// What is encoded is decoded to the same, in both forms, by us and with protobuf-go in between in both directions. One
// Decoder is used for all, so that what one request leaves behind shows in the next.
func TestWhatIsEncodedIsDecodedToTheSame(t *testing.T) {
	d := otlp.NewDecoder(otlp.Limits{}, nil)
	var e otlp.JSONEncoder
	rapid.Check(t, func(t *rapid.T) {
		tr := drawTrip(t)
		b, p, err := d.Decode(tr.signal, tr.request)
		tr.check(t, "protobuf", b, p, err)

		js, err := e.Append(nil, tr.signal, tr.request)
		if err != nil || !json.Valid(js) {
			t.Fatalf("%v: %s", err, js)
		}
		b, p, err = d.DecodeJSON(tr.signal, js)
		tr.check(t, "JSON", b, p, err)

		// protobuf-go reads what we write, and writes what we read.
		if err := proto.Unmarshal(tr.request, tr.message); err != nil {
			t.Fatal(err)
		}
		theirs, err := proto.Marshal(tr.message)
		if err != nil {
			t.Fatal(err)
		}
		b, p, err = d.Decode(tr.signal, theirs)
		tr.check(t, "protobuf of protobuf-go", b, p, err)

		// The same of JSON: the two forms of ours mean the same to protobuf-go.
		again := proto.Clone(tr.message)
		proto.Reset(again)
		if err := protojson.Unmarshal(ids(t, js, toBase64), again); err != nil {
			t.Fatalf("%v: %s", err, js)
		}
		if !proto.Equal(again, tr.message) {
			t.Fatalf("to protobuf-go our JSON is\n%v\nand our protobuf\n%v", again, tr.message)
		}
		js, err = protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(tr.message)
		if err != nil {
			t.Fatal(err)
		}
		b, p, err = d.DecodeJSON(tr.signal, ids(t, js, toHex))
		tr.check(t, "JSON of protobuf-go", b, p, err)
	})
}

func toBase64(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func toHex(s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(b)
}

// ids rewrites ids, in which OTLP/JSON differs from the JSON of Protocol Buffers.
func ids(t *rapid.T, js []byte, rewrite func(string) string) []byte {
	dec := json.NewDecoder(strings.NewReader(string(js)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for k, e := range v {
				if k == "traceId" || k == "spanId" || k == "parentSpanId" {
					v[k] = rewrite(e.(string))
				} else {
					walk(e)
				}
			}
		}
	}
	walk(v)
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
