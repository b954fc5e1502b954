package metric_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/metric"
)

// filled is a store with a gauge of two services over five minutes, and a native histogram.
func filled(t *testing.T, o *metric.Options) *metric.Store {
	t.Helper()
	s := open(t, o)
	for i := range 5 {
		at := noon.Add(time.Duration(i-4) * time.Minute)
		orders := gauge("orders", "queue.depth", at, float64(i), str("queue", `a"b`))
		orders.Help, orders.Unit = "How many wait.", "{job}"
		add(t, s, orders, gauge("mail", "queue.depth", at, 0.5, str("queue", "out")))
	}
	native := exponential(0, 0, 1, 2)
	native.Negative = telemetry.ExponentialBuckets{Offset: 1, Counts: []uint64{3}}
	native.Zero, native.ZeroThreshold, native.Count = 4, 0.25, 10
	add(t, s, telemetry.Metric{
		Resource: &telemetry.Resource{Service: "orders"}, Name: "h", Kind: telemetry.ExponentialHistogram,
		Points: []telemetry.Point{native},
	})
	return s
}

func ruleInfos() []metric.RuleInfo {
	return []metric.RuleInfo{
		{Group: "defaults", Name: "ErrorRatio", Query: "x > 0.05", For: time.Minute, Labels: map[string]string{"severity": "page"}, Health: "ok", LastEvaluation: noon, Took: time.Millisecond, Active: []metric.AlertInfo{
			{State: "pending", Labels: map[string]string{"service": "mail"}, Since: noon, Value: 0.06},
			{State: "firing", Labels: map[string]string{"service": "orders"}, Since: noon, Value: 0.5, Annotations: map[string]string{"summary": "bad"}},
		}},
		{Group: "defaults", Name: "Lag", Query: "lag > 100"},
	}
}

func TestAnswersHaveTheShapeOfPrometheus(t *testing.T) {
	s := filled(t, nil)
	h := s.Handler(&metric.APIOptions{Prefix: "/prometheus/", Version: "1.2.3", Rules: ruleInfos})
	for name, path := range map[string]string{
		"vector":          "query?query=queue_depth",
		"vector-at":       "query?query=queue_depth%7Bservice%3D%22orders%22%7D&time=1772366280.123",
		"vector-rfc":      "query?query=count(queue_depth)&time=2026-03-01T11:58:00Z",
		"vector-empty":    "query?query=nothing",
		"scalar":          "query?query=1%2B1&time=1772366400",
		"scalar-infinite": "query?query=1/0&time=1772366400",
		"string":          `query?query="a%20text"&time=1772366400`,
		"histogram":       "query?query=h",
		"matrix":          "query?query=queue_depth%7Bservice%3D%22orders%22%7D%5B2m%5D",
		"range":           "query_range?query=queue_depth&start=1772366280&end=1772366400&step=1m",
		"range-histogram": "query_range?query=h&start=1772366400&end=1772366430&step=30",
		"range-warning":   "query_range?query=rate(queue_depth%5B2m%5D)&start=1772366400&end=1772366400&step=30",
		"series":          "series?match%5B%5D=queue_depth&match%5B%5D=h",
		"series-limit":    "series?match%5B%5D=queue_depth&limit=1",
		"series-no-match": "series",
		"labels":          "labels",
		"labels-match":    "labels?match%5B%5D=h",
		"values":          "label/service/values",
		"values-names":    "label/__name__/values?match%5B%5D=%7Bservice%3D%22mail%22%7D",
		"values-bad":      "label/%FF/values",
		"values-past":     "label/service/values?start=0&end=1",
		"metadata":        "metadata?metric=queue_depth",
		"buildinfo":       "status/buildinfo",
		"format":          "format_query?query=sum(rate(a%5B5m%5D))by(b)",
		"rules":           "rules",
		"rules-record":    "rules?type=record",
		"alerts":          "alerts",
		"exemplars":       "query_exemplars?query=queue_depth",
		"bad-query":       "query?query=sum(",
		"bad-time":        "query?query=1&time=yesterday",
		"bad-step":        "query_range?query=1&start=0&end=1&step=0",
		"bad-order":       "query_range?query=1&start=2&end=1&step=1",
		"no-start":        "query_range?query=1&end=1&step=1",
		"many-points":     "query_range?query=1&start=0&end=11000&step=1",
		"many-to-many":    "query?query=queue_depth*on()queue_depth",
		"bad-match":       "series?match%5B%5D=%7B%7D",
		"unset-match":     "series?match%5B%5D=%7Ba%3D",
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/prometheus/api/v1/"+path, nil))
			golden(t, name, w)
		})
	}
}

