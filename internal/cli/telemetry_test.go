package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/cli"
	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
)

// control is a control API that answers with what it was given, and notes what it was asked.
type control struct {
	answers map[string]any // by path
	asked   map[string]url.Values
}

func (c *control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.asked[r.URL.Path] = r.URL.Query()
	answer, ok := c.answers[r.URL.Path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		answer = fault.ProblemFor(fault.New(fault.CodeTraceUnknown, "there is no such trace").Fix("list them"), http.StatusNotFound)
	}
	if text, ok := answer.(string); ok { // as Prometheus refuses
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, text)
		return
	}
	_ = json.NewEncoder(w).Encode(answer) // the client has gone
}

// run runs a command beside an application whose control API answers so.
func run(t *testing.T, c *control, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "atoll") //nolint:usetesting // the paths of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	state := filepath.Join(dir, ".atoll")
	socket := filepath.Join(state, "s")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	runFile, err := json.Marshal(api.Run{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{filepath.Join(dir, "atoll.yaml"): []byte("app: shop\nservices: []\n"), filepath.Join(state, api.RunFile): runFile} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	c.asked = map[string]url.Values{}
	c.answers["/v1/app"] = api.App{App: "shop"}
	server := &http.Server{Handler: c, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }() // until it is closed
	defer func() { _ = server.Close(); <-done }()
	var out, errOut strings.Builder
	code = cli.Run(t.Context(), cli.World{
		In: strings.NewReader(""), Out: &out, Err: &errOut, Size: func(any) (int, int) { return 0, 0 },
	}, append([]string{"-C", dir}, args...))
	return code, out.String(), errOut.String()
}

func TestTracesAsksWhatItIsTold(t *testing.T) {
	c := &control{answers: map[string]any{"/v1/traces": api.Found{Traces: []api.TraceSummary{{TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", Service: "web", Time: traceTime(0)}}}}}
	code, out, _ := run(t, c, "traces", "service", "=", "web", "--since", "2026-11-28T09:00:00Z", "--until", "2026-11-28T10:00:00Z", "-n", "7")
	asked := c.asked["/v1/traces"]
	if code != 0 || asked.Get("query") != "service = web" || asked.Get("from") != "2026-11-28T09:00:00Z" || asked.Get("to") != "2026-11-28T10:00:00Z" || asked.Get("limit") != "7" {
		t.Errorf("code %d, asked %v", code, asked)
	}
	if !strings.Contains(out, "4bf92f3577b34da6a3ce929d0e0e4736") { // whole, for other programs
		t.Errorf("got %s", out)
	}
	if _, _, errOut := run(t, c, "traces", "a | count()", "--spans"); c.asked["/v1/traces"].Get("limit") != "" || c.asked["/v1/traces"].Get("spans") != "true" {
		t.Errorf("asked %v: %s", c.asked["/v1/traces"], errOut)
	}
}

func TestAQueryThatIsNoneIsShownWithItsPlaceAndNotSent(t *testing.T) {
	c := &control{answers: map[string]any{}}
	code, _, errOut := run(t, c, "traces", "service = web and duration > 250")
	if code != 1 || len(c.asked) > 1 || !strings.Contains(errOut, "--> query:1:30\n1 | service = web and duration > 250\n  |                              ^^^\n") {
		t.Errorf("code %d, asked %v\n%s", code, c.asked, errOut)
	}
}

func TestFoundRowsAreJSONObjects(t *testing.T) {
	c := &control{answers: map[string]any{"/v1/traces": api.Found{Table: &api.Table{
		Columns: []api.Column{{Name: "service", Role: api.ColumnGroup}, {Name: "count", Role: api.ColumnValue}}, Rows: [][]any{{"web", 3}, {nil, 1}},
	}}}}
	_, out, _ := run(t, c, "traces", "| count() by service", "--format", "json")
	if out != "{\"count\":3,\"service\":\"web\"}\n{\"count\":1,\"service\":null}\n" {
		t.Errorf("got %s", out)
	}
}

func TestNothingFoundIsSaid(t *testing.T) {
	c := &control{answers: map[string]any{"/v1/traces": api.Found{Reach: api.Reach{Rows: 12}}}}
	for args, want := range map[string]string{"traces x": "nothing found among 12 spans\n", "trace": "no trace came yet\n"} {
		if code, out, errOut := run(t, c, strings.Fields(args)...); code != 0 || out != "" || errOut != want {
			t.Errorf("%s: code %d, out %q, err %q", args, code, out, errOut)
		}
	}
}

func TestATraceIsAskedForWithItsRecords(t *testing.T) {
	c := &control{answers: map[string]any{"/v1/traces/4bf9": checkout()}}
	code, out, _ := run(t, c, "trace", "4bf9", "--logs")
	if code != 0 || c.asked["/v1/traces/4bf9"].Get("records") != "true" || !strings.Contains(out, "took an order") {
		t.Errorf("code %d, asked %v\n%s", code, c.asked, out)
	}
	if _, out, _ := run(t, c, "trace", "4bf9", "--format", "json"); strings.Count(out, "\n") != 25 || !strings.Contains(out, `"duration_ns":480000000`) {
		t.Errorf("got %s", out)
	}
	if code, _, errOut := run(t, c, "trace", "ffff"); code != 1 || !strings.Contains(errOut, "trace-unknown") {
		t.Errorf("code %d: %s", code, errOut)
	}
}

// prom is an answer of Prometheus.
func prom(kind, result string) any {
	return map[string]any{"status": "success", "data": map[string]any{"resultType": kind, "result": json.RawMessage(result)}}
}

func TestMetricsReadsWhatPrometheusAnswers(t *testing.T) {
	c := &control{answers: map[string]any{
		"/prometheus/api/v1/query_range": prom("matrix", `[{"metric":{"__name__":"up","service":"web"},"values":[[1764322200,"1"],[1764322215.5,"NaN"]]}]`),
		"/prometheus/api/v1/query":       prom("vector", `[{"metric":{"service":"web"},"value":[1764322200,"2.5"]},{"metric":{"service":"db"},"value":[1764322200,"+Inf"]}]`),
	}}
	code, out, errOut := run(t, c, "metrics", "up", "--since", "2026-11-28T09:00:00Z", "--until", "2026-11-28T10:00:00Z")
	asked := c.asked["/prometheus/api/v1/query_range"]
	if code != 0 || asked.Get("query") != "up" || asked.Get("start") != "1795856400.000" || asked.Get("step") != "15" || !strings.Contains(out, `a  up{service="web"}`) {
		t.Errorf("code %d, asked %v\n%s%s", code, asked, out, errOut)
	}
	if _, out, _ := run(t, c, "metrics", "up", "--format", "json"); out != `{"labels":{"__name__":"up","service":"web"},"points":[{"time":"2025-11-28T09:30:00Z","value":1},{"time":"2025-11-28T09:30:15.5Z","value":null}]}`+"\n" {
		t.Errorf("got %s", out)
	}
	if _, out, errOut := run(t, c, "metrics", "up", "--instant"); out != "VALUE  SERIES\n +Inf  {service=\"db\"}\n  2.5  {service=\"web\"}\n" {
		t.Errorf("got %s%s", out, errOut)
	}
	for kind, result := range map[string]string{"scalar": `[1764322200,"3"]`, "string": `[1764322200,"3"]`} {
		c.answers["/prometheus/api/v1/query"] = prom(kind, result)
		if _, out, errOut := run(t, c, "metrics", "3", "--instant"); !strings.Contains(out, "3") || errOut != "" {
			t.Errorf("%s: got %s%s", kind, out, errOut)
		}
	}
	c.answers["/prometheus/api/v1/query"] = prom("vector", "[]")
	if _, out, errOut := run(t, c, "metrics", "nothing", "--instant"); out != "" || errOut != "no series for nothing\n" {
		t.Errorf("got %s%s", out, errOut)
	}
}

func TestPromQLThatIsNoneIsShownWithItsPlace(t *testing.T) {
	c := &control{answers: map[string]any{
		"/prometheus/api/v1/query": `{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5: parse error: unexpected end of input"}`,
	}}
	code, _, errOut := run(t, c, "metrics", "sum(", "--instant")
	if code != 1 || !strings.Contains(errOut, "error: unexpected end of input (query-invalid)\n --> query:1:5\n1 | sum(\n") {
		t.Errorf("code %d: %s", code, errOut)
	}
	c.answers["/prometheus/api/v1/query"] = `{"status":"error","errorType":"timeout","error":"query timed out"}`
	if code, _, errOut := run(t, c, "metrics", "up", "--instant"); code != 1 || !strings.Contains(errOut, "query-too-broad") {
		t.Errorf("code %d: %s", code, errOut)
	}
}

func TestTopIsShownOnceWhereThereIsNoTerminal(t *testing.T) {
	c := &control{answers: map[string]any{"/v1/top": services()}}
	if code, out, _ := run(t, c, "top"); code != 0 || strings.Count(out, "\n") != 5 || strings.Contains(out, "\x1b") || !strings.HasPrefix(out, "SERVICE") {
		t.Errorf("code %d: %q", code, out)
	}
	if _, out, _ := run(t, c, "top", "--format", "json"); strings.Count(out, "\n") != 4 || !strings.Contains(out, `"per_second":1234.5`) {
		t.Errorf("got %s", out)
	}
}

func TestFlagsThatMakeNoSenseAreRefused(t *testing.T) {
	c := &control{answers: map[string]any{}}
	for _, args := range []string{
		"traces --last 0", "traces --since soon", "traces --since 1m --until 2m", "metrics", "metrics up --step -1s", "top --every 1ms", "trace a b", "top x",
	} {
		if code, _, errOut := run(t, c, strings.Fields(args)...); code != 2 || !strings.Contains(errOut, "usage") {
			t.Errorf("%s: code %d, %s", args, code, errOut)
		}
	}
}

func TestKeysSortTheServicesAndEnd(t *testing.T) {
	asks, draws := 0, []string{}
	keys, ticks := make(chan rune), make(chan time.Time)
	go func() {
		for _, key := range "e" + "e" + "?" {
			keys <- key
		}
		ticks <- time.Time{}
		keys <- 'q'
	}()
	err := cli.TopLoop(t.Context(), func(context.Context) (*api.Top, error) { asks++; return services(), nil }, keys, ticks, 80, 9, func(s string) { draws = append(draws, s) })
	if err != nil || asks != 2 || len(draws) != 5 {
		t.Fatalf("%v, asked %d times, drawn %d times", err, asks, len(draws))
	}
	for i, want := range []string{"REQ/S▼", "ERRORS▼", "ERRORS▲", "ERRORS▲", "ERRORS▲"} {
		if !strings.Contains(draws[i], want) {
			t.Errorf("drawing %d lacks %s:\n%s", i, want, draws[i])
		}
		if n := strings.Count(draws[i], "\r\n"); n != 8 {
			t.Errorf("drawing %d has %d lines, not 9", i, n+1)
		}
	}
}

func TestTopEndsWithTheApplication(t *testing.T) {
	gone := fmt.Errorf("gone")
	err := cli.TopLoop(t.Context(), func(context.Context) (*api.Top, error) { return nil, gone }, nil, nil, 80, 24, func(string) {})
	if err != gone { //nolint:errorlint // it is this very value
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := cli.TopLoop(ctx, func(context.Context) (*api.Top, error) { return nil, ctx.Err() }, nil, nil, 80, 24, func(string) {}); err != nil {
		t.Errorf("got %v", err)
	}
}
