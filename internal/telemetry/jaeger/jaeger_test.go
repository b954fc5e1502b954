package jaeger_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/jaeger"
)

// noon is the time of tests.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// spans is a store of a few spans.
type spans []telemetry.Span

func in(r telemetry.Range, at int64) bool {
	t := time.Unix(0, at)
	return (r.From.IsZero() || !t.Before(r.From)) && (r.To.IsZero() || t.Before(r.To))
}

func (s spans) Find(
	_ context.Context, _ telemetry.Signal, r telemetry.Range, q *telemetry.Query, yield func(telemetry.Row) error,
) (telemetry.Reach, error) {
	sorted := slices.SortedFunc(slices.Values(s), func(a, b telemetry.Span) int { return cmp.Compare(b.Start, a.Start) })
	for i := range sorted {
		row := telemetry.Row{Span: &sorted[i]}
		if !in(r, sorted[i].Start) || !q.Match(row) {
			continue
		}
		if err := yield(row); err != nil {
			return telemetry.Reach{}, err
		}
	}
	return telemetry.Reach{}, nil
}

func (s spans) Tell(_ context.Context, signal telemetry.Signal, r telemetry.Range, q *telemetry.Query) (*telemetry.Table, telemetry.Reach, error) {
	a := telemetry.NewAggregator(signal, q.Tell, r)
	for i := range s {
		row := telemetry.Row{Span: &s[i]}
		if !in(r, s[i].Start) || !q.Match(row) {
			continue
		}
		if err := a.Add(row); err != nil {
			return nil, telemetry.Reach{}, err
		}
	}
	return a.Table(q.Sort, q.Limit), telemetry.Reach{}, nil
}

func (s spans) Trace(_ context.Context, ids ...telemetry.TraceID) ([]telemetry.Span, error) {
	if slices.Contains(ids, telemetry.TraceID{0xff}) {
		return nil, errors.New("the disk is gone")
	}
	var out []telemetry.Span
	for _, sp := range s {
		if slices.Contains(ids, sp.TraceID) {
			out = append(out, sp)
		}
	}
	return out, nil
}

func (s spans) Values(_ context.Context, _ telemetry.Signal, r telemetry.Range, field, _ string, _ int) ([]telemetry.ValueInfo, error) {
	var out []telemetry.ValueInfo
	for i := range s {
		v, ok := telemetry.Row{Span: &s[i]}.Field(field)
		if ok && in(r, s[i].Start) && !slices.ContainsFunc(out, func(x telemetry.ValueInfo) bool { return x.Value == v }) {
			out = append(out, telemetry.ValueInfo{Value: v})
		}
	}
	return out, nil
}

func text(k, v string) telemetry.Attr { return telemetry.Attr{Key: k, Value: telemetry.String(v)} }

