package platform

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/saga"
)

// Bounds of what one request does with many instances.
const (
	mostActed   = 10_000
	actedAtOnce = 16
	failedShown = 20
)

// StartSaga starts an instance for an operator.
func (p *Platform) StartSaga(ctx context.Context, name string, s *api.SagaStart, wait time.Duration) (api.SagaDetail, error) {
	e, err := p.needSagas()
	if err != nil {
		return api.SagaDetail{}, err
	}
	input := s.Input
	if len(input) == 0 {
		input = json.RawMessage("null")
	}
	trace := relay.NewTrace()
	i, err := e.Start(ctx, saga.Ask{Saga: name, Input: input, Idem: s.Key, Trace: trace.Traceparent(), By: operatorName(s.By)})
	if err != nil {
		return api.SagaDetail{}, p.asked("start for an operator", err)
	}
	return p.SagaInstance(ctx, i.ID, wait)
}

// actionOf is what the engine is asked for. Its events have the names of the actions.
func actionOf(a *api.SagaAction) *saga.Action {
	out := &saga.Action{Kind: saga.EventKind(a.Action), Task: a.Step, By: operatorName(a.By), Reason: strings.TrimSpace(a.Reason), Output: a.Output}
	if r := a.Request; r != nil {
		out.Request = &saga.Request{Service: r.Service, Method: r.Method, Path: r.Path, Headers: r.Headers, Body: r.Body}
	}
	return out
}

// ActOnSaga does what an operator asks for with one instance.
func (p *Platform) ActOnSaga(ctx context.Context, id string, a *api.SagaAction) (api.SagaDetail, error) {
	e, err := p.needSagas()
	if err != nil {
		return api.SagaDetail{}, err
	}
	if r := a.Request; r != nil && p.current().Service(r.Service) == nil {
		return api.SagaDetail{}, unknownService(p.current(), r.Service)
	}
	if _, err := e.Act(ctx, id, actionOf(a)); err != nil {
		return api.SagaDetail{}, p.asked(a.Action, err)
	}
	return sagaDetail(ctx, e, id)
}

// ActOnSagas does what an operator asks for with all that a query finds.
func (p *Platform) ActOnSagas(ctx context.Context, a *api.SagaAction) (api.SagaActed, error) {
	out := api.SagaActed{Failed: []api.SagaFailure{}}
	e, err := p.needSagas()
	if err != nil {
		return out, err
	}
	if a.Action == api.ActionSkip && strings.TrimSpace(a.Reason) == "" {
		_, err := e.Act(ctx, "", actionOf(a)) // says that there must be a reason
		return out, err
	}
	q := sagaQueryOf(a.Select)
	if len(q.Phases) == 0 {
		q.Phases = []saga.Phase{saga.Parked}
		if a.Action == api.ActionCancel {
			q.Phases = append(q.Phases, saga.Running)
		}
	}
	found, more, err := findAll(ctx, e, q, func(*saga.Instance) bool { return true })
	if err != nil {
		return out, err
	}
	out.Found, out.More = len(found), more
	if a.DryRun {
		return out, nil
	}
	action := actionOf(a)
	action.Task = wantedTask(a)
	actOnAll(found, func(i *saga.Instance) error {
		_, err := e.Act(ctx, i.ID, action)
		return p.asked(a.Action, err)
	}, &out)
	return out, ctx.Err()
}

// wantedTask is the step that an action on many is about: the one that the search names, or the one that is parked.
func wantedTask(a *api.SagaAction) string {
	if a.Step != "" {
		return a.Step
	}
	return a.Select.Step
}

// actOnAll acts on instances, several at once.
func actOnAll(found []*saga.Instance, act func(*saga.Instance) error, out *api.SagaActed) {
	work := make(chan *saga.Instance)
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range actedAtOnce {
		workers.Go(func() {
			for i := range work {
				err := act(i)
				mu.Lock()
				e, isFault := errors.AsType[*fault.Error](err)
				switch {
				case err == nil:
					out.Done++
				case isFault && len(out.Failed) < failedShown:
					out.Failed = append(out.Failed, api.SagaFailure{ID: i.ID, Fault: e})
				}
				mu.Unlock()
			}
		})
	}
	for _, i := range found {
		work <- i
	}
	close(work)
	workers.Wait()
}

