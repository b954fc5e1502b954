package cli_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/internal/cli"
	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/telemetry"
)

var update = flag.Bool("update", false, "write the golden files")

// golden holds what is drawn, at two widths and once with colours, against files in testdata.
func golden(t *testing.T, name string, draw func(w *strings.Builder, width int, color bool)) {
	t.Helper()
	for suffix, o := range map[string]struct {
		width int
		color bool
	}{"80": {80, false}, "200": {200, false}, "80-color": {80, true}} {
		var b strings.Builder
		draw(&b, o.width, o.color)
		got := b.String()
		path := filepath.Join("testdata", name+"-"+suffix+".golden")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
		}
		plain := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(got, "")
		for line := range strings.SplitSeq(plain, "\n") {
			if n := len([]rune(line)); n > o.width {
				t.Errorf("%s: a line of %d columns: %s", path, n, line)
			}
		}
		if o.color {
			var bare strings.Builder
			draw(&bare, o.width, false)
			if plain != bare.String() {
				t.Errorf("%s: says something else without colours", path)
			}
		}
	}
}

func traceTime(ms int) time.Time {
	return time.Date(2026, 11, 28, 9, 30, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
}

func apiSpan(id, parent, service, kind, name string, from, took int, status string) api.Span {
	return api.Span{
		TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", SpanID: id, ParentID: parent, Service: service, Replica: service + "-1", Name: name,
		Kind: kind, Time: traceTime(from), DurationNS: int64(took) * 1e6, Status: status,
	}
}

func checkout() *api.Trace {
	t := &api.Trace{TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", Spans: []api.Span{
		apiSpan("a", "", "web", "server", "GET /checkout", 0, 480, "error"),
		apiSpan("b", "a", "web", "client", "POST /orders", 10, 460, "error"),
		apiSpan("c", "b", "orders", "server", "POST /orders", 15, 440, "error"),
		apiSpan("d", "c", "orders", "internal", "reserve", 20, 100, "ok"),
		apiSpan("e", "c", "stock", "server", "POST /reservations", -3000, 60, "unset"), // its clock is three seconds late
		apiSpan("f", "e", "stock", "internal", "commit", -2990, 20, "unset"),
		apiSpan("g", "c", "mail", "consumer", "send confirmation", 520, 200, "ok"),
		apiSpan("h", "nobody", "audit", "internal", "write entry", 50, 10, "unset"),
	}}
	t.Spans[1].StatusText = "upstream is gone"
	t.Spans[0].Attributes = map[string]any{"http.response.status_code": 502.0}
	t.Spans[4].Name += "\x1b[31m"
	for i := range 12 {
		t.Spans = append(t.Spans, apiSpan(fmt.Sprint("q", i), "c", "orders", "client", "SELECT item", 130+20*i, 15, "unset"))
	}
	t.Spans = append(t.Spans, apiSpan("qe", "c", "orders", "client", "SELECT item", 400, 20, "error"), apiSpan("q0b", "q0", "db", "server", "query", 131, 5, "unset"))
	t.Records = []api.Record{
		{Time: traceTime(16), Service: "orders", Level: "info", Text: "took an order", SpanID: "c"},
		{Time: traceTime(410), Service: "orders", Level: "error", Text: "item 12: connection refused\tagain " + strings.Repeat("and again ", 20), SpanID: "c"},
		{Time: traceTime(470), Service: "web", Level: "warn", Name: "retry.exhausted", SpanID: "zzz"},
	}
	return t
}

func TestATraceIsDrawnAsATreeWithTimes(t *testing.T) {
	golden(t, "trace", func(w *strings.Builder, width int, color bool) {
		cli.WriteTrace(w, checkout(), width, color, false, false)
	})
	golden(t, "trace-logs-unfolded", func(w *strings.Builder, width int, color bool) {
		cli.WriteTrace(w, checkout(), width, color, true, true)
	})
}

// wantCritical holds the milliseconds that a trace waited for each of its spans against what they are.
func wantCritical(t *testing.T, spans []api.Span, want map[string]int) {
	t.Helper()
	got := cli.CriticalTimes(spans)
	for id, ms := range want {
		if got[id] != time.Duration(ms)*time.Millisecond {
			t.Errorf("%s: got %s, want %dms", id, got[id], ms)
		}
	}
}

func TestTheCriticalPathIsWhatTheTraceWaitedFor(t *testing.T) {
	spans := []api.Span{
		apiSpan("root", "", "a", "server", "x", 0, 100, "ok"),
		apiSpan("early", "root", "a", "internal", "x", 0, 20, "ok"),
		apiSpan("beside", "root", "a", "internal", "x", 30, 30, "ok"), // ends before the next one does
		apiSpan("late", "root", "a", "internal", "x", 40, 40, "ok"),
		apiSpan("within", "late", "a", "internal", "x", 50, 10, "ok"),
		apiSpan("after", "root", "b", "consumer", "x", 150, 50, "ok"),
	}
	wantCritical(t, spans, map[string]int{"root": 40, "early": 20, "beside": 0, "late": 30, "within": 10, "after": 50})
}

