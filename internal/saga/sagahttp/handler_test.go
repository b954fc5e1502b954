package sagahttp_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/define"
	"github.com/atollhq/atoll/internal/saga/memsaga"
	"github.com/atollhq/atoll/internal/saga/sagahttp"
	"github.com/atollhq/atoll/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// definitions are one that ends at once, and one whose step at the service "slow" ends later.
const (
	quick = `{"saga":"quick","key":"${input.order}","input":{"type":"object","required":["order"],"properties":{"order":{"type":"string"}}},
		"steps":[{"step":"a","do":"POST svc/a","undo":"none"}],"output":{"n":1}}`
	slow = `{"saga":"slow","steps":[{"step":"a","do":{"call":"POST svc/a","async":{}},"undo":"none"}]}`
)

// caller takes every step; those of slow later.
type caller struct{}

func (caller) Call(_ context.Context, o *saga.Outgoing) saga.Result {
	status := http.StatusOK
	if o.Async {
		status = http.StatusAccepted
	}
	return saga.Result{Verdict: saga.Answered, Answer: saga.Answer{Status: status}}
}

func compile(source []byte) (*saga.Plan, error) {
	def, err := define.Decode(source)
	if err != nil {
		return nil, err
	}
	plan, faults := define.Compile(def, define.Options{})
	return plan, faults.Err()
}

