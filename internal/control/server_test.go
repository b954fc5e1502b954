package control_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/control"
	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/telemetry"
)

// app is a small running application: a driver of control.App in memory.
type app struct {
	scaled  map[string]int
	stopped bool

	query    api.EventQuery // the last one
	page     string         // subscription|topic of the last page of dead letters
	selected api.Selection  // the last one
	sagas    sagasAsked
	last     int // how many lines were asked for last

	findings       func() int // what changes among the findings; nil for none
	mapFrom, mapTo time.Time  // the last that were asked for

	traces     api.TracesQuery // the last one; so are the next two
	records    api.RecordsQuery
	export     api.ExportQuery
	heat       api.HeatQuery
	difference api.DifferenceQuery
}

var _ control.App = (*app)(nil)

func at() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC) }

func (a *app) Info() api.App {
	return api.App{App: "shop", Dir: "/shop", Version: "dev", PID: 7, Started: at(), Gateway: "http://127.0.0.1:8080", State: "running"}
}

func (a *app) Services() []api.Service {
	return []api.Service{{
		Service: "orders", Dir: "/shop/orders", Run: "bin/orders", Protocol: "http", Ready: "tcp", Replicas: 1,
		Calls:    []api.Call{{Service: "pay", Addr: "127.0.0.1:1", Timeout: "30s", Tries: 3}},
		CalledBy: []string{}, Routes: []api.Route{{Path: "/**", Limits: []string{"5/s per address"}}}, Publishes: []string{},
		Subscribes: map[string]string{}, Sagas: []string{"cash"}, Takes: []api.SagaUse{{Saga: "cash", Steps: []string{"charge"}}}, Secrets: []string{"key"}, Env: map[string]string{"A": "b"}, Running: a.Replicas(),
	}}
}

func (a *app) Service(name string) (api.Service, error) {
	if name != "orders" {
		return api.Service{}, fault.New(fault.CodeServiceUnknown, "no service %q runs", name).Fix("those that run are orders")
	}
	return a.Services()[0], nil
}

func (a *app) Replicas() []api.Replica {
	return []api.Replica{{Service: "orders", Replica: "orders-1", State: "ready", PID: 8, URL: "http://127.0.0.1:2", Version: "dev", ReadyMS: 5, Since: at()}}
}

func (a *app) Findings() fault.List {
	if a.findings == nil {
		return nil
	}
	return fault.List{fault.Warn(fault.CodeCallCycle, "circle %d", a.findings())}
}

func (a *app) Restart(_ context.Context, service string) error {
	if service == "broken" {
		return errors.New("secret inside text")
	}
	_, err := a.Service(service)
	return err
}

func (a *app) Scale(_ context.Context, service string, n int) error {
	a.scaled[service] = n
	return nil
}

func (a *app) Reload(context.Context) fault.List {
	return fault.List{fault.Warn(fault.CodeCallCycle, "a circle").Fix("cut it").At(fault.Position{File: "atoll.yaml", Line: 1, Column: 2, Width: 3}, "app: x")}
}

func (a *app) Stop() { a.stopped = true }

func (a *app) Contract(service string) ([]byte, error) {
	_, err := a.Service(service)
	return []byte(`{"openapi": "3.1.0"}`), err
}

func (a *app) Environment(service string) ([]api.Variable, error) {
	_, err := a.Service(service)
	return []api.Variable{{Name: "KEY", Hidden: true, From: api.VariableSecret}, {Name: "PORT", From: api.VariableReplica}, {Name: "A", Value: "b", From: api.VariableManifest}}, err
}

func (a *app) Routes() []api.GatewayRoute {
	return []api.GatewayRoute{{Route: api.Route{Path: "/**"}, Kind: api.RouteService, To: "orders", Timeout: "30s", Tries: 3}}
}

func (a *app) Try(_ context.Context, q *api.Try) (*api.Tried, error) {
	return &api.Tried{Status: 200, Headers: map[string][]string{"X-Path": {q.Method + " " + q.Path}}, Body: "ok", TookNS: 5, TraceID: "ab"}, nil
}

func (a *app) ConsoleLink() (api.ConsoleLink, error) {
	return api.ConsoleLink{URL: "http://127.0.0.1:8900/#login=x", Expires: at()}, nil
}

