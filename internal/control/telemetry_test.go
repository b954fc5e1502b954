package control_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/telemetry"
)

func spanOfTest() api.Span {
	return api.Span{
		TraceID: "ab", SpanID: "cd", ParentID: "ef", Service: "orders", Replica: "orders-1", Scope: "atoll", Name: "GET /", Kind: "server", Time: at(), DurationNS: 5,
		Status: api.SpanError, StatusText: "503", Attributes: map[string]any{"a": 1}, Resource: map[string]any{"b": "c"},
		Events: []api.SpanEvent{{Time: at(), Name: "retry", Attributes: map[string]any{"n": 1}}}, Links: []api.SpanLink{{TraceID: "12", SpanID: "34"}},
	}
}

func recordOfTest() api.Record {
	return api.Record{
		Time: at(), Service: "orders", Replica: "orders-1", Scope: "log", Level: "info", Name: "x", Text: "hello", TraceID: "ab", SpanID: "cd",
		Attributes: map[string]any{"a": true}, Resource: map[string]any{"b": "c"},
	}
}

func (a *app) Traces(_ context.Context, q *api.TracesQuery) (*api.Found, error) {
	a.traces = *q
	parsed, err := telemetry.ParseQuery(q.Query, telemetry.Spans)
	switch {
	case err != nil:
		return nil, err
	case parsed.Tell != nil:
		return &api.Found{Table: &api.Table{
			Columns: []api.Column{{Name: "time", Role: api.ColumnTime}, {Name: "service", Role: api.ColumnGroup}, {Name: "p99", Role: api.ColumnValue, Unit: api.UnitNanoseconds, Zero: true}},
			Rows:    [][]any{{at(), "orders", 1.5}, {at(), nil, nil}}, EveryNS: 60, From: at(), To: at(),
		}}, nil
	case q.Spans:
		return &api.Found{Spans: []api.Span{spanOfTest()}, Reach: api.Reach{Blocks: 1, Rows: 2, Matched: 1}}, nil
	}
	return &api.Found{Traces: []api.TraceSummary{{
		TraceID: "ab", Time: at(), DurationNS: 5, Service: "orders", Name: "GET /", Status: api.SpanError, StatusText: "503", Spans: 1, Errors: 1, Services: []string{"orders"},
	}}}, nil
}

func (a *app) Trace(_ context.Context, id string, records bool) (*api.Trace, error) {
	if id != "ab" {
		return nil, fault.New(fault.CodeTraceUnknown, "there is no trace %s", id).Fix("look")
	}
	t := &api.Trace{TraceID: "ab", Spans: []api.Span{spanOfTest()}}
	if records {
		t.Records = []api.Record{recordOfTest()}
	}
	return t, nil
}

func (a *app) Records(_ context.Context, q *api.RecordsQuery) (*api.Found, error) {
	if _, err := telemetry.ParseQuery(q.Query, telemetry.Logs); err != nil {
		return nil, err
	}
	a.records = *q
	return &api.Found{Records: []api.Record{recordOfTest()}}, nil
}

func (a *app) Export(_ context.Context, q *api.ExportQuery, yield func([]byte) error) error {
	a.export = *q
	switch q.Signal {
	case "traces":
		return yield([]byte(`{"resourceSpans":[]}`))
	case "logs":
		return yield([]byte(`{"resourceLogs":[]}`))
	case "metrics":
		return yield([]byte(`{"resourceMetrics":[]}`))
	}
	return fault.New(fault.CodeBadRequest, "no signal").Fix("write traces")
}

func (a *app) Complete(_ context.Context, q *api.CompleteQuery) ([]telemetry.Completion, error) {
	if q.Signal == "metrics" {
		return nil, fault.New(fault.CodeBadRequest, "no signal").Fix("write traces")
	}
	if q.Cursor != 3 {
		return nil, nil
	}
	return []telemetry.Completion{{Text: "service", Kind: telemetry.CompleteField, From: 0, To: 3, Cursor: 7, Note: "who", Rows: 2}}, nil
}

func (a *app) Heat(_ context.Context, q *api.HeatQuery) (*api.Heat, error) {
	a.heat = *q
	return &api.Heat{
		Looked: api.Looked{Spans: 3, Looked: 2}, From: at(), To: at(), EveryNS: 5, Columns: 7, Edges: []int64{0, 8}, Cells: [][4]float64{{1, 0, 2.5, 1}},
	}, nil
}

