package platform

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/sagahttp"
)

// needSagas is the engine, or why there is none.
func (p *Platform) needSagas() (*saga.Engine, error) {
	if e := p.sagas.current(); e != nil {
		return e, nil
	}
	return nil, fault.New(fault.CodeSagaUnknown, "the application defines no sagas").Fix("write one, and name its file under sagas in atoll.yaml")
}

// short is how a version is shown.
func short(hash string) string { return hash[:min(12, len(hash))] }

// operatorName is a person as the history names them.
func operatorName(by string) string {
	by = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, by)
	return strings.TrimSpace("operator " + by[:min(len(by), 100)])
}

// asked logs what is not for users of what the engine answered to somebody who asked for something.
func (p *Platform) asked(what string, err error) error {
	if _, known := errors.AsType[*fault.Error](err); known || err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	p.log.Error("sagas: "+what, "error", err)
	return sagahttp.Unsure()
}

// Sagas lists the definitions in force, and after them those that are gone from the manifest while instances have not ended.
func (p *Platform) Sagas(ctx context.Context) ([]api.Saga, error) {
	out := []api.Saga{}
	e := p.sagas.current()
	if e == nil {
		return out, nil
	}
	counts, err := e.Count(ctx)
	if err != nil {
		return nil, err
	}
	inForce, _ := e.Plans()
	unended, err := e.Unended(ctx)
	if err != nil {
		return nil, err
	}
	for i, plan := range slices.Concat(inForce, unended) {
		if !slices.ContainsFunc(out, func(s api.Saga) bool { return s.Saga == plan.Name }) {
			out = append(out, sagaOf(p.current(), plan, counts[plan.Name], i < len(inForce)))
		}
	}
	return out, nil
}

// Saga is a definition.
func (p *Platform) Saga(ctx context.Context, name, version string) (api.Saga, error) {
	e, err := p.needSagas()
	if err != nil {
		return api.Saga{}, err
	}
	inForce, known := e.Plans()
	at := slices.IndexFunc(known, func(plan *saga.Plan) bool {
		return plan.Name == name && version != "" && strings.HasPrefix(plan.Hash, version)
	})
	var plan *saga.Plan
	switch {
	case at >= 0:
		plan = known[at]
	case version != "":
		return api.Saga{}, fault.New(fault.CodeSagaUnknown, "no instance runs a version %.80q of %.80q", version, name).Fix("see the one in force without a version")
	default:
		if plan, err = e.Plan(ctx, name, ""); err != nil {
			unended, failed := e.Unended(ctx)
			at := slices.IndexFunc(unended, func(plan *saga.Plan) bool { return plan.Name == name })
			if failed != nil || at < 0 {
				return api.Saga{}, err
			}
			plan = unended[at]
		}
	}
	counts, err := e.Count(ctx)
	if err != nil {
		return api.Saga{}, err
	}
	out := sagaOf(p.current(), plan, counts[name], slices.Contains(inForce, plan))
	out.Definition = plan.Source
	return out, nil
}

func sagaOf(app *manifest.App, plan *saga.Plan, counts map[saga.Phase]int, inForce bool) api.Saga {
	def := plan.Saga
	out := api.Saga{
		Saga: plan.Name, Version: short(plan.Hash), Owner: def.Owner, Summary: def.Summary, File: def.File, InForce: inForce,
		Key: def.Key, Lock: def.Lock, StartedBy: []api.SagaStarter{}, Instances: map[string]int{}, Steps: stepsOf(plan),
	}
	if inForce {
		out.StartedBy = starters(app, def)
	}
	if plan.Timeout > 0 {
		out.Timeout = plan.Timeout.String()
	}
	for phase, n := range counts {
		out.Instances[string(phase)] = n
	}
	return out
}

// starters lists what may start a saga.
func starters(app *manifest.App, def *manifest.Saga) []api.SagaStarter {
	out := []api.SagaStarter{}
	for _, s := range app.Services {
		if slices.Contains(s.Sagas, def.Name) {
			out = append(out, api.SagaStarter{Kind: api.StarterService, Name: s.Name})
		}
	}
	for i := range app.Gateway.Routes {
		if r := &app.Gateway.Routes[i]; r.Start == def.Name {
			out = append(out, api.SagaStarter{Kind: api.StarterRoute, Name: r.Host + r.Path})
		}
	}
	for _, s := range def.Start {
		if s.Event != "" {
			out = append(out, api.SagaStarter{Kind: api.StarterEvent, Name: s.Event})
		} else {
			out = append(out, api.SagaStarter{Kind: api.StarterSchedule, Name: s.Name, When: s.Cron.String()})
		}
	}
	return out
}

