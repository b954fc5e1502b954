package control_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
)

// sagasAsked is what was last asked for.
type sagasAsked struct {
	query   api.SagaQuery
	wait    time.Duration
	start   api.SagaStart
	action  api.SagaAction
	migrate api.SagaMigration
}

func step() api.SagaStep {
	return api.SagaStep{Step: "charge", Kind: "call", Role: api.RolePivot, After: []string{"invoice"}, Does: "POST billing/charges", Undo: "POST billing/refunds", When: "true", Each: "${input.lines}", Async: true}
}

func definition() api.Saga {
	return api.Saga{
		Saga: "cash", Version: "ab", Owner: "finance", Summary: "x", File: "sagas/a.yaml", InForce: true, Key: "${input.order}", Lock: "l", Timeout: "24h0m0s",
		StartedBy: []api.SagaStarter{{Kind: api.StarterSchedule, Name: "nightly", When: "0 2 * * *"}}, Instances: map[string]int{"parked": 1}, Steps: []api.SagaStep{step()},
	}
}

func instance() api.SagaInstance {
	return api.SagaInstance{
		ID: "i-1", Saga: "cash", Version: "ab", Key: "o-1", State: api.SagaParked, Error: &api.SagaError{Step: "charge", Text: "no"}, Parent: "i-0", Started: at(), Ended: at(),
	}
}

func detail() api.SagaDetail {
	null := json.RawMessage("null")
	return api.SagaDetail{
		SagaInstance: instance(), By: "operator ann", Compensating: true, Input: null, Output: null, Lock: "l", Locked: true, Deadline: at(), TraceID: "ab", Newer: "cd",
		Steps: []api.SagaStepStatus{{SagaStep: step(), State: api.StepParked, Output: null, Tasks: []api.SagaTask{{
			Task: "charge.0", State: "parked", Attempt: 2, Due: at(), Text: "no", Passed: true, Child: "c", Topic: "t", Key: "k",
			Request: &api.SagaRequest{Service: "billing", Method: "POST", Path: "/charges", Headers: map[string]string{"A": "b"}, Body: null},
		}}}},
		Children: []api.SagaInstance{instance()},
		History: []api.SagaRecord{{
			At: at(), Kind: "failed", Task: "charge.0", Undo: true, Attempt: 1, Status: 503, TookMS: 0.5, Text: "no", Replica: "billing-1", By: "operator ann", Data: null,
		}},
	}
}

func (a *app) Sagas(context.Context) ([]api.Saga, error) { return []api.Saga{definition()}, nil }

func (a *app) Saga(_ context.Context, name, _ string) (api.Saga, error) {
	if name != "cash" {
		return api.Saga{}, fault.New(fault.CodeSagaUnknown, "there is no saga").Fix("look")
	}
	d := definition()
	d.Definition = json.RawMessage(`{"saga":"cash"}`)
	return d, nil
}

func (a *app) SagaInstances(_ context.Context, q *api.SagaQuery) (api.SagaInstances, error) {
	a.sagas.query = *q
	return api.SagaInstances{Instances: []api.SagaInstance{instance()}, Next: "i-1"}, nil
}

func (a *app) SagaInstance(_ context.Context, id string, wait time.Duration) (api.SagaDetail, error) {
	if id != "i-1" {
		return api.SagaDetail{}, fault.New(fault.CodeSagaInstanceUnknown, "there is none").Fix("look")
	}
	a.sagas.wait = wait
	return detail(), nil
}

func (a *app) StartSaga(_ context.Context, _ string, s *api.SagaStart, _ time.Duration) (api.SagaDetail, error) {
	a.sagas.start = *s
	if string(s.Input) == "7" {
		return api.SagaDetail{}, fault.New(fault.CodeSagaInput, "7 is no order").Fix("send one")
	}
	return detail(), nil
}

func (a *app) ActOnSaga(_ context.Context, _ string, x *api.SagaAction) (api.SagaDetail, error) {
	a.sagas.action = *x
	if x.Action == api.ActionSkip && x.Reason == "" {
		return api.SagaDetail{}, fault.New(fault.CodeSagaReason, "nobody will know why").Fix("say why")
	}
	if x.Action == api.ActionCancel {
		return api.SagaDetail{}, fault.New(fault.CodeSagaPastPivot, "too late").Fix("wait")
	}
	return detail(), nil
}

func (a *app) ActOnSagas(_ context.Context, x *api.SagaAction) (api.SagaActed, error) {
	a.sagas.action = *x
	return api.SagaActed{Found: 2, Done: 1, Failed: []api.SagaFailure{{ID: "i-1", Fault: fault.New(fault.CodeSagaStep, "not parked").Fix("look")}}, More: true}, nil
}

func (a *app) MigrateSagas(_ context.Context, m *api.SagaMigration) (api.SagaMigrated, error) {
	a.sagas.migrate = *m
	return api.SagaMigrated{Version: "cd", Instances: []api.SagaMigratedItem{{ID: "i-1", From: "ab", Fault: fault.New(fault.CodeSagaMigration, "no").Fix("x")}}, More: true}, nil
}

