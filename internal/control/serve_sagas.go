package control

import (
	"net/http"
	"slices"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
)

// sagaOperations are those of sagas.
func (s *server) sagaOperations() map[string]handlerFunc {
	return map[string]handlerFunc{
		"GET /v1/sagas":                        s.sagas,
		"GET /v1/sagas/{saga}":                 s.saga,
		"POST /v1/sagas/{saga}/instances":      s.startSaga,
		"GET /v1/saga-instances":               s.sagaInstances,
		"GET /v1/saga-instances/{id}":          s.sagaInstance,
		"POST /v1/saga-instances/{id}/actions": s.actOnSaga,
		"POST /v1/saga-actions":                s.actOnSagas,
		"POST /v1/saga-migrations":             s.migrateSagas,
	}
}

func (s *server) sagas(w http.ResponseWriter, r *http.Request) error {
	list, err := s.app.Sagas(r.Context())
	return answer(w)(map[string]any{"sagas": list}, err)
}

func (s *server) saga(w http.ResponseWriter, r *http.Request) error {
	return answer(w)(s.app.Saga(r.Context(), r.PathValue("saga"), r.URL.Query().Get("version")))
}

func (s *server) sagaInstances(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	q := &api.SagaQuery{
		Saga: v.Get("saga"), States: v["state"], Key: v.Get("key"), Step: v.Get("step"), Error: v.Get("error"), Parent: v.Get("parent"), Before: v.Get("before"),
	}
	if err := checkStates(q.States); err != nil {
		return err
	}
	var err error
	if q.Since, err = moment(r, "since"); err != nil {
		return err
	}
	if q.Until, err = moment(r, "until"); err != nil {
		return err
	}
	if _, q.Limit, err = page(r, "from"); err != nil {
		return err
	}
	return answer(w)(s.app.SagaInstances(r.Context(), q))
}

// checkStates refuses what is no state of an instance.
func checkStates(states []string) error {
	known := []string{api.SagaRunning, api.SagaCompensating, api.SagaParked, api.SagaCompleted, api.SagaCompensated}
	for _, state := range states {
		if !slices.Contains(known, state) {
			return fault.New(fault.CodeBadRequest, "there is no state %.80q", state).Fix("the states are running, compensating, parked, completed and compensated")
		}
	}
	return nil
}

// maxSagaWait is how long a request may wait for the end of an instance; who wants to wait longer asks again.
const maxSagaWait = 10 * time.Minute

// sagaWait is how long a request wants to wait.
func sagaWait(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 {
		return 0, fault.New(fault.CodeBadRequest, "wait=%.80s is no time to wait", text).Fix("write it as 30s or 2m")
	}
	return min(wait, maxSagaWait), nil
}

func (s *server) sagaInstance(w http.ResponseWriter, r *http.Request) error {
	wait, err := sagaWait(r)
	if err != nil {
		return err
	}
	return answer(w)(s.app.SagaInstance(r.Context(), r.PathValue("id"), wait))
}

func (s *server) startSaga(w http.ResponseWriter, r *http.Request) error {
	wait, err := sagaWait(r)
	if err != nil {
		return err
	}
	var body api.SagaStart
	if err := readJSON(r, &body, `{"input": {"order": "o-1"}, "key": "o-1"}`); err != nil {
		return err
	}
	return answer(w)(s.app.StartSaga(r.Context(), r.PathValue("saga"), &body, wait))
}

func (s *server) actOnSaga(w http.ResponseWriter, r *http.Request) error {
	var body api.SagaAction
	if err := readJSON(r, &body, `{"action": "retry"}`); err != nil {
		return err
	}
	if err := checkAction(body.Action, api.ActionCancel, api.ActionRetry, api.ActionSkip, api.ActionOverride, api.ActionReplace); err != nil {
		return err
	}
	if body.Select != nil || body.DryRun {
		return fault.New(fault.CodeBadRequest, "select and dry_run belong to an action on many").Fix("send it to /v1/saga-actions")
	}
	return answer(w)(s.app.ActOnSaga(r.Context(), r.PathValue("id"), &body))
}

func checkAction(action string, known ...string) error {
	if slices.Contains(known, action) {
		return nil
	}
	return fault.New(fault.CodeBadRequest, "there is no action %.80q here", action).Fix("choose one of %v", known)
}

func (s *server) actOnSagas(w http.ResponseWriter, r *http.Request) error {
	var body api.SagaAction
	if err := readJSON(r, &body, `{"action": "retry", "select": {"saga": "order-to-cash", "states": ["parked"]}}`); err != nil {
		return err
	}
	if err := checkAction(body.Action, api.ActionCancel, api.ActionRetry, api.ActionSkip); err != nil {
		return err
	}
	if q := body.Select; q == nil || q.Saga == "" {
		return fault.New(fault.CodeBadRequest, "it is not said of which saga").Fix(`name it: "select": {"saga": "order-to-cash"}; states, step and error narrow it`)
	}
	if err := checkStates(body.Select.States); err != nil {
		return err
	}
	return answer(w)(s.app.ActOnSagas(r.Context(), &body))
}

func (s *server) migrateSagas(w http.ResponseWriter, r *http.Request) error {
	var body api.SagaMigration
	if err := readJSON(r, &body, `{"saga": "order-to-cash", "reason": "the new step books the revenue"}`); err != nil {
		return err
	}
	if (body.ID == "") == (body.Saga == "") {
		return fault.New(fault.CodeBadRequest, "it is not said what is to be migrated").Fix("name either the id of an instance or a saga")
	}
	return answer(w)(s.app.MigrateSagas(r.Context(), &body))
}