// stepsOf are the steps of a plan, as its definition has them.
func stepsOf(plan *saga.Plan) []api.SagaStep {
	out := make([]api.SagaStep, len(plan.Steps))
	for i := range plan.Steps {
		step, def := &plan.Steps[i], &plan.Saga.Steps[i]
		out[i] = api.SagaStep{Step: step.Name, Kind: string(step.Kind), Role: string(step.Role), After: []string{}, Does: doesText(def), When: def.When}
		for _, from := range step.After {
			out[i].After = append(out[i].After, plan.Steps[from].Name)
		}
		switch {
		case def.Undo != nil && !def.Undo.None():
			out[i].Undo = callText(def.Undo.Call)
		case step.Revocable:
			out[i].Undo = "compensate " + step.Child
		}
		if def.Each != nil {
			out[i].Each = def.Each.In
		}
		out[i].Async = def.Do != nil && def.Do.Async != nil
	}
	return out
}

// doesText says what a step does.
func doesText(def *manifest.SagaStep) string {
	switch {
	case def.Do != nil:
		return callText(def.Do.Call)
	case def.Child != nil:
		return "saga " + def.Child.Saga
	case def.Wait != nil:
		return "event " + def.Wait.Event
	case def.Sleep != "":
		return "sleep " + def.Sleep
	}
	return "until " + def.Until
}

func callText(call string) string {
	method, service, path, ok := manifest.ParseSagaCall(call)
	if !ok {
		return call
	}
	return method + " " + service + path
}

// sagaUses lists what a service does in sagas.
func sagaUses(app *manifest.App, service string) []api.SagaUse {
	out := []api.SagaUse{}
	for _, def := range app.Sagas {
		use := api.SagaUse{Saga: def.Name}
		for i := range def.Steps {
			step := &def.Steps[i]
			calls := func(call string) bool {
				_, name, _, ok := manifest.ParseSagaCall(call)
				return ok && name == service
			}
			if step.Do != nil && calls(step.Do.Call) || step.Undo != nil && calls(step.Undo.Call) {
				use.Steps = append(use.Steps, step.Name)
			}
		}
		if len(use.Steps) > 0 {
			out = append(out, use)
		}
	}
	return out
}

func sagaInstanceOf(i *saga.Instance) api.SagaInstance {
	out := api.SagaInstance{
		ID: i.ID, Saga: i.Saga, Version: short(i.Version), Key: i.Key, State: string(i.Phase), Parent: i.Parent, Started: i.Started, Ended: i.Ended,
	}
	if i.Error != "" {
		out.Error = &api.SagaError{Step: i.Step, Text: i.Error}
	}
	return out
}

func sagaQueryOf(q *api.SagaQuery) *saga.Query {
	out := &saga.Query{
		Saga: q.Saga, Key: q.Key, Step: q.Step, Error: q.Error, Parent: q.Parent, From: q.Since, To: q.Until, Before: q.Before, Limit: q.Limit,
	}
	for _, state := range q.States {
		out.Phases = append(out.Phases, saga.Phase(state))
	}
	return out
}

// SagaInstances is a page of instances.
func (p *Platform) SagaInstances(ctx context.Context, q *api.SagaQuery) (api.SagaInstances, error) {
	out := api.SagaInstances{Instances: []api.SagaInstance{}}
	e := p.sagas.current()
	if e == nil {
		return out, nil
	}
	list, err := e.Find(ctx, sagaQueryOf(q))
	if err != nil {
		return out, err
	}
	for _, i := range list {
		out.Instances = append(out.Instances, sagaInstanceOf(i))
	}
	if len(list) == q.Limit {
		out.Next = list[len(list)-1].ID
	}
	return out, nil
}

// SagaInstance is an instance with its history.
func (p *Platform) SagaInstance(ctx context.Context, id string, wait time.Duration) (api.SagaDetail, error) {
	e, err := p.needSagas()
	if err != nil {
		return api.SagaDetail{}, err
	}
	if wait > 0 {
		waiting, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		if _, err := e.Wait(waiting, id); err != nil {
			return api.SagaDetail{}, err
		}
	}
	return sagaDetail(ctx, e, id)
}