// filled has two traces: a request to orders that asks stock, which fails; and one of mail.
func filled() spans {
	orders := &telemetry.Resource{Service: "orders", Replica: "orders-1", Attrs: []telemetry.Attr{text("host.name", "a")}}
	orders2 := &telemetry.Resource{Service: "orders", Replica: "orders-1", Attrs: []telemetry.Attr{text("host.name", "a")}}
	stock := &telemetry.Resource{Service: "stock"}
	one, two := telemetry.TraceID{15: 1}, telemetry.TraceID{0xab, 15: 2}
	at := noon.Add(-time.Minute).UnixNano()
	return spans{
		{
			Resource: orders, Scope: &telemetry.Scope{Name: "atoll"}, TraceID: one, SpanID: telemetry.SpanID{1}, Name: "GET /orders/{id}", Kind: telemetry.KindServer,
			Start: at, Duration: int64(250 * time.Millisecond), Status: telemetry.StatusOK, Attrs: []telemetry.Attr{
				text("atoll.caller", "gateway"),
				{Key: "http.response.status_code", Value: telemetry.Int(200)},
				{Key: "cached", Value: telemetry.Bool(true)},
				{Key: "big", Value: telemetry.Int(math.MaxInt64)},
				{Key: "share", Value: telemetry.Float(0.5)},
				{Key: "nan", Value: telemetry.Float(math.NaN())},
				{Key: "list", Value: telemetry.JSON(`["a",1]`)},
			},
		},
		{
			Resource: orders2, TraceID: one, SpanID: telemetry.SpanID{2}, Parent: telemetry.SpanID{1}, Name: "ask", Kind: telemetry.KindClient, Start: at + 5_500, Duration: 1_999,
			State: "a=b", Links: []telemetry.Link{{TraceID: two, SpanID: telemetry.SpanID{9}}},
		},
		{
			Resource: stock, Scope: &telemetry.Scope{Name: "atoll", Version: "1"}, TraceID: one, SpanID: telemetry.SpanID{3}, Parent: telemetry.SpanID{2}, Name: "GET /stock", Kind: telemetry.KindServer,
			Start: at + int64(time.Millisecond), Duration: int64(2 * time.Millisecond), Status: telemetry.StatusError, StatusText: "no stock",
			Attrs:  []telemetry.Attr{text("atoll.caller", "orders")},
			Events: []telemetry.SpanEvent{{Time: at + int64(2*time.Millisecond), Name: "exception", Attrs: []telemetry.Attr{text("exception.type", "Empty")}}},
		},
		{
			Resource: &telemetry.Resource{Service: "mail"}, TraceID: two, SpanID: telemetry.SpanID{9}, Name: "send", Start: at + int64(time.Second), Duration: 1,
		},
		{ // of last week
			Resource: &telemetry.Resource{Service: "old"}, TraceID: telemetry.TraceID{7}, SpanID: telemetry.SpanID{7}, Name: "gone", Start: noon.AddDate(0, 0, -7).UnixNano(),
		},
	}
}

func get(t *testing.T, path string) *httptest.ResponseRecorder {
	t.Helper()
	h := jaeger.NewHandler(filled(), &jaeger.Options{Prefix: "/jaeger/", Now: func() time.Time { return noon }})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/jaeger/api/"+path, nil))
	return w
}

func TestAnswersHaveTheShapeOfJaeger(t *testing.T) {
	for name, path := range map[string]string{
		"services":           "services",
		"operation-names":    "services/orders/operations",
		"operations":         "operations?service=orders",
		"operations-kind":    "operations?service=orders&spanKind=client",
		"operations-no-one":  "operations",
		"trace":              "traces/00000000000000000000000000000001",
		"trace-short":        "traces/1",
		"trace-unknown":      "traces/ff00",
		"trace-malformed":    "traces/xyz",
		"trace-disk":         "traces/ff000000000000000000000000000000",
		"traces":             "traces?service=mail",
		"traces-by-id":       "traces?traceID=1&traceID=ab000000000000000000000000000002",
		"traces-none":        "traces?service=nobody",
		"traces-no-service":  "traces",
		"traces-limit":       "traces?service=orders&limit=none",
		"traces-start":       "traces?service=orders&start=soon",
		"traces-far":         "traces?service=orders&end=9223372036854775807",
		"traces-tags":        "traces?service=orders&tags=%7B",
		"traces-tag":         "traces?service=orders&tag=x",
		"traces-duration":    "traces?service=orders&minDuration=long",
		"dependencies":       "dependencies?endTs=1772366400000&lookback=86400000",
		"dependencies-none":  "dependencies?endTs=1772366400000&lookback=1",
		"dependencies-wrong": "dependencies?endTs=x",
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, get(t, path)) })
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
	file := filepath.Join("testdata", name+".txt")
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