func (a *app) Logs(_ context.Context, q *telemetry.LineQuery, yield func(*telemetry.Line) error) error {
	a.last = q.Last
	for _, r := range []telemetry.Line{
		{Time: at(), Service: "orders", Replica: "orders-1", Stream: "stdout", Level: telemetry.LevelInfo, Text: "one"},
		{Time: at(), Service: "orders", Replica: "orders-1", Stream: "stderr", Level: telemetry.LevelError, Text: "two"},
	} {
		if q.Greps(&r) && (q.Level == "" || r.Level == q.Level) {
			if err := yield(&r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *app) Events(_ context.Context, after int64, _ bool, yield func(api.Event) error) error {
	return yield(api.Event{
		Seq: after + 1, Time: at(), Kind: api.EventReplica, Service: "orders", Replica: "orders-1", From: "starting", To: "crashed",
		Text: "exit code 1", Fault: fault.New(fault.CodeReplicaCrashed, "it ended"), Final: true, Loop: true, Lines: []string{"panic"}, Missed: 2,
	})
}

func serve(t *testing.T) (*app, http.Handler) {
	t.Helper()
	a := &app{scaled: map[string]int{}}
	return a, control.NewHandler(a, slog.New(slog.DiscardHandler))
}

func do(t *testing.T, h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return answerOf(h, req)
}

func answerOf(h http.Handler, req *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

// description is openapi.yaml, as JSON has it, and a compiler of its schemas.
func description(t *testing.T) (doc map[string]any, schema func(name string) *jsonschema.Schema) {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(control.OpenAPI()), &v); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	v, err = jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("openapi.json", v); err != nil {
		t.Fatal(err)
	}
	return v.(map[string]any), func(name string) *jsonschema.Schema {
		s, err := c.Compile("openapi.json#/components/schemas/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestTheDescriptionHasEveryOperationAndNoOther(t *testing.T) {
	doc, _ := description(t)
	var described []string
	for path, item := range doc["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			if method != "parameters" {
				described = append(described, strings.ToUpper(method)+" "+path)
			}
		}
	}
	served := control.Operations()
	slices.Sort(described)
	slices.Sort(served)
	if !slices.Equal(described, served) {
		t.Errorf("described: %v\nserved: %v", described, served)
	}
}

// asked is a request, and the status and the schema of the lines of its answer.
type asked struct {
	request, body string
	status        int
	schema        string
}

func TestEveryAnswerIsAsTheDescriptionSays(t *testing.T) {
	_, h := serve(t)
	checkAnswers(t, h, []asked{
		{"GET /v1/app", "", 200, "App"},
		{"GET /v1/services", "", 200, "Services"},
		{"GET /v1/services/orders", "", 200, "Service"},
		{"GET /v1/services/nobody", "", 404, "Problem"},
		{"POST /v1/services/orders/restart", "", 204, ""},
		{"POST /v1/services/nobody/restart", "", 404, "Problem"},
		{"POST /v1/services/orders/scale", `{"replicas": 3}`, 204, ""},
		{"POST /v1/services/orders/scale", `{"replicas": -1}`, 400, "Problem"},
		{"POST /v1/services/orders/scale", `{"replica": 1}`, 400, "Problem"},
		{"POST /v1/services/orders/scale", ``, 400, "Problem"},
		{"GET /v1/replicas", "", 200, "Replicas"},
		{"GET /v1/findings", "", 200, "Findings"},
		{"POST /v1/reload", "", 200, "Findings"},
		{"GET /v1/logs", "", 200, "Line"},
		{"GET /v1/logs?level=loud", "", 400, "Problem"},
		{"GET /v1/logs?grep=(", "", 400, "Problem"},
		{"GET /v1/logs?since=yesterday", "", 400, "Problem"},
		{"GET /v1/logs?last=-1", "", 400, "Problem"},
		{"GET /v1/events?after=4", "", 200, "Event"},
		{"POST /v1/stop", "", 202, ""},
		{"GET /v1/nothing", "", 404, "Problem"},
		{"GET /v1/services/orders/contract", "", 200, "Contract"},
		{"GET /v1/services/nobody/contract", "", 404, "Problem"},
		{"GET /v1/services/orders/environment", "", 200, "Environment"},
		{"GET /v1/services/nobody/environment", "", 404, "Problem"},
		{"GET /v1/routes", "", 200, "GatewayRoutes"},
		{"POST /v1/try", `{"path": "/x", "method": "PUT"}`, 200, "Tried"},
		{"POST /v1/try", `{"url": "/x"}`, 400, "Problem"},
		{"POST /v1/console/links", "", 200, "ConsoleLink"},
		{"GET /v1/watch", "", 400, "Problem"},
		{"GET /v1/watch?get=/v1/top&get=0s%20/v1/app", "", 400, "Problem"},
		{"GET /v1/watch?get=2m%20/v1/app", "", 400, "Problem"},
		{"GET /v1/watch?get=/v1/logs?follow=true", "", 400, "Problem"},
		{"GET /v1/watch?get=/v1/watch", "", 400, "Problem"},
		{"GET /v1/watch?get=http://elsewhere.example/v1/app", "", 400, "Problem"},
		{"GET /v1/watch?get=/login", "", 400, "Problem"},
	})
}

func checkAnswers(t *testing.T, h http.Handler, list []asked) {
	t.Helper()
	_, schema := description(t)
	for _, c := range list {
		method, path, _ := strings.Cut(c.request, " ")
		w := do(t, h, method, path, c.body)
		if w.Code != c.status {
			t.Errorf("%s: status %d, want %d: %s", c.request, w.Code, c.status, w.Body)
			continue
		}
		lines := bufio.NewScanner(w.Body)
		n := 0
		for ; lines.Scan(); n++ {
			v, err := jsonschema.UnmarshalJSON(bytes.NewReader(lines.Bytes()))
			if err != nil {
				t.Fatalf("%s: %v", c.request, err)
			}
			if err := schema(c.schema).Validate(v); err != nil {
				t.Errorf("%s: %v", c.request, err)
			}
		}
		if (n > 0) != (c.schema != "") {
			t.Errorf("%s: %d lines of body", c.request, n)
		}
	}
}

func TestABodyThatIsRefusedIsToldWhichKeyIsMeant(t *testing.T) {
	_, h := serve(t)
	for body, want := range map[string]string{
		`{"replica": 1}`:       `the body has the key \"replica\"`,
		`{"replicas": "many"}`: `the body's key \"replicas\" cannot be a string`,
		`{"replicas"`:          "the body cannot be read",
	} {
		if w := do(t, h, "POST", "/v1/services/orders/scale", body); w.Code != 400 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
}

func TestInternalErrorsStayInside(t *testing.T) {
	_, h := serve(t)
	w := do(t, h, "POST", "/v1/services/broken/restart", "")
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestFiltersOfLogsReachTheStore(t *testing.T) {
	_, h := serve(t)
	w := do(t, h, "GET", "/v1/logs?level=error&service=orders&grep=t.o", "")
	if got := w.Body.String(); !strings.Contains(got, "two") || strings.Contains(got, "one") {
		t.Errorf("got %s", got)
	}
}

func TestNobodyIsAskedForMoreLinesThanAreSorted(t *testing.T) {
	a, h := serve(t)
	for asked, want := range map[string]int{"": 0, "0": 0, "7": 7, "100000": telemetry.MaxSorted} {
		if w := do(t, h, "GET", "/v1/logs?last="+asked, ""); w.Code != 200 || a.last != want {
			t.Errorf("last=%s: %d, and %d were asked for", asked, w.Code, a.last)
		}
	}
	for _, asked := range []string{"100001", "9223372036854775807"} {
		if w := do(t, h, "GET", "/v1/logs?last="+asked, ""); w.Code != 400 || !strings.Contains(w.Body.String(), "ask for 100000 at most") {
			t.Errorf("last=%s: %d %s", asked, w.Code, w.Body)
		}
	}
}

func TestARequestEndsWithItsSession(t *testing.T) {
	session, end := context.WithCancel(t.Context())
	begun := make(chan struct{})
	server := httptest.NewServer(control.RequireToken(func(string) (context.Context, bool) { return session, true },
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			close(begun)
			<-r.Context().Done()
		})))
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v1/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer token")
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-begun
	end()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil { // this returns when the request has ended
		t.Error(err)
	}
}

func TestOnTCPOnlyTheTokenFromThisMachineIsLetIn(t *testing.T) {
	a, inner := serve(t)
	server := httptest.NewServer(control.RequireToken(control.OneToken("right"), inner))
	defer server.Close()
	for name, c := range map[string]struct {
		header map[string]string
		host   string
		status int
	}{
		"token":                      {map[string]string{"Authorization": "Bearer right"}, "", 202},
		"token and its own page":     {map[string]string{"Authorization": "Bearer right", "Origin": server.URL}, "", 202},
		"no token":                   {nil, "", 403},
		"a token without its scheme": {map[string]string{"Authorization": "right"}, "", 403},
		"wrong token":                {map[string]string{"Authorization": "Bearer wrong"}, "", 403},
		"a page of another origin":   {map[string]string{"Authorization": "Bearer right", "Origin": "https://evil.example"}, "", 403},
		"a null origin":              {map[string]string{"Authorization": "Bearer right", "Origin": "null"}, "", 403},
		"a name that is rebound":     {map[string]string{"Authorization": "Bearer right"}, "evil.example:80", 403},
		"localhost as name":          {map[string]string{"Authorization": "Bearer right"}, "localhost:1", 202},
		"an address of IPv6":         {map[string]string{"Authorization": "Bearer right"}, "[::1]:1", 202},
		"a name that begins like it": {map[string]string{"Authorization": "Bearer right"}, "127.0.0.1.evil.example", 403},
	} {
		a.stopped = false
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/stop", nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range c.header {
			req.Header.Set(k, v)
		}
		req.Host = c.host
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status || a.stopped != (c.status == 202) {
			t.Errorf("%s: status %d, want %d; stopped %t", name, resp.StatusCode, c.status, a.stopped)
		}
	}
}
