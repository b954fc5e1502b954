package otlp_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

// seeds adds the requests of testdata/sdk, which SDKs of OpenTelemetry sent, in Protocol Buffers or as JSON.
func seeds(f *testing.F, s otlp.Signal, js bool) {
	f.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", "sdk", "*-"+s.String()+".pb"))
	if err != nil || len(names) == 0 {
		f.Fatal(names, err)
	}
	var e otlp.JSONEncoder
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if js {
			if b, err = e.Append(nil, s, b); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(b)
	}
}

// fuzz decodes any bytes: that must not fail otherwise than by an error, and what is taken must be what a store can
// keep, and stay the same when it is sent on.
func fuzz(f *testing.F, s otlp.Signal, js bool) {
	f.Helper()
	seeds(f, s, js)
	now := func() time.Time { return time.Unix(1000, 0) }
	f.Fuzz(func(t *testing.T, request []byte) {
		d, again := otlp.NewDecoder(otlp.Limits{}, now), otlp.NewDecoder(otlp.Limits{}, now)
		decode := d.Decode
		if js {
			decode = d.DecodeJSON
		}
		b, p, err := decode(s, request)
		if err != nil {
			return
		}
		if p.Rejected > 0 && p.Why == "" {
			t.Error("rejected without a reason")
		}
		valid(t, b)
		b2, p2, err := again.Decode(s, encode(s, b))
		if err != nil || p2.Rejected > 0 {
			t.Fatalf("sent on: %v, %+v", err, p2)
		}
		if n, n2 := size(b), size(b2); n != n2 {
			t.Errorf("%d items became %d when they were sent on", n, n2)
		}
	})
}

func encode(s otlp.Signal, b *telemetry.Batch) []byte {
	switch s {
	case otlp.Traces:
		return otlp.AppendTraces(nil, b.Spans)
	case otlp.Logs:
		return otlp.AppendLogs(nil, b.Records)
	case otlp.Metrics:
	}
	return otlp.AppendMetrics(nil, b.Metrics)
}

func size(b *telemetry.Batch) int {
	n := len(b.Spans) + len(b.Records)
	for _, m := range b.Metrics {
		n += len(m.Points)
	}
	return n
}

func valid(t *testing.T, b *telemetry.Batch) {
	t.Helper()
	attrs := func(attrs []telemetry.Attr) {
		for _, a := range attrs {
			if text := a.Key + a.Value.Text(); strings.ToValidUTF8(text, "") != text {
				t.Errorf("an attribute is not UTF-8: %q", text)
			}
		}
	}
	for i := range b.Spans {
		s := &b.Spans[i]
		if s.Resource == nil || s.Start < 0 || s.Duration < 0 || s.TraceID.IsZero() || s.SpanID.IsZero() {
			t.Errorf("took %+v", s)
		}
		attrs(s.Attrs)
		for _, e := range s.Events {
			attrs(e.Attrs)
		}
	}
	for i := range b.Records {
		r := &b.Records[i]
		if k := r.Body.Kind(); r.Time <= 0 || r.Severity > 24 || k == telemetry.KindInt || k == telemetry.KindFloat {
			t.Errorf("took %+v", r)
		}
		attrs(r.Attrs)
	}
	for i := range b.Metrics {
		for _, p := range b.Metrics[i].Points {
			if n := len(p.Buckets); p.Time <= 0 || n > 0 && n != len(p.Bounds)+1 {
				t.Errorf("took %+v", p)
			}
			attrs(p.Attrs)
		}
	}
}

func FuzzDecodeTraces(f *testing.F)      { fuzz(f, otlp.Traces, false) }
func FuzzDecodeLogs(f *testing.F)        { fuzz(f, otlp.Logs, false) }
func FuzzDecodeMetrics(f *testing.F)     { fuzz(f, otlp.Metrics, false) }
func FuzzDecodeJSONTraces(f *testing.F)  { fuzz(f, otlp.Traces, true) }
func FuzzDecodeJSONLogs(f *testing.F)    { fuzz(f, otlp.Logs, true) }
func FuzzDecodeJSONMetrics(f *testing.F) { fuzz(f, otlp.Metrics, true) }
