package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Action is what somebody asks to be done with an instance.
type Action struct {
	Kind    EventKind       // EventCancel, EventRetry, EventSkip, EventOverride or EventReplace
	Task    string          // name of a task; "" for the one that is parked
	By      string          // who asks
	Reason  string          // required, but to cancel and retry
	Output  json.RawMessage // of override
	Request *Request        // of replace
}

func (a *Action) check() error {
	if a.Reason == "" && a.Kind != EventCancel && a.Kind != EventRetry {
		return fault.New(fault.CodeSagaReason, "nobody will know why, if there is no reason").Fix("say in a sentence why this is right")
	}
	if a.Kind == EventOverride && !json.Valid(a.Output) {
		return fault.New(fault.CodeSagaInput, "the output is not JSON").Fix(`write it as JSON, such as {"id": "c-17"} or null`)
	}
	if tooDeep(a.Output) || a.Request != nil && tooDeep(a.Request.Body) {
		return fault.New(fault.CodeSagaInput, "the value has more than %d levels", MaxNested).Fix("give what is read, and no more")
	}
	if a.Kind == EventReplace && (a.Request == nil || a.Request.Service == "" || a.Request.Path == "" || len(a.Request.Body) > 0 && !json.Valid(a.Request.Body)) {
		return fault.New(fault.CodeSagaInput, "the call is none").Fix("write it as METHOD service/path, with a body that is JSON")
	}
	return nil
}

// Act does what somebody asks for, and returns the instance as it is then. A *fault.Error says why it was not done.
func (e *Engine) Act(ctx context.Context, id string, a *Action) (*Instance, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	ev := &Event{Kind: a.Kind, At: time.Now(), By: a.By, Reason: a.Reason, Data: a.Output, Request: a.Request}
	return e.command(ctx, id, a.Task, a.Kind != EventCancel, ev)
}

