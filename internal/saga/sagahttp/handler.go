package sagahttp

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/saga"
)

const (
	maxBody     = saga.MaxInput
	maxWait     = 5 * time.Minute
	maxPage     = 1000
	defaultPage = 50
)

// Declared is what a service's manifest says of sagas.
type Declared struct {
	Sagas []string // that it may start, ask for and cancel
	File  string   // of its manifest, for people
}

// Options of Handler.
type Options struct {
	Service string
	// Declared is what is in force now.
	Declared func() Declared
	// Engine is nil while there is none.
	Engine func() *saga.Engine
	Logger *slog.Logger
}

// Handler answers one service.
func Handler(o Options) http.Handler {
	h := &handler{o}
	mux := http.NewServeMux()
	for pattern, f := range map[string]handlerFunc{
		"POST /{saga}": h.start, "GET /{saga}": h.find, "GET /{saga}/{id}": h.get, "POST /{saga}/{id}/cancel": h.cancel,
		"POST /{saga}/{id}/steps/{step}": h.complete,
	} {
		mux.Handle(pattern, h.adapt(f))
	}
	mux.Handle("/", h.adapt(func(_ http.ResponseWriter, r *http.Request, _ *saga.Engine) error {
		return fault.New(fault.CodeNoSuchOperation, "sagas have no %s %s", r.Method, r.URL.Path).
			Fix("start one by POST $SAGAS_URL/NAME, ask for it by GET $SAGAS_URL/NAME/ID")
	}))
	return mux
}

type handler struct{ o Options }

type handlerFunc func(w http.ResponseWriter, r *http.Request, e *saga.Engine) error

// adapt makes problem documents of errors, and refuses what a page in a browser sends.
func (h *handler) adapt(f handlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		engine := h.o.Engine()
		switch {
		case r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "":
			err = fault.New(fault.CodeOriginRefused, "a page in a browser may not use sagas").Fix("let the page call a service, or start a saga by a route of the gateway")
		case engine == nil:
			err = fault.New(fault.CodeSagaBusy, "the saga engine is not there yet").Fix("try again in a moment")
		default:
			err = f(w, r, engine)
		}
		if err != nil && r.Context().Err() == nil {
			h.fail(w, r, err)
		}
	})
}

// fail answers with the problem that an error is.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		h.o.Logger.Error("saga request failed", "service", h.o.Service, "method", r.Method, "path", r.URL.Path, "error", err)
		e = Unsure()
	}
	Refuse(w, r.URL.Path, e)
}

// Unsure is what somebody is told who asked for something of which nobody knows whether it has happened.
func Unsure() *fault.Error {
	return fault.New(fault.CodeSagaUnsure, "it is not known whether this has happened").
		Fix("ask again: a start by the same Idempotency-Key starts one instance only")
}

// Refuse answers with a problem document.
func Refuse(w http.ResponseWriter, path string, e *fault.Error) {
	status := StatusOf(e.Code)
	p := fault.ProblemFor(e, status)
	p.Instance = path
	w.Header().Set("Content-Type", fault.ProblemType)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_, _ = w.Write(p.JSON()) // the client may be gone
}