func (a *app) Difference(_ context.Context, q *api.DifferenceQuery) (*api.Difference, error) {
	a.difference = *q
	return &api.Difference{
		Looked: api.Looked{Spans: 3, Looked: 2}, Inside: 1, Outside: 2, Many: []string{"id"}, Caps: api.DiffCaps{Fields: 2, Values: 3, Reached: true},
		Fields: []api.DiffField{{Field: "a", Difference: 0.5, Chance: 0.1, Values: []api.DiffValue{
			{Inside: 0.5, Outside: 0.25, Value: "x", Cut: true}, {Low: 1, High: 2.5}, {Missing: true}, {Rest: true},
		}}},
	}, nil
}

func (a *app) ServiceMap(_ context.Context, from, to time.Time) (*telemetry.ServiceMap, error) {
	a.mapFrom, a.mapTo = from, to
	return &telemetry.ServiceMap{
		Nodes: []telemetry.Node{{Name: "orders", Kind: "service", Calls: 1, Errors: 1}},
		Edges: []telemetry.Edge{{From: "gateway", To: "orders", Kind: "call", Calls: 1, P50: 5, P99: 6}}, Missed: 1,
	}, nil
}

func (a *app) Top(context.Context) (*api.Top, error) {
	return &api.Top{Time: at(), WindowNS: 10, Services: []api.TopRow{{Service: "orders", State: "ready", Ready: 1, Replicas: 1, PerSecond: 2.5, ErrorRatio: 0.5, P50NS: 1, P99NS: 2, CPU: 0.1}}}, nil
}

func (a *app) TelemetryUsage(context.Context) (*api.TelemetryUsage, error) {
	return &api.TelemetryUsage{
		Rows: api.Kept{Bytes: 1, Limit: 2, Oldest: at(), Torn: []string{"x"}}, Metrics: api.Kept{Bytes: 1, Limit: 2}, Series: 3, GRPC: "127.0.0.1:4317", HTTP: "127.0.0.1:4318",
		Services: []api.ServiceUsage{{Service: "orders", Spans: 1, Records: 2, Bytes: 3, Series: 4, Dropped: map[string]int64{"rate": 5}}},
	}, nil
}

// foreign answers like a program whose API is served below a prefix.
func foreign(prefix string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(prefix + " " + r.URL.Path))
	})
}

func (a *app) Prometheus(prefix string) http.Handler { return foreign(prefix) }
func (a *app) Jaeger(prefix string) http.Handler     { return foreign(prefix) }

func TestEveryAnswerAboutTelemetryIsAsTheDescriptionSays(t *testing.T) {
	_, h := serve(t)
	checkAnswers(t, h, []asked{
		{"GET /v1/logs?query=service%3Dorders", "", 200, "Line"},
		{"GET /v1/logs?query=service%3D%3D", "", 400, "Problem"},
		{"GET /v1/logs?query=%7Ccount()", "", 400, "Problem"},
		{"GET /v1/records", "", 200, "Found"},
		{"GET /v1/records?query=(", "", 400, "Problem"},
		{"GET /v1/records?limit=-1", "", 400, "Problem"},
		{"GET /v1/traces", "", 200, "Found"},
		{"GET /v1/traces?spans=true", "", 200, "Found"},
		{"GET /v1/traces?query=%7Ccount()", "", 200, "Found"},
		{"GET /v1/traces?query=%7C%7C", "", 400, "Problem"},
		{"GET /v1/traces?limit=x", "", 400, "Problem"},
		{"GET /v1/traces?from=yesterday", "", 400, "Problem"},
		{"GET /v1/traces/AB", "", 200, "Trace"},
		{"GET /v1/traces/ab?records=true", "", 200, "Trace"},
		{"GET /v1/traces/00", "", 404, "Problem"},
		{"GET /v1/export/traces", "", 200, "OTLP"},
		{"GET /v1/export/logs", "", 200, "OTLP"},
		{"GET /v1/export/metrics", "", 200, "OTLP"},
		{"GET /v1/export/dreams", "", 400, "Problem"},
		{"GET /v1/export/traces?to=x", "", 400, "Problem"},
		{"GET /v1/complete?signal=traces&text=ser", "", 200, "Completions"},
		{"GET /v1/complete?text=s", "", 200, "Completions"},
		{"GET /v1/complete?text=s&cursor=x", "", 400, "Problem"},
		{"GET /v1/complete?signal=metrics", "", 400, "Problem"},
		{"GET /v1/heatmap", "", 200, "Heat"},
		{"GET /v1/heatmap?columns=121", "", 400, "Problem"},
		{"GET /v1/heatmap?rows=-1", "", 400, "Problem"},
		{"GET /v1/heatmap?from=x", "", 400, "Problem"},
		{"GET /v1/difference", "", 200, "Difference"},
		{"GET /v1/difference?inside_from=x", "", 400, "Problem"},
		{"GET /v1/difference?inside_to=x", "", 400, "Problem"},
		{"GET /v1/difference?least_ns=x", "", 400, "Problem"},
		{"GET /v1/difference?most_ns=x", "", 400, "Problem"},
		{"GET /v1/map", "", 200, "ServiceMap"},
		{"GET /v1/map?from=x", "", 400, "Problem"},
		{"GET /v1/top", "", 200, "Top"},
		{"GET /v1/telemetry", "", 200, "TelemetryUsage"},
	})
}