// golden compares a response with a file: its status, and its body laid out.
func golden(t *testing.T, name string, w *httptest.ResponseRecorder) {
	t.Helper()
	var got bytes.Buffer
	got.WriteString(http.StatusText(w.Code) + "\n")
	if err := json.Indent(&got, w.Body.Bytes(), "", " "); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	got.WriteByte('\n')
	file := filepath.Join("testdata", "api", name+".txt")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got %s\nwant %s", got.String(), want)
	}
}

func TestFormsMayBePosted(t *testing.T) {
	h := filled(t, nil).Handler(nil)
	form := url.Values{"query": {"count(queue_depth)"}, "time": {"1772366400"}}.Encode()
	r := httptest.NewRequest(http.MethodPost, "/api/v1/query", strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	want := `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1772366400,"2"]}]}}`
	if w.Body.String() != want {
		t.Errorf("got %s", w.Body)
	}
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodDelete, "/api/v1/query", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: %d", w.Code)
	}
}

func TestAQueryThatHoldsTooMuchIsRefused(t *testing.T) {
	s := filled(t, &metric.Options{QuerySamples: 3})
	_, err := s.Instant(t.Context(), `queue_depth[5m]`, noon)
	if fault.CodeOf(err) != fault.CodeMetricLimit {
		t.Errorf("got %v", err)
	}
	w := httptest.NewRecorder()
	s.Handler(nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/query?query=queue_depth%5B5m%5D", nil))
	if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), `"errorType":"execution"`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestAQueryThatTakesTooLongIsStopped(t *testing.T) {
	s := filled(t, &metric.Options{QueryTimeout: time.Nanosecond})
	_, err := s.Instant(t.Context(), `sum(queue_depth)`, noon)
	if c := fault.CodeOf(err); c != fault.CodeMetricLimit && c != fault.CodeMetricBusy {
		t.Errorf("got %v", err)
	}
	s = filled(t, nil)
	w := httptest.NewRecorder()
	s.Handler(nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/query?query=queue_depth&timeout=0.000000001", nil))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"errorType":"timeout"`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestAnErrorPointsAtItsPlaceInTheQuery(t *testing.T) {
	s := open(t, nil)
	_, err := s.Instant(t.Context(), "sum(\n  rate(a) )", noon)
	list := fault.List{}
	if f, ok := err.(*fault.Error); ok { //nolint:errorlint // it is to be one, not to hold one
		list = append(list, f)
	}
	if len(list) != 1 || list[0].Code != fault.CodeMetricQuery {
		t.Fatalf("got %v", err)
	}
	f := list[0]
	if f.Line != 2 || f.Column != 8 || f.Width != 1 || f.Source != "  rate(a) )" {
		t.Errorf("line %d column %d width %d source %q", f.Line, f.Column, f.Width, f.Source)
	}
	_, err = s.Range(t.Context(), "é + }", noon, noon, time.Second)
	if fault.CodeOf(err) != fault.CodeMetricQuery {
		t.Errorf("got %v", err)
	}
}

func TestRangeHasAPointForEachStep(t *testing.T) {
	s := filled(t, nil)
	table, err := s.Range(t.Context(), `queue_depth{service="orders"}`, noon.Add(-2*time.Minute), noon, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	want := []telemetry.Sample{
		{T: noon.Add(-2 * time.Minute).UnixMilli(), V: 2}, {T: noon.Add(-time.Minute).UnixMilli(), V: 3}, {T: noon.UnixMilli(), V: 4},
	}
	if len(table.Series) != 1 || !slices.Equal(table.Series[0].Points, want) {
		t.Errorf("got %+v", table)
	}
	table, err = s.Instant(t.Context(), `h`, noon)
	if err != nil || len(table.Series) != 0 || len(table.Notes) != 1 {
		t.Errorf("a native histogram: %+v, %v", table, err)
	}
	for name, ask := range map[string]func() error{
		"no step": func() error { _, err := s.Range(t.Context(), "1", noon, noon, 0); return err },
		"a text":  func() error { _, err := s.Instant(t.Context(), `"x"`, noon); return err },
	} {
		if err := ask(); fault.CodeOf(err) != fault.CodeMetricAsk {
			t.Errorf("%s: %v", name, err)
		}
	}
}