// StatusOf is the HTTP status of a refusal.
func StatusOf(code fault.Code) int {
	switch code { //nolint:exhaustive // all others are mistakes of who asks
	case fault.CodeSagaUndeclared, fault.CodeOriginRefused:
		return http.StatusForbidden
	case fault.CodeSagaUnknown, fault.CodeSagaInstanceUnknown, fault.CodeNoSuchOperation:
		return http.StatusNotFound
	case fault.CodeSagaKeyReused, fault.CodeSagaPastPivot, fault.CodeSagaEnded, fault.CodeSagaCallback, fault.CodeSagaStep, fault.CodeSagaMigration:
		return http.StatusConflict
	case fault.CodeSagaInput:
		return http.StatusUnprocessableEntity
	case fault.CodeBodyTooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.CodeSagaBusy, fault.CodeSagaUnsure, fault.CodeSagaStoreUnreachable:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// allowed refuses a saga that the service does not declare.
func (h *handler) allowed(name string) error {
	d := h.o.Declared()
	if slices.Contains(d.Sagas, name) {
		return nil
	}
	return fault.New(fault.CodeSagaUndeclared, "%s does not declare that it uses the saga %.80q", h.o.Service, name).
		Fix("add to %s: sagas: [%s]", d.File, strings.Join(append(slices.Clone(d.Sagas), name), ", "))
}

func (h *handler) start(w http.ResponseWriter, r *http.Request, e *saga.Engine) error {
	name := r.PathValue("saga")
	if err := h.allowed(name); err != nil {
		return err
	}
	input, err := readJSON(w, r)
	if err != nil {
		return err
	}
	wait, err := preferred(r)
	if err != nil {
		return err
	}
	i, err := e.StartAndWait(r.Context(), saga.Ask{
		Saga: name, Input: input, Idem: r.Header.Get("Idempotency-Key"), Trace: r.Header.Get("Traceparent"), By: "service " + h.o.Service,
	}, wait)
	if err != nil {
		return err
	}
	status := http.StatusAccepted
	if i.Phase.Ended() {
		status = http.StatusOK
	}
	w.Header().Set("Location", "/"+name+"/"+i.ID)
	return writeJSON(w, status, View(i))
}

// await waits for the end of an instance for so long.
func await(ctx context.Context, e *saga.Engine, i *saga.Instance, wait time.Duration) (*saga.Instance, error) {
	if wait <= 0 || i.Phase.Ended() {
		return i, nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return e.Wait(ctx, i.ID)
}

// preferred is how long a client prefers to wait: Prefer: wait=SECONDS (RFC 7240), or the parameter wait.
func preferred(r *http.Request) (time.Duration, error) {
	return WaitOf(r.Header.Get("Prefer"), r.URL.Query().Get("wait"))
}

// WaitOf reads how long a client prefers to wait, from the header Prefer or a parameter.
func WaitOf(prefer, parameter string) (time.Duration, error) {
	for part := range strings.FieldsFuncSeq(prefer, func(c rune) bool { return c == ',' || c == ';' }) {
		if seconds, ok := strings.CutPrefix(strings.ReplaceAll(part, " ", ""), "wait="); ok {
			n, err := strconv.Atoi(strings.Trim(seconds, `"`))
			if err != nil || n < 0 {
				return 0, fault.New(fault.CodeBadRequest, "Prefer: %.80s is no time to wait", prefer).Fix("write whole seconds, such as Prefer: wait=30")
			}
			return min(time.Duration(n)*time.Second, maxWait), nil
		}
	}
	if parameter == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(parameter)
	if err != nil || d < 0 {
		return 0, fault.New(fault.CodeBadRequest, "wait=%.80s is no time to wait", parameter).Fix("write it as 30s or 2m")
	}
	return min(d, maxWait), nil
}

func (h *handler) get(w http.ResponseWriter, r *http.Request, e *saga.Engine) error {
	i, err := h.known(r, e)
	if err != nil {
		return err
	}
	wait, err := preferred(r)
	if err == nil {
		i, err = await(r.Context(), e, i, wait)
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, View(i))
}

// known is the instance that a request names, if the service may have to do with it.
func (h *handler) known(r *http.Request, e *saga.Engine) (*saga.Instance, error) {
	name := r.PathValue("saga")
	if err := h.allowed(name); err != nil {
		return nil, err
	}
	i, err := e.Get(r.Context(), r.PathValue("id"))
	if err == nil && i.Saga != name {
		err = fault.New(fault.CodeSagaInstanceUnknown, "%s has no instance %.80q", name, r.PathValue("id")).Fix("it is one of %s", i.Saga)
	}
	return i, err
}

func (h *handler) find(w http.ResponseWriter, r *http.Request, e *saga.Engine) error {
	name := r.PathValue("saga")
	if err := h.allowed(name); err != nil {
		return err
	}
	v := r.URL.Query()
	q := &saga.Query{Saga: name, Key: v.Get("key"), Before: v.Get("before"), Limit: defaultPage}
	for _, state := range v["state"] {
		if !slices.Contains(saga.Phases(), saga.Phase(state)) {
			return fault.New(fault.CodeBadRequest, "there is no state %.80q", state).Fix("the states are running, compensating, parked, completed and compensated")
		}
		q.Phases = append(q.Phases, saga.Phase(state))
	}
	if text := v.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fault.New(fault.CodeBadRequest, "limit=%.80s is no number", text).Fix("write a number from 1 to %d", maxPage)
		}
		q.Limit = min(n, maxPage)
	}
	list, err := e.Find(r.Context(), q)
	if err != nil {
		return err
	}
	out := struct {
		Instances []Instance `json:"instances"`
		Next      string     `json:"next,omitempty"` // give it as before
	}{Instances: []Instance{}}
	for _, i := range list {
		out.Instances = append(out.Instances, View(i))
	}
	if len(list) == q.Limit {
		out.Next = list[len(list)-1].ID
	}
	return writeJSON(w, http.StatusOK, out)
}

func (h *handler) cancel(w http.ResponseWriter, r *http.Request, e *saga.Engine) error {
	i, err := h.known(r, e)
	if err != nil {
		return err
	}
	var body struct {
		Reason string `json:"reason"`
	}
	if err := decode(w, r, &body, `{"reason": "the customer has changed her mind"}`); err != nil {
		return err
	}
	i, err = e.Act(r.Context(), i.ID, &saga.Action{Kind: saga.EventCancel, By: "service " + h.o.Service, Reason: body.Reason})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, View(i))
}

