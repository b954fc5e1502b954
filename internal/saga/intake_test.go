package saga_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga"
)

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func TestAnAnswerThatIsNestedTooDeepDoesNotStrandItsInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		each := do("b")
		each.Each = &manifest.SagaEach{In: "x"}
		child := &manifest.Saga{Name: "child", Steps: []manifest.SagaStep{do("a"), each}}
		r := newRig(t, &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{{Name: "n", Child: &manifest.SagaChild{Saga: "child"}}, do("z")}}, child)
		defer r.Close()
		deep := func(context.Context, *saga.Outgoing) saga.Result {
			a := status(200)
			a.Answer.Body = json.RawMessage(nested(9_999))
			return a
		}
		r.on["a/do"], r.on["b/do"] = deep, deep
		i := r.end(r.start("s", `{"items": [1]}`).ID)
		r.want(i, saga.Completed, "a/do", "b.0/do", "z/do")
		for _, id := range []string{i.ID, i.ID + ".n"} {
			if _, err := r.Get(t.Context(), id); err != nil {
				t.Errorf("what is kept cannot be read: %v", err)
			}
		}
	})
}

func TestAnInputThatIsNestedTooDeepIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, linear())
		defer r.Close()
		if _, err := r.Start(t.Context(), saga.Ask{Saga: "s", Input: []byte(nested(10_000))}); fault.CodeOf(err) != fault.CodeSagaInput {
			t.Errorf("it was started: %v", err)
		}
	})
}

func TestAKeyThatNoIndexTakesIsRefusedBeforeTheStoreSeesIt(t *testing.T) {
	long := strings.Repeat("k", saga.MaxKey+1)
	input := []byte(`{"key":"` + long + `"}`)
	for name, set := range map[string]func(*saga.Plan){
		"key":  func(p *saga.Plan) { p.Key = pick("key") },
		"lock": func(p *saga.Plan) { p.Lock = pick("key") },
	} {
		p := shaped(t, linear())
		set(p)
		if _, _, err := saga.Begin(p, saga.Opening{ID: "1", Input: input}); fault.CodeOf(err) != fault.CodeSagaInput {
			t.Errorf("%s: it was taken: %v", name, err)
		}
	}
	p := shaped(t, &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{{Name: "w", Wait: &manifest.SagaWait{Event: "paid", Key: "k"}}}})
	m, eff, err := saga.Begin(p, saga.Opening{ID: "1", Input: input})
	if err != nil || m.State().Phase != saga.Compensated || len(eff.Await) > 0 {
		t.Errorf("wait: %+v, %+v, %v", m, eff, err)
	}
}

func TestOfALongRefusalTheBeginningIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, linear())
		defer r.Close()
		r.on["b/do"] = func(context.Context, *saga.Outgoing) saga.Result {
			a := status(409)
			a.Text = strings.Repeat("é", 100_000)
			return a
		}
		i := r.end(r.start("s", `{}`).ID)
		if len(i.Error) > 1000 || !strings.HasSuffix(i.Error, "é") {
			t.Errorf("%d bytes are kept, ending with %q", len(i.Error), i.Error[len(i.Error)-4:])
		}
	})
}

// pedant takes no input.
type pedant struct{}

func (pedant) Check(json.RawMessage) error { return fault.New(fault.CodeSagaInput, "no") }

func TestAnEventThatOneSagaRefusesStartsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &manifest.Saga{Name: "a", Steps: []manifest.SagaStep{do("x")}}, &manifest.Saga{Name: "b", Steps: []manifest.SagaStep{do("y")}})
		defer r.Close()
		for _, p := range r.plans {
			p.Starts = []saga.Start{{Topic: "paid"}}
			if p.Name == "a" {
				p.Input = pedant{}
			}
		}
		err := r.Deliver(t.Context(), &saga.Occurrence{Topic: "paid", Source: "s", ID: "1", Event: json.RawMessage("{}"), Data: json.RawMessage("{}")})
		if fault.CodeOf(err) != fault.CodeSagaInput {
			t.Errorf("the refusal is not told: %v", err)
		}
		list, err := r.Find(t.Context(), &saga.Query{Saga: "b", Limit: 10})
		if err != nil || len(list) != 1 {
			t.Errorf("%d instances of b, %v", len(list), err)
		}
	})
}

// entire is the whole input.
type entire struct{}

func (entire) Value(s *saga.Scope) (json.RawMessage, error) { return s.Input, nil }

func TestAFanOutOfLargeCallsKeepsItsInstanceSmall(t *testing.T) {
	step := do("a")
	step.Each = &manifest.SagaEach{In: "x"}
	p := shaped(t, &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{step}})
	p.Steps[0].AtOnce, p.Steps[0].Do.Body, p.Steps[0].Undo.Body = 100, entire{}, entire{}
	input := `{"items":[1` + strings.Repeat(",1", 99) + `],"x":"` + strings.Repeat("x", 1_000_000) + `"}`
	m, eff, err := saga.Begin(p, saga.Opening{ID: "1", Input: []byte(input)})
	if err != nil {
		t.Fatal(err)
	}
	calls, done := eff.Calls, 0
	for ; len(calls) > 0; calls = calls[1:] {
		if n := len(saga.EncodeState(m.State())); n > 2*saga.MaxState {
			t.Fatalf("%d bytes after %d calls", n, done)
		}
		code := 200
		if done++; done == 60 {
			code = 409
		}
		e := &saga.Event{Kind: saga.EventAnswered, Task: calls[0].Task, Undo: calls[0].Undo, Attempt: calls[0].Number, Result: status(code)}
		if eff, err = m.Handle(e); err != nil {
			t.Fatal(err)
		}
		calls = append(calls, eff.Calls...)
	}
	if m.State().Phase != saga.Compensated || done < 100 {
		t.Errorf("it is %s after %d calls", m.State().Phase, done)
	}
}

func TestAKeyThatIsNoTextIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, linear())
		defer r.Close()
		for _, key := range []string{"\xff", "a\x00b"} {
			if _, err := r.Start(t.Context(), saga.Ask{Saga: "s", Input: []byte("{}"), Idem: key}); fault.CodeOf(err) != fault.CodeSagaInput {
				t.Errorf("%q was taken: %v", key, err)
			}
		}
	})
}