// command tells an instance an event that somebody asked for, whichever engine it belongs to.
func (e *Engine) command(ctx context.Context, id, label string, onTask bool, ev *Event) (*Instance, error) {
	if e.broken.Load() {
		return nil, errBroken()
	}
	before, err := e.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if label == "" && onTask {
		if label, err = e.parked(ctx, before); err != nil {
			return nil, err
		}
	}
	results := make(chan error, 1)
	found, err := e.tell(ctx, id, ev, label, nil, func(err error) { results <- err })
	if err != nil {
		return nil, err
	}
	if !found {
		return e.remote(ctx, before, label, ev)
	}
	select {
	case err = <-results:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	return e.Get(ctx, id)
}

// parked is the name of the one task that is parked.
func (e *Engine) parked(ctx context.Context, i *Instance) (string, error) {
	plan, err := e.plans.byHash(ctx, i.Version)
	if err != nil {
		return "", err
	}
	m := NewMachine(plan, i.State)
	task, err := m.FindTask("")
	if err != nil {
		return "", err
	}
	return m.label(task), nil
}

// remote has another engine do it: it is tried on a copy, so that a refusal is known at once, and then sent.
func (e *Engine) remote(ctx context.Context, before *Instance, label string, ev *Event) (*Instance, error) {
	plan, err := e.plans.byHash(ctx, before.Version)
	if err != nil {
		return nil, err
	}
	m := NewMachine(plan, before.State.Clone())
	if label != "" {
		if ev.Task, err = m.FindTask(label); err != nil {
			return nil, err
		}
	}
	if _, err := m.Handle(ev); err != nil {
		return nil, err
	}
	if _, err := e.store.Send(ctx, []Signal{{Instance: before.ID, Task: label, Event: encode(ev)}}); err != nil {
		return nil, fmt.Errorf("send to another engine: %w", err)
	}
	for range 50 {
		i, err := e.Get(ctx, before.ID)
		if err != nil || i.Rev > before.Rev || !sleep(ctx, pollEvery/10) {
			return i, err
		}
	}
	return e.Get(ctx, before.ID)
}

// Complete tells the end of a step that was answered with 202.
func (e *Engine) Complete(ctx context.Context, id, label, by string, r Result) error {
	r.Answer.Body = shallow(r.Answer.Body)
	_, err := e.command(ctx, id, label, true, &Event{Kind: EventTold, At: time.Now(), By: by, Result: r})
	return err
}

// Occurrence is an event of the bus.
type Occurrence struct {
	Topic      string
	Source, ID string
	Event      json.RawMessage // {id, source, type, subject, time, data}
	Data       json.RawMessage
	Trace      string
	Publisher  string
}

// Deliver takes an event: it starts the sagas that it starts, and goes to the steps that wait for it, now or within a day. When it
// returns without an error all that is durable. The same event may be delivered again. A *fault.Error refuses it for good.
func (e *Engine) Deliver(ctx context.Context, o *Occurrence) error {
	if e.broken.Load() {
		return errBroken()
	}
	inForce, known := e.plans.all()
	if err := e.post(ctx, known, o); err != nil {
		return err
	}
	var refused error
	for _, plan := range inForce {
		for i := range plan.Starts {
			start := &plan.Starts[i]
			if start.Topic != o.Topic {
				continue
			}
			err := e.startBy(ctx, plan, start, o)
			switch {
			case fault.CodeOf(err) == fault.CodeSagaInput: // other sagas may take it all the same
				refused = errors.Join(refused, err)
			case err != nil:
				return err
			}
		}
	}
	return refused
}

// post takes an event to those that wait for it.
func (e *Engine) post(ctx context.Context, known []*Plan, o *Occurrence) error {
	var mail []Mail
	seen := map[string]bool{}
	for _, plan := range known {
		for i := range plan.Steps {
			topic, by := plan.Steps[i].by()
			channel := plan.channelOf(i)
			if topic != o.Topic || by == nil || seen[channel] {
				continue
			}
			seen[channel] = true
			key, err := by.Text(&Scope{Event: o.Event})
			if err != nil {
				e.log.Warn("sagas: event without a key", "topic", o.Topic, "id", o.ID, "channel", channel, "error", err)
				continue
			}
			if len(key) > MaxKey {
				continue // nobody waits for that
			}
			ev := &Event{Kind: EventTold, By: o.Publisher, Result: Result{Verdict: Answered, Answer: Answer{Status: 200, Body: shallow(o.Data)}}}
			mail = append(mail, Mail{Channel: channel, Key: key, ID: mailID(o), At: time.Now(), Event: encode(ev)})
		}
	}
	if len(mail) == 0 {
		return nil
	}
	signals, err := e.store.Deliver(ctx, mail)
	if err != nil {
		return fmt.Errorf("keep event for sagas: %w", err)
	}
	e.dispatch(signals) //nolint:contextcheck // what follows outlives who asked for it
	return nil
}

// mailID names an event.
func mailID(o *Occurrence) string {
	id := o.Source + " " + o.ID
	if len(id) > MaxKey {
		return fingerprint([]byte(id))
	}
	return id
}

// startBy starts an instance by an event.
func (e *Engine) startBy(ctx context.Context, plan *Plan, start *Start, o *Occurrence) error {
	sc := &Scope{Event: o.Event}
	refuse := func(what string, err error) error {
		return fault.New(fault.CodeSagaInput, "%s of saga %s cannot be had from the event: %s", what, plan.Name, err).Fix("mend the event or the definition")
	}
	if start.When != nil {
		holds, err := start.When.Holds(sc)
		if err != nil {
			return refuse("the condition", err)
		}
		if !holds {
			return nil
		}
	}
	ask := Ask{Saga: plan.Name, Input: o.Data, Idem: "event " + o.Topic + " " + fingerprint([]byte(o.Source+" "+o.ID)), Trace: o.Trace, By: "event " + o.Topic}
	if start.Key != nil {
		key, err := start.Key.Text(sc)
		if err != nil {
			return refuse("the key", err)
		}
		ask.Idem = key
	}
	if start.Input != nil {
		input, err := start.Input.Value(sc)
		if err != nil {
			return refuse("the input", err)
		}
		ask.Input = input
	}
	_, err := e.Start(ctx, ask)
	if fault.CodeOf(err) == fault.CodeSagaKeyReused {
		return nil // the first event with the key has started it
	}
	return err
}

// Migrate makes an instance one of the version in force of its saga.
func (e *Engine) Migrate(ctx context.Context, id string, names map[string]string, by, reason string) (*Instance, error) {
	a, err := e.hold(ctx, id)
	if err != nil {
		return nil, err
	}
	if a == nil {
		if _, err := e.Get(ctx, id); err != nil {
			return nil, err
		}
		return nil, fault.New(fault.CodeSagaMigration, "another engine runs %s", id).Fix("migrate it there")
	}
	results := make(chan error, 1)
	err = func() error { //nolint:contextcheck // what follows outlives who asked for it
		defer a.mu.Unlock()
		defer e.rest(a)
		to, err := e.plans.current(a.row.Saga)
		if err != nil {
			return err
		}
		if to.Hash == a.row.Hash {
			return fault.New(fault.CodeSagaMigration, "%s is of the version in force already", id).Fix("there is nothing to do")
		}
		eff, err := a.m.Migrate(to, names, time.Now(), by, reason)
		if err != nil {
			return err
		}
		heir := e.succeed(a)
		defer heir.mu.Unlock()
		e.submit(heir, &eff, nil, nil, func(_ *Outcome, err error) { results <- err })
		return nil
	}()
	if err != nil {
		return nil, err
	}
	select {
	case err = <-results:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	return e.Get(ctx, id)
}