// complete takes the end of a step from the service that it calls.
func (h *handler) complete(w http.ResponseWriter, r *http.Request, e *saga.Engine) error {
	i, err := e.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	step := r.PathValue("step")
	if err := h.calls(r.Context(), e, i, step); err != nil {
		return err
	}
	var body struct {
		Output  json.RawMessage `json:"output"`
		Refused *string         `json:"refused"`
	}
	if err := decode(w, r, &body, `{"output": {"id": "s-17"}} or {"refused": "why"}`); err != nil {
		return err
	}
	result := saga.Result{Verdict: saga.Answered, Answer: saga.Answer{Status: 200, Body: body.Output}, By: h.o.Service}
	if body.Refused != nil {
		result = saga.Result{Verdict: saga.Failure, Text: *body.Refused, By: h.o.Service}
	}
	if err := e.Complete(r.Context(), i.ID, step, "service "+h.o.Service, result); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// calls refuses the end of a step from who is not called by it.
func (h *handler) calls(ctx context.Context, e *saga.Engine, i *saga.Instance, task string) error {
	plan, err := e.Plan(ctx, i.Saga, i.Version)
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(task, ".")
	for k := range plan.Steps {
		if s := &plan.Steps[k]; (s.Name == name || i.State.Steps[k].Name == name) && s.Do != nil && s.Do.Service == h.o.Service {
			return nil
		}
	}
	return fault.New(fault.CodeSagaCallback, "%s has no step %.80q that calls %s", i.Saga, name, h.o.Service).
		Fix("tell the end of a step at the address that its call had in Atoll-Callback")
}

// Instance is an instance as JSON.
type Instance struct {
	ID      string          `json:"id"`
	Saga    string          `json:"saga"`
	Version string          `json:"version"` // the first 12 digits of the definition's hash
	Key     string          `json:"key,omitempty"`
	State   saga.Phase      `json:"state"`
	Input   json.RawMessage `json:"input,omitempty"`
	Output  json.RawMessage `json:"output,omitempty"`
	Error   *Error          `json:"error,omitempty"`
	Started time.Time       `json:"started"`
	Ended   time.Time       `json:"ended,omitzero"`
}

// Error is why an instance is being compensated, or what is parked.
type Error struct {
	Step string `json:"step,omitempty"`
	Text string `json:"text"`
}

// View is an instance as JSON has it.
func View(i *saga.Instance) Instance {
	out := Instance{
		ID: i.ID, Saga: i.Saga, Version: i.Version[:min(12, len(i.Version))], Key: i.Key, State: i.Phase, Input: i.Input, Output: i.Output,
		Started: i.Started, Ended: i.Ended,
	}
	if i.Error != "" {
		out.Error = &Error{i.Step, i.Error}
	}
	return out
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // who has gone asks again
	return nil
}

// readJSON reads a body that is any JSON; an empty one is null.
func readJSON(w http.ResponseWriter, r *http.Request) (json.RawMessage, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, fault.New(fault.CodeBodyTooLarge, "the body has more than %d bytes", maxBody).Fix("put what is large elsewhere, and its address into the input")
		}
		return nil, fault.New(fault.CodeBadRequest, "the body ends before its end").Fix("send all of it").Because(err)
	}
	if len(body) == 0 {
		return json.RawMessage("null"), nil
	}
	return body, CheckJSON(r.Header.Get("Content-Type"), body)
}

// CheckJSON refuses a body that is no JSON.
func CheckJSON(contentType string, body []byte) error {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" && !strings.HasSuffix(media, "+json") {
		return fault.New(fault.CodeBadRequest, "the body is not application/json, but %.80q", contentType).Fix("send JSON, with Content-Type: application/json")
	}
	if !json.Valid(body) {
		return fault.New(fault.CodeBadRequest, "the body is not JSON").Fix("send one JSON value, such as {\"order\": \"o-17\"}")
	}
	return nil
}

// decode reads a body of known keys, of which an example is given.
func decode(w http.ResponseWriter, r *http.Request, to any, example string) error {
	body, err := readJSON(w, r)
	if err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return fault.New(fault.CodeBadRequest, "the body cannot be read").Fix("send %s", example).Because(err)
	}
	return nil
}