// serve serves two services, svc, which declares what it is told, and other, which declares nothing.
func serve(t *testing.T, sagas ...string) (svc, other string, engine *saga.Engine) {
	t.Helper()
	engine, err := saga.Open(t.Context(), memsaga.New(), caller{}, &saga.Options{Compile: compile})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	var plans []*saga.Plan
	for _, source := range []string{quick, slow} {
		plan, err := compile([]byte(source))
		if err != nil {
			t.Fatal(err)
		}
		plans = append(plans, plan)
	}
	commit, err := engine.Prepare(t.Context(), plans)
	if err != nil {
		t.Fatal(err)
	}
	commit()
	engine.Run()
	listen := func(name string, declared []string) string {
		s := httptest.NewServer(sagahttp.Handler(sagahttp.Options{
			Service: name, Logger: slog.New(slog.DiscardHandler), Engine: func() *saga.Engine { return engine },
			Declared: func() sagahttp.Declared {
				return sagahttp.Declared{Sagas: declared, File: "services/" + name + "/service.yaml"}
			},
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	return listen("svc", sagas), listen("other", nil), engine
}

func client(t *testing.T, url string) *sdk.Sagas {
	t.Helper()
	c, err := sdk.NewSagas(&sdk.SagasOptions{Getenv: func(name string) string { return map[string]string{"SAGAS_URL": url}[name] }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestTheSDKStartsWaitsFindsAndCancels(t *testing.T) {
	url, _, _ := serve(t, "quick", "slow")
	c := client(t, url)
	first, err := c.Start(t.Context(), "quick", map[string]string{"order": "o1"}, &sdk.StartOptions{Key: "k", Wait: 10 * time.Second})
	if err != nil || first.State != sdk.SagaCompleted || string(first.Output) != `{"n":1}` {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := c.Start(t.Context(), "quick", map[string]string{"order": "o1"}, &sdk.StartOptions{Key: "k"})
	if err != nil || again.ID != first.ID {
		t.Errorf("the same key: %+v, %v", again, err)
	}
	page, err := c.Find(t.Context(), "quick", &sdk.FindOptions{Key: "o1"})
	if err != nil || len(page.Instances) != 1 || page.Instances[0].ID != first.ID {
		t.Errorf("found %+v, %v", page, err)
	}
	pending, err := c.Start(t.Context(), "slow", nil, nil)
	if err != nil || pending.HasEnded() {
		t.Fatalf("%+v, %v", pending, err)
	}
	if _, err := c.Cancel(t.Context(), "slow", pending.ID, "no more"); err != nil {
		t.Fatal(err)
	}
	ended, err := c.Wait(t.Context(), "slow", pending.ID)
	if err != nil || ended.State != sdk.SagaCompensated || !strings.Contains(ended.Error.Text, "no more") {
		t.Errorf("%+v, %v", ended, err)
	}
}

func TestAServiceTellsTheEndOfItsOwnStepsAlone(t *testing.T) {
	url, other, engine := serve(t, "slow")
	i, err := client(t, url).Start(t.Context(), "slow", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for now, err := engine.Get(t.Context(), i.ID); now.State.Steps[0].Tasks[0].Status != saga.Pending; now, err = engine.Get(t.Context(), i.ID) {
		if err != nil {
			t.Fatal(err)
		}
	}
	path := "/slow/" + i.ID + "/steps/a"
	if err := sdk.CompleteStep(t.Context(), other+path, 1); err == nil {
		t.Error("a service has ended the step of another")
	}
	for range 2 {
		if err := sdk.CompleteStep(t.Context(), url+path, 1); err != nil {
			t.Errorf("the end, told: %v", err)
		}
	}
	if ended, err := client(t, url).Wait(t.Context(), "slow", i.ID); err != nil || ended.State != sdk.SagaCompleted {
		t.Errorf("%+v, %v", ended, err)
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	url, _, _ := serve(t, "quick")
	c := client(t, url)
	i, err := c.Start(t.Context(), "quick", map[string]string{"order": "o1"}, &sdk.StartOptions{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]struct {
		method, path, body string
		header             map[string]string
		status             int
		code               fault.Code
	}{
		"undeclared": {"POST", "/slow", "{}", nil, 403, fault.CodeSagaUndeclared},
		"an input that is not as the definition wants it": {"POST", "/quick", `{"order":7}`, nil, 422, fault.CodeSagaInput},
		"no JSON":            {"POST", "/quick", `{"order"`, nil, 400, fault.CodeBadRequest},
		"another type":       {"POST", "/quick", `{}`, map[string]string{"Content-Type": "text/plain"}, 400, fault.CodeBadRequest},
		"a key that is used": {"POST", "/quick", `{"order":"o2"}`, map[string]string{"Idempotency-Key": "k"}, 409, fault.CodeSagaKeyReused},
		"too much":           {"POST", "/quick", `"` + strings.Repeat("x", saga.MaxInput) + `"`, nil, 413, fault.CodeBodyTooLarge},
		"a page":             {"POST", "/quick", `{}`, map[string]string{"Origin": "https://example.org"}, 403, fault.CodeOriginRefused},
		"no such instance":   {"GET", "/quick/none", "", nil, 404, fault.CodeSagaInstanceUnknown},
		"no such operation":  {"DELETE", "/quick/" + i.ID, "", nil, 404, fault.CodeNoSuchOperation},
		"no time to wait":    {"GET", "/quick/" + i.ID + "?wait=soon", "", nil, 400, fault.CodeBadRequest},
		"no such state":      {"GET", "/quick?state=lost", "", nil, 400, fault.CodeBadRequest},
		"ended":              {"POST", "/quick/" + i.ID + "/cancel", `{"reason":"x"}`, nil, 409, fault.CodeSagaEnded},
		"an unknown member":  {"POST", "/quick/" + i.ID + "/cancel", `{"why":"x"}`, nil, 400, fault.CodeBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			if r.code == fault.CodeSagaEnded {
				if _, err := c.Wait(t.Context(), "quick", i.ID); err != nil {
					t.Fatal(err)
				}
			}
			req := httptest.NewRequestWithContext(t.Context(), r.method, url+r.path, strings.NewReader(r.body))
			req.RequestURI = ""
			req.Header.Set("Content-Type", "application/json")
			for k, v := range r.header {
				req.Header.Set(k, v)
			}
			res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			var p fault.Problem
			if err := json.Unmarshal(text, &p); err != nil || res.StatusCode != r.status || p.Code != r.code || p.Remedy == "" {
				t.Errorf("status %d, %s", res.StatusCode, text)
			}
			if r.code == fault.CodeSagaUndeclared && !strings.Contains(p.Remedy, "services/svc/service.yaml: sagas: [quick, slow]") {
				t.Errorf("the remedy does not name the line: %s", p.Remedy)
			}
		})
	}
}