// TestWhatAnEventBeganIsOnTheCriticalPathWithAllThatBeganIt has consumers that begin while the one that publishes still works, or after that.
func TestWhatAnEventBeganIsOnTheCriticalPathWithAllThatBeganIt(t *testing.T) {
	wantCritical(t, []api.Span{
		apiSpan("post", "", "leads", "server", "x", 0, 10, "ok"),
		apiSpan("stored", "post", "leads", "internal", "x", 2, 4, "ok"),
		apiSpan("enrich", "post", "enrichment", "consumer", "x", 50, 40, "ok"),
		apiSpan("qualify", "enrich", "qualification", "consumer", "x", 80, 30, "ok"),
		apiSpan("asks", "qualify", "leads", "internal", "x", 82, 5, "ok"),
		apiSpan("beside", "enrich", "leads", "consumer", "x", 81, 25, "ok"),
		apiSpan("route", "qualify", "routing", "consumer", "x", 100, 50, "ok"),
		apiSpan("crm", "qualify", "crm", "consumer", "x", 101, 20, "ok"),
	}, map[string]int{"post": 6, "stored": 4, "enrich": 30, "qualify": 15, "asks": 5, "beside": 0, "route": 50, "crm": 0})
}

// TestAllStepsOfASagaAreOnTheCriticalPath has steps that are children of the request that started the saga, and ended long before.
func TestAllStepsOfASagaAreOnTheCriticalPath(t *testing.T) {
	wantCritical(t, []api.Span{
		apiSpan("start", "", "orders", "server", "x", 0, 10, "ok"),
		apiSpan("reserve", "start", "shipping", "server", "x", 20, 100, "ok"),
		apiSpan("invoice", "start", "billing", "server", "x", 130, 100, "ok"),
		apiSpan("charge", "start", "billing", "server", "x", 240, 100, "ok"),
	}, map[string]int{"start": 10, "reserve": 100, "invoice": 100, "charge": 100})
}

// TestWhatEndsAMomentAfterItsCallerIsStillWaitedFor has a service that goes on after its last byte.
func TestWhatEndsAMomentAfterItsCallerIsStillWaitedFor(t *testing.T) {
	wantCritical(t, []api.Span{
		apiSpan("root", "", "a", "internal", "x", 0, 100, "ok"),
		apiSpan("client", "root", "a", "internal", "x", 10, 40, "ok"),
		apiSpan("server", "client", "a", "internal", "x", 12, 39, "ok"),
		apiSpan("query", "server", "a", "internal", "x", 15, 30, "ok"),
		apiSpan("second", "root", "a", "internal", "x", 60, 30, "ok"),
	}, map[string]int{"root": 30, "client": 2, "server": 8, "query": 30, "second": 30})
}

func TestWhatAtollSawStaysWhereItWas(t *testing.T) {
	step := apiSpan("step", "root", "billing", "server", "POST /charge", 2000, 40, "ok")
	root := apiSpan("root", "", "orders", "server", "POST /orders", 0, 100, "ok")
	root.Scope, step.Scope = telemetry.ScopeAtoll, telemetry.ScopeAtoll
	var b strings.Builder
	cli.WriteTrace(&b, &api.Trace{TraceID: root.TraceID, Spans: []api.Span{root, step}}, 100, false, false, false)
	if !strings.Contains(b.String(), "  2.0s  2 spans") {
		t.Errorf("a step of a saga, two seconds later, is drawn within the request that started it:\n%s", b.String())
	}
}

// TestAnyTraceIsDrawnWholly gives spans whose parents are missing, double, circles or themselves.
func TestAnyTraceIsDrawnWholly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "", "missing"})
		spans := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) api.Span {
			return apiSpan(ids.Draw(t, "id"), ids.Draw(t, "parent"), ids.Draw(t, "service"), rapid.SampledFrom([]string{"server", "client"}).Draw(t, "kind"),
				"n", rapid.IntRange(-100, 100).Draw(t, "from"), rapid.IntRange(-5, 100).Draw(t, "took"), "ok")
		}), 1, 12).Draw(t, "spans")
		width := rapid.IntRange(20, 140).Draw(t, "width")
		var b strings.Builder
		cli.WriteTrace(&b, &api.Trace{TraceID: "x", Spans: spans}, width, false, true, false)
		if n := strings.Count(b.String(), "✓"); n != len(spans) {
			t.Fatalf("%d of %d spans are drawn\n%s", n, len(spans), b.String())
		}
		var waited time.Duration
		for _, d := range cli.CriticalTimes(spans) {
			waited += d
		}
		if waited > time.Second {
			t.Fatalf("the trace waited for %s", waited)
		}
	})
}