func TestSearchesFindWhatTheyAskFor(t *testing.T) {
	for query, want := range map[string]string{
		"service=orders":                                          "1",
		"service=orders&operation=ask":                            "1",
		"service=orders&operation=send":                           "",
		"service=orders&minDuration=200ms":                        "1",
		"service=orders&minDuration=250ms&maxDuration=250ms":      "1",
		"service=orders&minDuration=251ms":                        "",
		"service=stock&maxDuration=1ms":                           "",
		`service=orders&tags={"http.response.status_code":"200"}`: "1",
		`service=orders&tags={"http.response.status_code":200}`:   "1",
		`service=orders&tags={"http.response.status_code":"500"}`: "",
		`service=orders&tags={"cached":"true"}`:                   "1",
		`service=orders&tags={"cached":true}`:                     "1",
		`service=orders&tags={"cached":"false"}`:                  "",
		`service=stock&tags={"error":"true"}`:                     "1",
		`service=orders&tags={"error":"true"}`:                    "",
		`service=orders&tags={"span.kind":"client"}`:              "1",
		`service=orders&tags={"host.name":"a"}`:                   "1",
		`service=orders&tags={"service.instance.id":"orders-1"}`:  "1",
		"service=stock&tag=otel.status_code:ERROR":                "1",
		"service=stock&tag=otel.scope.name:atoll":                 "1",
		"service=orders&tag=otel.status_code:ERROR":               "",
		"service=old":                                                "",
		"service=old&start=1771700000000000":                         "7",
		"service=orders&end=1772366339999999":                        "",
		"service=orders&start=1772366340000000&end=1772366340000000": "1",
	} {
		head, tags, ok := strings.Cut(query, "&tags=")
		if ok {
			head += "&tags=" + url.QueryEscape(tags)
		}
		w := get(t, "traces?"+head)
		var answer struct {
			Data []struct {
				TraceID string `json:"traceID"`
			} `json:"data"`
			Total int `json:"total"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
			t.Errorf("%s: %d, %v", query, w.Code, err)
			continue
		}
		got := ""
		for _, d := range answer.Data {
			got += strings.Trim(d.TraceID, "0")
		}
		if got != want || answer.Total != len(answer.Data) {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
}

func TestASearchEndsWithAsManyTracesAsWereAskedFor(t *testing.T) {
	var many spans
	for i := range 10 {
		for range 3 {
			many = append(many, telemetry.Span{
				Resource: &telemetry.Resource{Service: "orders"}, TraceID: telemetry.TraceID{byte(i + 1)}, Start: noon.UnixNano() - int64(i),
			})
		}
	}
	h := jaeger.NewHandler(many, &jaeger.Options{Now: func() time.Time { return noon }})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/traces?service=orders&limit=4", nil))
	for id, want := range map[string]bool{"01": true, "04": true, "05": false} {
		if got := strings.Contains(w.Body.String(), `"traceID":"`+id+"0000"); got != want {
			t.Errorf("trace %s: %t", id, got)
		}
	}
}

// asked counts the questions for traces. Like a store it answers no more spans to one than MaxSorted.
type asked struct {
	spans
	questions int
}

func (a *asked) Trace(ctx context.Context, ids ...telemetry.TraceID) ([]telemetry.Span, error) {
	a.questions++
	found, err := a.spans.Trace(ctx, ids...)
	return found[:min(len(found), telemetry.MaxSorted)], err
}

func TestASearchAsksForItsTracesTogetherAndLeavesNoSpanOut(t *testing.T) {
	for _, c := range []struct{ traces, each, most int }{{120, 3, 3}, {3, telemetry.MaxSorted/2 + 1, 4}} {
		store := &asked{}
		for i := range c.traces {
			for j := range c.each {
				store.spans = append(store.spans, telemetry.Span{
					Resource: &telemetry.Resource{Service: "orders"}, TraceID: telemetry.TraceID{byte(i + 1)}, Start: noon.UnixNano() - int64(i*c.each+j),
				})
			}
		}
		h := jaeger.NewHandler(store, &jaeger.Options{Now: func() time.Time { return noon }})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/traces?service=orders&limit=500", nil))
		var answer struct{ Data []struct{ Spans []struct{} } }
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || len(answer.Data) != c.traces {
			t.Fatalf("%d traces of %d (%v)", len(answer.Data), c.traces, err)
		}
		for i, trace := range answer.Data {
			if len(trace.Spans) != c.each {
				t.Errorf("trace %d has %d spans of %d", i, len(trace.Spans), c.each)
			}
		}
		if store.questions > c.most {
			t.Errorf("it took %d questions", store.questions)
		}
	}
}
