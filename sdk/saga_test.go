package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/sdk"
)

// seen is a request as a server of sagas got it.
type seen struct {
	line, key, prefer, trace, contentType, body string
}

// sagaServer answers the nth request with the nth answer, the last one ever after; an answer of 0 cuts the connection.
type sagaServer struct {
	mu      sync.Mutex // guards seen
	seen    []seen
	answers []sagaAnswer
	url     string
}

type sagaAnswer struct {
	status int
	body   string
}

func serveSagas(t *testing.T, answers ...sagaAnswer) (*sagaServer, *sdk.Sagas) {
	t.Helper()
	s := &sagaServer{answers: answers}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	c, err := sdk.NewSagas(&sdk.SagasOptions{MaxBody: 4000, Getenv: func(string) string { return srv.URL + "/at" }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return s, c
}

func (s *sagaServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.seen = append(s.seen, seen{
		r.Method + " " + r.URL.RequestURI(), r.Header.Get("Idempotency-Key"), r.Header.Get("Prefer"), r.Header.Get("Traceparent"),
		r.Header.Get("Content-Type"), string(body),
	})
	a := s.answers[min(len(s.seen), len(s.answers))-1]
	s.mu.Unlock()
	if a.status == 0 {
		panic(http.ErrAbortHandler)
	}
	if a.status >= 400 {
		w.Header().Set("Content-Type", "application/problem+json")
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

const (
	runningSaga   = `{"id":"i-1","saga":"order-to-cash","version":"0123456789ab","key":"o-1","state":"running","input":{"order":"o-1"},"started":"2026-11-28T10:00:00Z","ended":null}`
	completedSaga = `{"id":"i-1","saga":"order-to-cash","state":"completed","output":{"invoice":7},"started":"2026-11-28T10:00:00Z","ended":"2026-11-28T10:00:01Z","later":1}`
)

func TestASagaIsStartedOnceHoweverOftenItIsTried(t *testing.T) {
	s, c := serveSagas(t, sagaAnswer{}, sagaAnswer{503, `{"code":"saga-busy"}`}, sagaAnswer{202, runningSaga})
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	got, err := c.Start(sdk.WithTrace(t.Context(), trace), "order-to-cash", map[string]string{"order": "o-1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != "i-1" || got.State != sdk.SagaRunning || got.HasEnded() || !got.Ended.IsZero() || got.Key != "o-1" || string(got.Input) != `{"order":"o-1"}` {
		t.Errorf("got %+v", got)
	}
	want := seen{"POST /at/order-to-cash", s.seen[0].key, "", trace, "application/json", `{"order":"o-1"}`}
	if len(s.seen) != 3 || s.seen[0] != want || s.seen[1] != want || s.seen[2] != want || len(want.key) < 20 {
		t.Errorf("it sent %+v", s.seen)
	}
	if _, err := c.Start(t.Context(), "order-to-cash", nil, nil); err != nil || s.seen[3].key == want.key {
		t.Errorf("another start has the key %q, %v", s.seen[3].key, err)
	}
}

func TestAStartCarriesItsKeyAndWaits(t *testing.T) {
	s, c := serveSagas(t, sagaAnswer{200, completedSaga})
	got, err := c.Start(t.Context(), "order-to-cash", nil, &sdk.StartOptions{Key: "order 1", Wait: 1100 * time.Millisecond})
	if err != nil || !got.HasEnded() {
		t.Fatalf("%+v, %v", got, err)
	}
	if r := s.seen[0]; r.key != "order 1" || r.prefer != "wait=2" || r.body != "null" {
		t.Errorf("it sent %+v", r)
	}
	var out struct{ Invoice int }
	if err := got.Decode(&out); err != nil || out.Invoice != 7 {
		t.Errorf("got %+v, %v", out, err)
	}
}

func TestARefusedStartIsNotTriedAgainAndSaysWhy(t *testing.T) {
	for status, code := range map[int]string{403: "saga-undeclared", 404: "saga-unknown", 409: "saga-key-reused", 422: "saga-input"} {
		s, c := serveSagas(t, sagaAnswer{status, fmt.Sprintf(`{"code":%q,"detail":"no"}`, code)})
		_, err := c.Start(t.Context(), "x", nil, nil)
		if p, ok := errors.AsType[*sdk.Problem](err); !ok || p.Status != status || p.Code != code || len(s.seen) != 1 {
			t.Errorf("got %v after %d requests", err, len(s.seen))
		}
	}
}

func TestANameOrKeyThatLeadsElsewhereIsNotSent(t *testing.T) {
	s, c := serveSagas(t, sagaAnswer{200, runningSaga})
	for _, name := range []string{"", ".", ".."} {
		if _, err := c.Start(t.Context(), name, nil, nil); err == nil {
			t.Errorf("%q was started", name)
		}
		if _, err := c.Get(t.Context(), "x", name); err == nil {
			t.Errorf("%q was asked for", name)
		}
	}
	for _, key := range []string{"a\n", "ü", " a", "a\x7f"} {
		if _, err := c.Start(t.Context(), "x", nil, &sdk.StartOptions{Key: key}); err == nil {
			t.Errorf("the key %q was sent", key)
		}
	}
	if len(s.seen) != 0 {
		t.Errorf("it sent %+v", s.seen)
	}
	if _, err := c.Get(t.Context(), "a/b?c", "d#e%2F"); err != nil || s.seen[0].line != "GET /at/a%2Fb%3Fc/d%23e%252F" {
		t.Errorf("it sent %+v, %v", s.seen, err)
	}
}

func TestWaitAsksUntilTheInstanceHasEnded(t *testing.T) {
	parked := strings.Replace(runningSaga, "running", "parked", 1)
	s, c := serveSagas(t, sagaAnswer{200, runningSaga}, sagaAnswer{503, "{}"}, sagaAnswer{200, parked}, sagaAnswer{200, completedSaga})
	got, err := c.Wait(t.Context(), "order-to-cash", "i-1")
	if err != nil || got.State != sdk.SagaCompleted || len(s.seen) != 4 || s.seen[0].line != "GET /at/order-to-cash/i-1?wait=30s" {
		t.Errorf("%+v, %v after %+v", got, err, s.seen)
	}
}

func TestWaitThatEndsBeforeSaysHowFarTheInstanceWas(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) > 1 {
			cancel()
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, runningSaga)
	}))
	defer srv.Close()
	c, err := sdk.NewSagas(&sdk.SagasOptions{Getenv: func(string) string { return srv.URL }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := c.Wait(ctx, "order-to-cash", "i-1"); !errors.Is(err, context.Canceled) || got == nil || got.State != sdk.SagaRunning {
		t.Errorf("%+v, %v", got, err)
	}
	_, c = serveSagas(t, sagaAnswer{404, `{"code":"saga-instance-unknown"}`})
	if _, err := c.Wait(t.Context(), "order-to-cash", "i-2"); err == nil {
		t.Error("what is unknown was waited for")
	}
}

func TestAnInstanceIsCanceledAndInstancesAreFound(t *testing.T) {
	s, c := serveSagas(t, sagaAnswer{200, strings.Replace(runningSaga, "running", "compensating", 1)}, sagaAnswer{200, `{"instances":[` + completedSaga + `],"next":"n"}`})
	got, err := c.Cancel(t.Context(), "order-to-cash", "i-1", "the customer says so")
	if err != nil || got.State != sdk.SagaCompensating || s.seen[0].line != "POST /at/order-to-cash/i-1/cancel" || s.seen[0].body != `{"reason":"the customer says so"}` {
		t.Errorf("%+v, %v, %+v", got, err, s.seen)
	}
	page, err := c.Find(t.Context(), "order-to-cash", &sdk.FindOptions{Key: "o&1", States: []sdk.SagaState{sdk.SagaCompleted, sdk.SagaParked}, Limit: 5, Before: "m"})
	if err != nil || len(page.Instances) != 1 || page.Instances[0].ID != "i-1" || page.Next != "n" || s.seen[1].line != "GET /at/order-to-cash?before=m&key=o%261&limit=5&state=completed&state=parked" {
		t.Errorf("%+v, %v, %+v", page, err, s.seen)
	}
}

func TestAnAnswerThatIsTooLargeOrNoJSONIsAnErrorAtOnce(t *testing.T) {
	for _, body := range []string{`"` + strings.Repeat("x", 4000) + `"`, "<html>"} {
		s, c := serveSagas(t, sagaAnswer{200, body})
		if _, err := c.Get(t.Context(), "x", "y"); err == nil || len(s.seen) != 1 {
			t.Errorf("%v after %d requests", err, len(s.seen))
		}
	}
}

func TestTheOutputOfWhatIsNotCompletedIsAnErrorThatSaysWhy(t *testing.T) {
	i := &sdk.SagaInstance{ID: "i-1", Saga: "s", State: sdk.SagaCompensated, Error: &sdk.SagaError{Step: "charge", Text: "the card is expired"}}
	err := i.Decode(nil)
	if failed, ok := errors.AsType[*sdk.SagaError](err); !ok || failed.Step != "charge" || !strings.Contains(err.Error(), "compensated: charge: the card is expired") {
		t.Errorf("got %v", err)
	}
}

func TestAnAsyncStepIsCompletedOrRefusedAtItsCallback(t *testing.T) {
	s, _ := serveSagas(t, sagaAnswer{}, sagaAnswer{500, "{}"}, sagaAnswer{204, ""}, sagaAnswer{204, ""}, sagaAnswer{410, `{"code":"gone"}`})
	if err := sdk.CompleteStep(t.Context(), s.url+"/callback/x?token=1", map[string]int{"id": 7}); err != nil {
		t.Error(err)
	}
	if err := sdk.RefuseStep(t.Context(), s.url+"/callback/x", "no stock"); err != nil {
		t.Error(err)
	}
	if err := sdk.RefuseStep(t.Context(), s.url+"/callback/x", ""); err == nil || s.seen[4].body == `{"refused":""}` {
		t.Errorf("a refusal was swallowed: %v, %+v", err, s.seen[4])
	}
	if len(s.seen) != 5 || s.seen[2].line != "POST /callback/x?token=1" || s.seen[2].body != `{"output":{"id":7}}` || s.seen[0] != s.seen[2] || s.seen[3].body != `{"refused":"no stock"}` {
		t.Errorf("it sent %+v", s.seen)
	}
	if err := sdk.CompleteStep(t.Context(), "", nil); err == nil {
		t.Error("a step without a callback was completed")
	}
}

func TestAServiceThatMayStartNoSagaIsToldWhatToAdd(t *testing.T) {
	_, err := sdk.NewSagas(&sdk.SagasOptions{Getenv: func(string) string { return "" }})
	if f, ok := errors.AsType[*fault.Error](err); !ok || fault.CodeOf(err) != sdk.CodeNoSagas || !strings.Contains(f.Remedy, "`sagas`") {
		t.Errorf("got %v", err)
	}
}