func TestATraceOfManySpansIsDrawnAtOnce(t *testing.T) {
	for name, parent := range map[string]func(i int) int{"deep": func(i int) int { return i - 1 }, "wide": func(int) int { return 0 }, "tree": func(i int) int { return i / 2 }} {
		spans := make([]api.Span, 10_000)
		for i := range spans {
			spans[i] = apiSpan(fmt.Sprint("s", i), fmt.Sprint("s", parent(i)), fmt.Sprint("svc", i%7), "internal", fmt.Sprint("n", i), i, 20_000-2*i, "unset")
		}
		spans[0].ParentID = ""
		var b strings.Builder
		began := time.Now()
		cli.WriteTrace(&b, &api.Trace{TraceID: "x", Spans: spans}, 120, true, true, false)
		if n := strings.Count(b.String(), "\n"); n != len(spans)+3 {
			t.Errorf("%s: %d lines", name, n)
		}
		t.Logf("%s: %s", name, time.Since(began))
	}
}

func TestTracesAreListedALineEach(t *testing.T) {
	found := &api.Found{Traces: []api.TraceSummary{
		{TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", Time: traceTime(0), DurationNS: 480e6, Service: "web", Name: "GET /checkout", Status: "error", Spans: 22, Errors: 4},
		{TraceID: "aa", Time: traceTime(-90_000_000), DurationNS: 1200, Service: "a-service-with-a-long-name", Name: "GET /a/very/long/path/of/a/request/that/goes/on/and/on", Status: "unset", Spans: 1},
		{TraceID: "bb92f3577b34da6a3ce929d0e0e47360", Time: traceTime(5), DurationNS: 3e9, Service: "mail", Name: "send\nconfirmation", Status: "ok", Spans: 3, Errors: 1},
	}}
	golden(t, "traces", func(w *strings.Builder, width int, color bool) {
		cli.WriteFound(w, found, width, color, traceTime(60_000))
	})
	spans := &api.Found{Spans: checkout().Spans[:4]}
	golden(t, "spans", func(w *strings.Builder, width int, color bool) {
		cli.WriteFound(w, spans, width, color, traceTime(60_000))
	})
}

func TestTablesAreShownWithTheirUnits(t *testing.T) {
	found := &api.Found{Table: &api.Table{
		Columns: []api.Column{
			{Name: "service", Role: api.ColumnGroup},
			{Name: "http.route", Role: api.ColumnGroup},
			{Name: "count", Role: api.ColumnValue},
			{Name: "rate", Role: api.ColumnValue, Unit: api.UnitPerSecond},
			{Name: "p99(duration)", Role: api.ColumnValue, Unit: api.UnitNanoseconds},
		},
		Rows: [][]any{
			{"orders", "/orders/{id}", 1234567.0, 41.66666, 320e6}, {"web", nil, 2.0, 0.0333333, 1.5e9}, {"mail", "/" + strings.Repeat("long/", 20), 1.0, 0.0, nil},
		},
	}}
	golden(t, "table", func(w *strings.Builder, width int, color bool) { cli.WriteFound(w, found, width, color, traceTime(0)) })
}

func TestTablesOverTimeAreSmallPlots(t *testing.T) {
	table := &api.Table{
		EveryNS: 60e9, From: traceTime(0), To: traceTime(120 * 60_000),
		Columns: []api.Column{
			{Name: "time", Role: api.ColumnTime},
			{Name: "service", Role: api.ColumnGroup},
			{Name: "rate", Role: api.ColumnValue, Unit: api.UnitPerSecond, Zero: true},
			{Name: "p99(duration)", Role: api.ColumnValue, Unit: api.UnitNanoseconds},
		},
	}
	for i := range 120 {
		if i > 50 && i < 60 {
			continue
		}
		for _, service := range []string{"orders", "web"} {
			table.Rows = append(table.Rows, []any{
				traceTime(i * 60_000).Format(time.RFC3339Nano), service, math.Round(10 + 9*math.Sin(float64(i+len(service))/9)), 1e8 + 1e6*float64(i),
			})
		}
	}
	golden(t, "sparks", func(w *strings.Builder, width int, color bool) {
		cli.WriteFound(w, &api.Found{Table: table}, width, color, traceTime(0))
	})
}

func TestSparklinesShowGapsAndExtremes(t *testing.T) {
	nan := math.NaN()
	for want, values := range map[string][]float64{
		"▁▅█ ▁": {0, 4, 8, nan, 0}, "▁▁": {0, 0}, "  ": {nan, nan}, "▁█": {-4, 4}, "▅█": {1, 2},
	} {
		if got := cli.Sparkline(values, 10); got != want {
			t.Errorf("%v: got %q, want %q", values, got, want)
		}
	}
	if got := cli.Sparkline([]float64{0, 0, 0, 9, 0, 0}, 3); got != "▁█▁" {
		t.Errorf("a peak is lost: %q", got)
	}
}

func TestNumbersAreShort(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1", 12.345: "12.3", 123.45: "123", 1234: "1.23k", 999999: "1M", 2.5e9: "2.5G", 0.0333333: "0.0333", 0.00001: "1.0e-05", -1500: "-1.5k", 100: "100",
		math.Inf(1): "+Inf",
	} {
		if got := cli.ShortNumber(v); got != want {
			t.Errorf("%g: got %s, want %s", v, got, want)
		}
	}
}