func TestQuestionsAboutTelemetryReachTheStore(t *testing.T) {
	a, h := serve(t)
	from, to := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC), time.Date(2026, 1, 2, 4, 0, 0, 0, time.UTC)
	span := "query=service%3Dorders&from=2026-01-02T03:00:00Z&to=2026-01-02T04:00:00Z&limit=7"
	for _, path := range []string{"/v1/traces?spans=true&" + span, "/v1/records?" + span, "/v1/export/logs?" + span} {
		do(t, h, "GET", path, "")
	}
	if want := (api.TracesQuery{Query: "service=orders", From: from, To: to, Limit: 7, Spans: true}); a.traces != want {
		t.Errorf("asked for traces: %+v, want %+v", a.traces, want)
	}
	if want := (api.RecordsQuery{Query: "service=orders", From: from, To: to, Limit: 7}); a.records != want {
		t.Errorf("asked for records: %+v, want %+v", a.records, want)
	}
	if want := (api.ExportQuery{Signal: "logs", Query: "service=orders", From: from, To: to, Limit: 7}); a.export != want {
		t.Errorf("exported: %+v, want %+v", a.export, want)
	}
}

func TestQuestionsAboutHeatAndDifferenceReachTheStore(t *testing.T) {
	a, h := serve(t)
	from, to := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC), time.Date(2026, 1, 2, 4, 0, 0, 0, time.UTC)
	asked := "query=service%3Dorders&from=2026-01-02T03:00:00Z&to=2026-01-02T04:00:00Z&"
	do(t, h, "GET", "/v1/heatmap?"+asked+"columns=7&rows=8", "")
	if want := (api.HeatQuery{Query: "service=orders", From: from, To: to, Columns: 7, Rows: 8}); a.heat != want {
		t.Errorf("asked for heat: %+v, want %+v", a.heat, want)
	}
	do(t, h, "GET", "/v1/difference?"+asked+"inside_from=2026-01-02T03:00:01Z&inside_to=2026-01-02T03:00:02Z&least_ns=3&most_ns=4&errors=true", "")
	want := api.DifferenceQuery{Query: "service=orders", From: from, To: to, InsideFrom: from.Add(time.Second), InsideTo: from.Add(2 * time.Second), Least: 3, Most: 4, Errors: true}
	if a.difference != want {
		t.Errorf("asked for the difference: %+v, want %+v", a.difference, want)
	}
}

func TestAnErrorInAQueryTellsItsColumn(t *testing.T) {
	_, h := serve(t)
	w := do(t, h, "GET", "/v1/traces?query=service+%3D+orders+and+duration+%3E%3E+1s", "")
	if !strings.Contains(w.Body.String(), `"column":`) {
		t.Errorf("no column: %s", w.Body)
	}
}

func TestTheAPIsOfOtherProgramsAreBelowTheirPrefix(t *testing.T) {
	_, h := serve(t)
	for path, want := range map[string]string{
		"/prometheus/api/v1/query?query=up": "/prometheus /prometheus/api/v1/query",
		"/jaeger/api/traces?service=orders": "/jaeger /jaeger/api/traces",
	} {
		if got := do(t, h, "GET", path, "").Body.String(); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
