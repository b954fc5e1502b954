package cli_test

import (
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/cli"
	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/telemetry"
)

func TestLogsThatAreCountedAreAskedForAsOneQuery(t *testing.T) {
	c := &control{answers: map[string]any{"/v1/records": api.Found{Table: &api.Table{
		Columns: []api.Column{{Name: "item", Role: api.ColumnGroup}, {Name: "count", Role: api.ColumnValue}}, Rows: [][]any{{"tea", 3}},
	}}}}
	code, out, errOut := run(t, c, "logs", "gateway", "--level", "warn", "-q", "item = tea or x | count() by item", "--since", "2026-11-28T09:00:00Z")
	asked := c.asked["/v1/records"]
	query := asked.Get("query")
	if code != 0 || asked.Get("from") != "2026-11-28T09:00:00Z" || out != "ITEM  COUNT\ntea       3\n" {
		t.Errorf("code %d, asked %v\n%s%s", code, asked, out, errOut)
	}
	for _, part := range []string{`service = "gateway"`, "level >= warn", `(item = "tea" or "x")`, "| count() by item"} {
		if !strings.Contains(query, part) {
			t.Errorf("%q is not in the query %s", part, query)
		}
	}
	if code, _, errOut := run(t, c, "logs", "-f", "-q", "| count()"); code != 2 || !strings.Contains(errOut, "--follow") {
		t.Errorf("code %d: %s", code, errOut)
	}
}

func TestSortedLogsAreLinesInTheirOrder(t *testing.T) {
	c := &control{answers: map[string]any{"/v1/records": api.Found{Records: []api.Record{
		{Time: traceTime(0), Service: "web", Level: "info", Text: "second"}, {Time: traceTime(1), Service: "web", Level: "info", Text: "first"},
	}}}}
	code, out, _ := run(t, c, "logs", "-q", "item = tea | sort item")
	if code != 0 || !strings.Contains(out, "web INFO  second") || strings.Index(out, "second") > strings.Index(out, "first") {
		t.Errorf("code %d\n%s", code, out)
	}
}

func TestNoSenderOfLogsCommandsTheTerminal(t *testing.T) {
	for _, line := range []telemetry.Line{
		{Service: "web\x1b]0;owned\x07", Stream: telemetry.StreamOTLP, Text: "x"},
		{Service: "web\x1b[2J", Replica: "web\x1b[2J", Stream: telemetry.StreamOTLP, Text: "\x1b[2J"},
		{Service: "web\x1b[2J", Stream: "build", Text: "x"},
	} {
		c := &control{answers: map[string]any{"/v1/logs": line}}
		code, out, errOut := run(t, c, "logs")
		if code != 0 || !strings.Contains(out, "web\uFFFD") || strings.ContainsAny(out, "\x1b\x07") {
			t.Errorf("code %d: %q %s", code, out, errOut)
		}
	}
}

func TestAnExportIsWholeOrFails(t *testing.T) {
	c := &control{answers: map[string]any{"/v1/export/traces": map[string]any{"resourceSpans": []any{}}}}
	code, out, _ := run(t, c, "export", "traces", "-q", "status = error", "-n", "7")
	asked := c.asked["/v1/export/traces"]
	if code != 0 || out != "{\"resourceSpans\":[]}\n" || asked.Get("query") != "status = error" || asked.Get("limit") != "7" {
		t.Errorf("code %d, asked %v: %s", code, asked, out)
	}
	// A failure after the first line is the last one.
	c.answers["/v1/export/traces"] = fault.ProblemFor(fault.New(fault.CodeQueryTooBroad, "too much").Fix("ask for less"), 422)
	if code, out, errOut := run(t, c, "export", "traces"); code != 1 || out != "" || !strings.Contains(errOut, "too much (query-too-broad)") {
		t.Errorf("code %d: %s%s", code, out, errOut)
	}
	for _, args := range []string{"export dreams", "export", "export traces -n -1", "export logs --since x"} {
		if code, _, errOut := run(t, c, strings.Fields(args)...); code != 2 {
			t.Errorf("%s: code %d: %s", args, code, errOut)
		}
	}
	if code, _, errOut := run(t, c, "export", "logs", "-q", "level >= loud"); code != 1 || !strings.Contains(errOut, "query:1:10") {
		t.Errorf("code %d: %s", code, errOut)
	}
}

func TestDoctorTellsOfTelemetry(t *testing.T) {
	usage := api.TelemetryUsage{
		GRPC: "127.0.0.1:4317", Rows: api.Kept{Bytes: 5 << 20, Limit: 2_000_000_000}, Metrics: api.Kept{Limit: 1_000_000_000}, Series: 7,
		Services: []api.ServiceUsage{{Service: "quiet", Dropped: map[string]int64{"sampled": 9}}, {Service: "web", Dropped: map[string]int64{"rate": 5, "evicted": 2}}},
	}
	c := &control{answers: map[string]any{"/v1/telemetry": usage}}
	_, out, _ := run(t, c, "doctor")
	for _, want := range []string{"✓ OTLP: 127.0.0.1:4317 (gRPC)\n", "✓ spans and logs: 5.0 MB of 2GB kept\n", ", 7 series\n", "! dropped: web 2 evicted, 5 rate\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if strings.Contains(out, "quiet") || strings.Contains(out, "damaged") {
		t.Errorf("got\n%s", out)
	}
	usage.Rows.Torn, usage.Services = []string{"torn/x.parquet"}, nil
	c.answers["/v1/telemetry"] = usage
	if _, out, _ := run(t, c, "doctor"); !strings.Contains(out, "! damaged: torn/x.parquet set aside\n") || strings.Contains(out, "dropped") {
		t.Errorf("got\n%s", out)
	}
}

func TestATraceShowsWhatWasAskedForWhereAtollSawIt(t *testing.T) {
	attrs := map[string]any{"http.request.method": "GET", "url.path": "/orders/7", "http.route": "/orders/*"}
	for _, c := range []struct {
		span api.Span
		want string
	}{
		{api.Span{Scope: "atoll", Name: "GET", Attributes: attrs}, "web GET /orders/7 "},
		{api.Span{Scope: "atoll", Name: "GET /orders/*", Attributes: attrs}, "web GET /orders/7 "},
		{api.Span{Scope: "atoll", Name: "process order.placed", Attributes: attrs}, "web process order.placed "},
		{api.Span{Scope: "lib", Name: "GET", Attributes: attrs}, "web GET "},
	} {
		c.span.TraceID, c.span.SpanID, c.span.Service, c.span.Time, c.span.DurationNS = "ab", "cd", "web", traceTime(0), 5
		var b strings.Builder
		cli.WriteTrace(&b, &api.Trace{TraceID: "ab", Spans: []api.Span{c.span}}, 120, false, false, false)
		if !strings.Contains(b.String(), c.want) || strings.Contains(b.String(), "/orders") != strings.Contains(c.want, "/orders") {
			t.Errorf("%+v:\n%s", c.span, b.String())
		}
	}
}