func TestAnswersAboutSagasAreAsTheDescriptionSays(t *testing.T) {
	_, h := serve(t)
	_, schema := description(t)
	for _, c := range []struct {
		request, body string
		status        int
		schema        string
	}{
		{"GET /v1/sagas", "", 200, "Sagas"},
		{"GET /v1/sagas/cash?version=ab", "", 200, "Saga"},
		{"GET /v1/sagas/none", "", 404, "Problem"},
		{"POST /v1/sagas/cash/instances?wait=1s", `{"input": {"a": 1}, "key": "k", "by": "ann"}`, 200, "SagaDetail"},
		{"POST /v1/sagas/cash/instances?wait=soon", `{"input": 1}`, 400, "Problem"},
		{"POST /v1/sagas/cash/instances", `{"input": 7}`, 422, "Problem"},
		{"POST /v1/sagas/cash/instances", `{"inputs": 7}`, 400, "Problem"},
		{"GET /v1/saga-instances", "", 200, "SagaInstances"},
		{"GET /v1/saga-instances?state=lost", "", 400, "Problem"},
		{"GET /v1/saga-instances?since=yesterday", "", 400, "Problem"},
		{"GET /v1/saga-instances?until=x", "", 400, "Problem"},
		{"GET /v1/saga-instances?limit=x", "", 400, "Problem"},
		{"GET /v1/saga-instances/i-1?wait=30s", "", 200, "SagaDetail"},
		{"GET /v1/saga-instances/i-1?wait=-1s", "", 400, "Problem"},
		{"GET /v1/saga-instances/none", "", 404, "Problem"},
		{"POST /v1/saga-instances/i-1/actions", `{"action": "retry", "step": "charge"}`, 200, "SagaDetail"},
		{"POST /v1/saga-instances/i-1/actions", `{"action": "skip"}`, 400, "Problem"},
		{"POST /v1/saga-instances/i-1/actions", `{"action": "cancel"}`, 409, "Problem"},
		{"POST /v1/saga-instances/i-1/actions", `{"action": "granted"}`, 400, "Problem"},
		{"POST /v1/saga-instances/i-1/actions", `{"action": "retry", "dry_run": true}`, 400, "Problem"},
		{"POST /v1/saga-actions", `{"action": "retry", "select": {"saga": "cash", "states": ["parked"]}}`, 200, "SagaActed"},
		{"POST /v1/saga-actions", `{"action": "retry"}`, 400, "Problem"},
		{"POST /v1/saga-actions", `{"action": "retry", "select": {"saga": "cash", "states": ["lost"]}}`, 400, "Problem"},
		{"POST /v1/saga-actions", `{"action": "override", "select": {"saga": "cash"}}`, 400, "Problem"},
		{"POST /v1/saga-migrations", `{"saga": "cash", "version": "ab", "steps": {"a": "b"}, "reason": "x", "dry_run": true}`, 200, "SagaMigrated"},
		{"POST /v1/saga-migrations", `{"saga": "cash", "id": "i-1"}`, 400, "Problem"},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		w := do(t, h, method, path, c.body)
		if w.Code != c.status {
			t.Errorf("%s %s: status %d, want %d: %s", c.request, c.body, w.Code, c.status, w.Body)
			continue
		}
		v, err := jsonschema.UnmarshalJSON(w.Body)
		if err != nil {
			t.Fatalf("%s: %v", c.request, err)
		}
		if err := schema(c.schema).Validate(v); err != nil {
			t.Errorf("%s: %v", c.request, err)
		}
	}
}

func TestWhatIsAskedOfSagasReachesThem(t *testing.T) {
	a, h := serve(t)
	do(t, h, "GET", "/v1/saga-instances?saga=cash&state=parked&state=running&key=o-1&step=charge&error=no&parent=p&before=i-9&since=2026-01-02T03:04:05Z&until=2026-01-02T03:04:06Z&limit=7", "")
	q := a.sagas.query
	if q.Saga != "cash" || strings.Join(q.States, ",") != "parked,running" || q.Key != "o-1" || q.Step != "charge" || q.Error != "no" || q.Parent != "p" ||
		q.Before != "i-9" || q.Limit != 7 || q.Until.Sub(q.Since) != time.Second {
		t.Errorf("the query came as %+v", q)
	}
	do(t, h, "GET", "/v1/saga-instances/i-1?wait=20h", "")
	if a.sagas.wait != 10*time.Minute {
		t.Errorf("a request waits %s", a.sagas.wait)
	}
	do(t, h, "POST", "/v1/saga-instances/i-1/actions", `{"action": "replace", "step": "charge", "by": "ann", "reason": "why", "request": {"service": "billing", "method": "PUT", "path": "/x"}}`)
	if x := a.sagas.action; x.Step != "charge" || x.By != "ann" || x.Reason != "why" || x.Request == nil || x.Request.Path != "/x" {
		t.Errorf("the action came as %+v", x)
	}
	do(t, h, "POST", "/v1/saga-migrations", `{"id": "i-1", "steps": {"a": "b"}}`)
	if m := a.sagas.migrate; m.ID != "i-1" || m.Steps["a"] != "b" {
		t.Errorf("the migration came as %+v", m)
	}
}
