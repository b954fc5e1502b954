package saga_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga"
)

// fixed is an expression that is always the same.
type fixed string

func (f fixed) Value(*saga.Scope) (json.RawMessage, error) { return json.RawMessage(f), nil }
func (f fixed) Text(*saga.Scope) (string, error)           { return string(f), nil }

// pick is a key of the input, or of an event.
type pick string

func (p pick) of(s *saga.Scope) json.RawMessage {
	from := s.Input
	if s.Event != nil {
		from = s.Event
	}
	var m map[string]json.RawMessage
	_ = json.Unmarshal(from, &m) // what is no object has no keys
	return m[string(p)]
}

func (p pick) Value(s *saga.Scope) (json.RawMessage, error) { return p.of(s), nil }

func (p pick) Text(s *saga.Scope) (string, error) { return strings.Trim(string(p.of(s)), `"`), nil }

// after ends a sleep.
type after time.Duration

func (a after) End(begin time.Time, _ *saga.Scope) (time.Time, error) {
	return begin.Add(time.Duration(a)), nil
}

// never says no.
type never struct{}

func (never) Holds(*saga.Scope) (bool, error) { return false, nil }

// shaped makes a plan of the graph of a definition, with calls that need no expressions. Each step calls a service of its own name.
func shaped(t *testing.T, def *manifest.Saga, others ...*manifest.Saga) *saga.Plan {
	t.Helper()
	p, findings := plan(def, others...)
	for _, f := range findings {
		t.Fatalf("%s: %s: %s", def.Name, f.Path, f.Fault)
	}
	return p
}

func plan(def *manifest.Saga, others ...*manifest.Saga) (*saga.Plan, []saga.Finding) {
	byName := map[string]*manifest.Saga{}
	for _, o := range others {
		byName[o.Name] = o
	}
	nodes, findings := saga.Shape(def, byName)
	if len(findings) > 0 {
		return nil, findings
	}
	source, err := def.Canonical()
	if err != nil {
		panic(err)
	}
	p := &saga.Plan{Name: def.Name, Hash: "hash of " + def.Name, Source: source, Saga: def, Timeout: def.Timeout.Std()}
	for i, n := range nodes {
		p.Steps = append(p.Steps, step(&def.Steps[i], n))
	}
	return p, nil
}

func step(def *manifest.SagaStep, n saga.Node) saga.Step {
	retry := saga.Retry{Attempts: max(2, def.Retry.Attempts), Backoff: time.Second, MaxBackoff: time.Minute}
	st := saga.Step{Name: def.Name, Role: n.Role, After: n.After, Before: n.Before, Revocable: n.Revocable, Retry: retry, Again: retry, AtOnce: 2}
	call := func(path string) *saga.Call {
		return &saga.Call{Service: def.Name, Method: "POST", Path: fixed(path), Refused: saga.RefusedByDefault, Timeout: 10 * time.Second, Body: fixed("{}")}
	}
	switch {
	case def.Do != nil:
		st.Kind, st.Do = saga.KindCall, call("/do")
		if a := def.Do.Async; a != nil {
			st.Do.Async = &saga.Async{Timeout: a.Timeout.Std(), Topic: a.Event, Key: pick("key"), By: pick("subject")}
		}
	case def.Child != nil:
		st.Kind, st.Child = saga.KindChild, def.Child.Saga
	case def.Wait != nil:
		st.Kind, st.Topic, st.WaitKey, st.WaitBy = saga.KindWait, def.Wait.Event, pick("key"), pick("subject")
		st.WaitTime, st.GoOn = def.Wait.Timeout.Std(), def.Wait.Else == manifest.WaitGoOn
	case def.Sleep != "":
		d, err := time.ParseDuration(def.Sleep)
		if err != nil {
			panic(err)
		}
		st.Kind, st.Sleep = saga.KindSleep, after(d)
	}
	if def.Undo != nil && !def.Undo.None() {
		st.Undo = call("/undo")
	}
	if def.Each != nil {
		st.Each = pick("items")
	}
	if def.When == "false" {
		st.When = never{}
	}
	return st
}

// do is a step that can be undone.
func do(name string, after ...string) manifest.SagaStep {
	s := manifest.SagaStep{Name: name, Do: &manifest.SagaCall{Call: name + "/do"}, Undo: &manifest.SagaUndo{Call: name + "/undo"}}
	if after != nil {
		s.After = &after
	}
	return s
}

// decide is a pivot.
func decide(name string, after ...string) manifest.SagaStep {
	s := do(name, after...)
	s.Pivot, s.Undo = true, nil
	return s
}

// finish is a step after the pivot.
func finish(name string, after ...string) manifest.SagaStep {
	s := do(name, after...)
	s.Undo = nil
	return s
}
