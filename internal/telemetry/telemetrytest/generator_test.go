package telemetrytest_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
	"github.com/atollhq/atoll/internal/telemetry/telemetrytest"
)

func TestTheSameSeedMakesTheSameTelemetry(t *testing.T) {
	t.Parallel()
	make1 := func(seed uint64) []byte {
		g := telemetrytest.New(telemetrytest.Options{Seed: seed})
		b := otlp.AppendTraces(nil, g.AppendTraces(nil, 2000))
		b = otlp.AppendLogs(b, g.AppendRecords(nil, 2000))
		return otlp.AppendMetrics(b, g.Metrics())
	}
	if !bytes.Equal(make1(7), make1(7)) {
		t.Error("two generators with one seed differ")
	}
	if bytes.Equal(make1(7), make1(8)) {
		t.Error("generators with two seeds do not differ")
	}
}

func TestTheSeedDoesNotChangeWhoThereIs(t *testing.T) {
	t.Parallel()
	a, b := telemetrytest.New(telemetrytest.Options{Seed: 1}), telemetrytest.New(telemetrytest.Options{Seed: 2})
	if !reflect.DeepEqual(a.Resources(), b.Resources()) {
		t.Error("the replicas depend on the seed")
	}
	services := map[string]int{}
	for _, r := range a.Resources() {
		services[r.Service]++
	}
	if len(services) != 25 {
		t.Errorf("there are %d services", len(services))
	}
}

func TestTracesAreTreesWithinTheBoundsThatAreTold(t *testing.T) {
	t.Parallel()
	g := telemetrytest.New(telemetrytest.Options{Seed: 3})
	all, failed, events := 0, 0, 0
	ids := map[telemetry.SpanID]bool{}
	for range 5000 {
		spans := g.AppendTrace(nil)
		if len(spans) < 3 || len(spans) > 40 {
			t.Fatalf("a trace has %d spans, beginning with %s", len(spans), spans[0].Name)
		}
		starts := map[telemetry.SpanID]int64{}
		for i := range spans {
			s := &spans[i]
			if ids[s.SpanID] || s.TraceID != spans[0].TraceID || s.TraceID.IsZero() {
				t.Fatalf("the ids of %s are not its own", s.Name)
			}
			ids[s.SpanID], starts[s.SpanID] = true, s.Start
			above, known := starts[s.Parent]
			if i > 0 && !known || i > 0 && s.Start < above || s.Duration < 0 || i == 0 && !s.Parent.IsZero() {
				t.Fatalf("span %d, %s, is in no order with the one above", i, s.Name)
			}
			if s.Status == telemetry.StatusError {
				failed++
			}
			for _, e := range s.Events {
				events++
				if e.Name == "exception" && s.Status != telemetry.StatusError {
					t.Errorf("%s has an exception and did not fail", s.Name)
				}
			}
		}
		all += len(spans)
	}
	t.Logf("%.1f spans a trace, %.2f %% failed, %.1f %% have an event", float64(all)/5000, 100*float64(failed)/float64(all), 100*float64(events)/float64(all))
	if share := float64(failed) / float64(all); share < 0.01 || share > 0.02 {
		t.Errorf("%.2f %% of the spans failed", 100*share)
	}
	if mean := float64(all) / 5000; mean < 9 || mean > 16 {
		t.Errorf("a trace has %.1f spans on average", mean)
	}
}

func TestRecordsAreAsLongAndAsCommonAsIsTold(t *testing.T) {
	t.Parallel()
	g := telemetrytest.New(telemetrytest.Options{Seed: 4})
	g.AppendTraces(nil, 2000)
	const n = 200_000
	var length, traced, attrs, common, medium, multi, warn int
	for range n / 1000 {
		for _, r := range g.AppendRecords(nil, 1000) {
			body := r.Body.Str()
			length += len(body)
			count(&traced, !r.TraceID.IsZero())
			count(&attrs, len(r.Attrs) > 0)
			count(&common, strings.Contains(body, telemetrytest.PhraseCommon))
			count(&medium, strings.Contains(body, telemetrytest.PhraseMedium))
			count(&multi, strings.Contains(body, "\n"))
			count(&warn, r.Level() == telemetry.LevelWarn || r.Level() == telemetry.LevelError)
			if body == "" || strings.Contains(body, "<method>") {
				t.Fatalf("a body is %q", body)
			}
		}
	}
	share := func(what string, k int, least, most float64) {
		t.Helper()
		if p := float64(k) / n; p < least || p > most {
			t.Errorf("%s: %.4f", what, p)
		} else {
			t.Logf("%s: %.4f", what, p)
		}
	}
	share("bytes of a body", length, 130, 170)
	share("have a trace", traced, 0.35, 0.45)
	share("have attributes", attrs, 0.25, 0.45)
	share("have the common phrase", common, 0.1, 0.2)
	share("have the medium phrase", medium, 1.0/2000, 1.0/500)
	share("have several lines", multi, 0.005, 0.02)
	share("warnings and errors", warn, 0.05, 0.15)
}

func count(n *int, yes bool) {
	if yes {
		*n++
	}
}

func TestMetricsGrowAndHaveManySeries(t *testing.T) {
	t.Parallel()
	g := telemetrytest.New(telemetrytest.Options{Seed: 5})
	sum := func() (v float64, samples int) {
		for range g.Resources() {
			metrics := g.Metrics()
			samples += telemetrytest.Samples(metrics)
			for _, m := range metrics {
				if m.Kind == telemetry.Sum {
					for _, p := range m.Points {
						v += p.Value
					}
				}
			}
		}
		return v, samples
	}
	before, samples := sum()
	after, _ := sum()
	if after <= before || samples < 1000 {
		t.Errorf("sums went from %g to %g over %d samples", before, after, samples)
	}
}

func BenchmarkSpans(b *testing.B) {
	g := telemetrytest.New(telemetrytest.Options{Seed: 1})
	var spans []telemetry.Span
	var buf []byte
	bytes, n := 0, 0
	for b.Loop() {
		spans = g.AppendTraces(spans[:0], 512)
		buf = otlp.AppendTraces(buf[:0], spans)
		bytes += len(buf)
		n += len(spans)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/span")
	b.ReportMetric(float64(bytes)/float64(n), "B/span")
}

func BenchmarkRecords(b *testing.B) {
	g := telemetrytest.New(telemetrytest.Options{Seed: 1})
	g.AppendTraces(nil, 2000)
	var records []telemetry.Record
	var buf []byte
	bytes, n := 0, 0
	for b.Loop() {
		records = g.AppendRecords(records[:0], 512)
		buf = otlp.AppendLogs(buf[:0], records)
		bytes += len(buf)
		n += len(records)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
	b.ReportMetric(float64(bytes)/float64(n), "B/record")
}