// findAll lists all instances that a query finds and that are wanted, up to a bound.
func findAll(ctx context.Context, e *saga.Engine, q *saga.Query, wanted func(*saga.Instance) bool) (out []*saga.Instance, more bool, err error) {
	const page = 500
	query := *q
	query.Limit, query.Before = page, ""
	for {
		list, err := e.Find(ctx, &query)
		if err != nil {
			return nil, false, err
		}
		for _, i := range list {
			if !wanted(i) {
				continue
			}
			if len(out) == mostActed {
				return out, true, nil
			}
			out = append(out, i)
		}
		if len(list) < page {
			return out, false, nil
		}
		query.Before = list[len(list)-1].ID
	}
}

// MigrateSagas makes instances ones of the version in force, or says which it could.
func (p *Platform) MigrateSagas(ctx context.Context, m *api.SagaMigration) (api.SagaMigrated, error) {
	e, err := p.needSagas()
	if err != nil {
		return api.SagaMigrated{}, err
	}
	reason := strings.TrimSpace(m.Reason)
	if reason == "" && !m.DryRun {
		return api.SagaMigrated{}, fault.New(fault.CodeSagaReason, "nobody will know why, if there is no reason").Fix("say in a sentence why this is right")
	}
	found, to, more, err := toMigrate(ctx, e, m)
	if err != nil {
		return api.SagaMigrated{}, err
	}
	out := api.SagaMigrated{Version: short(to.Hash), Instances: []api.SagaMigratedItem{}, More: more}
	for _, i := range found {
		var err error
		if m.DryRun {
			err = mayMigrate(ctx, e, i.ID, to, m.Steps)
		} else {
			_, err = e.Migrate(ctx, i.ID, m.Steps, operatorName(m.By), reason)
		}
		item := api.SagaMigratedItem{ID: i.ID, From: short(i.Version)}
		if err = p.asked("migrate", err); err != nil {
			f, known := errors.AsType[*fault.Error](err)
			if !known {
				return out, err
			}
			item.Fault = f
		}
		out.Instances = append(out.Instances, item)
	}
	return out, nil
}

// toMigrate finds what is to be migrated, and to what.
func toMigrate(ctx context.Context, e *saga.Engine, m *api.SagaMigration) (found []*saga.Instance, to *saga.Plan, more bool, err error) {
	name := m.Saga
	if m.ID != "" {
		i, err := e.Get(ctx, m.ID)
		if err != nil {
			return nil, nil, false, err
		}
		found, name = []*saga.Instance{i}, i.Saga
	}
	if to, err = e.Plan(ctx, name, ""); err != nil || m.ID != "" {
		return found, to, false, err
	}
	q := &saga.Query{Saga: name, Phases: []saga.Phase{saga.Running, saga.Compensating, saga.Parked}}
	found, more, err = findAll(ctx, e, q, func(i *saga.Instance) bool {
		return i.Version != to.Hash && strings.HasPrefix(i.Version, m.Version)
	})
	return found, to, more, err
}

// mayMigrate tells what forbids to migrate an instance, without doing it.
func mayMigrate(ctx context.Context, e *saga.Engine, id string, to *saga.Plan, names map[string]string) error {
	i, err := e.Get(ctx, id)
	if err != nil {
		return err
	}
	if i.Version == to.Hash {
		return fault.New(fault.CodeSagaMigration, "%s is of the version in force already", id).Fix("there is nothing to do")
	}
	from, err := e.Plan(ctx, i.Saga, i.Version)
	if err != nil {
		return err
	}
	_, err = saga.NewMachine(from, i.State).Migrate(to, names, time.Now(), "", "")
	return err
}