// sagaDetail reads all that is known of an instance.
func sagaDetail(ctx context.Context, e *saga.Engine, id string) (api.SagaDetail, error) {
	i, err := e.Get(ctx, id)
	if err != nil {
		return api.SagaDetail{}, err
	}
	plan, err := e.Plan(ctx, i.Saga, i.Version)
	if err != nil {
		return api.SagaDetail{}, err
	}
	history, err := e.History(ctx, id)
	if err != nil {
		return api.SagaDetail{}, err
	}
	s := i.State
	out := api.SagaDetail{
		SagaInstance: sagaInstanceOf(i), Compensating: s.Back, Input: i.Input, Output: i.Output, Lock: s.Lock, Locked: s.Locked, Deadline: s.Deadline,
		Steps: stepStatuses(plan, s), History: recordsOf(plan, history),
	}
	if len(history) > 0 {
		out.By = history[0].By
	}
	if trace, _, _, ok := relay.ParseTraceparent(s.Trace); ok {
		out.TraceID = trace.String()
	}
	if current, err := e.Plan(ctx, i.Saga, ""); err == nil && current.Hash != i.Version {
		out.Newer = short(current.Hash)
	}
	if slices.ContainsFunc(plan.Steps, func(s saga.Step) bool { return s.Kind == saga.KindChild }) {
		children, err := e.Find(ctx, &saga.Query{Parent: id, Limit: saga.MaxItems})
		if err != nil {
			return out, err
		}
		for _, child := range slices.Backward(children) {
			out.Children = append(out.Children, sagaInstanceOf(child))
		}
	}
	return out, nil
}

// taskName names a task as people do: the step's name, and the place of the item.
func taskName(plan *saga.Plan, step string, item int) string {
	at := slices.IndexFunc(plan.Steps, func(s saga.Step) bool { return s.Name == step })
	if at >= 0 && plan.Steps[at].Each != nil || item > 0 {
		return step + "." + strconv.Itoa(item)
	}
	return step
}

// recordsOf is the history, with the names of tasks.
func recordsOf(plan *saga.Plan, history []saga.Record) []api.SagaRecord {
	out := make([]api.SagaRecord, len(history))
	for i := range history {
		r := &history[i]
		out[i] = api.SagaRecord{
			At: r.At, Kind: string(r.Kind), Undo: r.Undo, Attempt: r.Attempt, Status: r.Status, TookMS: float64(r.Took.Microseconds()) / 1000, Text: r.Text,
			Replica: r.Replica, By: r.By, Data: r.Data,
		}
		if r.Step != "" {
			out[i].Task = taskName(plan, r.Step, r.Item)
		}
		if r.Kind == saga.RecordSkipped {
			out[i].Task = r.Step
		}
	}
	return out
}

// stepStatuses are the steps of an instance, and how far they have come.
func stepStatuses(plan *saga.Plan, s *saga.State) []api.SagaStepStatus {
	steps := stepsOf(plan)
	out := make([]api.SagaStepStatus, len(steps))
	for i := range steps {
		st := &s.Steps[i]
		out[i] = api.SagaStepStatus{SagaStep: steps[i], State: stepState(st), Output: st.Output}
		for j := range st.Tasks {
			out[i].Tasks = append(out[i].Tasks, taskOf(taskName(plan, steps[i].Step, j), &st.Tasks[j]))
		}
	}
	return out
}

func taskOf(name string, t *saga.Task) api.SagaTask {
	out := api.SagaTask{
		Task: name, State: string(t.Status), Attempt: t.Attempt, Due: t.Due, Text: t.Text, Passed: t.Skipped, Child: t.Child, Topic: t.Topic, Key: t.WaitKey,
	}
	if t.Status == saga.Idle {
		out.State = api.StepOpen
	}
	if r := t.Request; r != nil {
		out.Request = &api.SagaRequest{Service: r.Service, Method: r.Method, Path: r.Path, Headers: r.Headers, Body: r.Body}
	}
	return out
}

// stepState is what of a step's tasks matters most.
func stepState(st *saga.StepState) string {
	switch {
	case st.Skipped:
		return api.StepSkipped
	case !st.Begun:
		return api.StepOpen
	}
	has := map[saga.Status]bool{}
	for i := range st.Tasks {
		has[st.Tasks[i].Status] = true
	}
	for _, c := range []struct {
		state string
		of    []saga.Status
	}{
		{api.StepParked, []saga.Status{saga.Stuck}},
		{api.StepUndoing, []saga.Status{saga.Undoing, saga.Revoking}},
		{api.StepRunning, []saga.Status{saga.Calling, saga.Pending, saga.Waiting, saga.Sleeping, saga.Nested}},
		{api.StepFailed, []saga.Status{saga.Failed, saga.Refused}},
		{api.StepUndone, []saga.Status{saga.Undone}},
		{api.StepRunning, []saga.Status{saga.Idle}},
	} {
		if slices.ContainsFunc(c.of, func(s saga.Status) bool { return has[s] }) {
			return c.state
		}
	}
	return api.StepDone
}
