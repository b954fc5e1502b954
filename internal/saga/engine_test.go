package saga_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/memsaga"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// services answers calls by functions, and notes them.
type services struct {
	mu    sync.Mutex
	calls []string // idempotency keys without the instance
	seen  map[string]int
	on    map[string]func(ctx context.Context, o *saga.Outgoing) saga.Result // by service/path
}

func newServices() *services {
	return &services{seen: map[string]int{}, on: map[string]func(context.Context, *saga.Outgoing) saga.Result{}}
}

func (s *services) Call(ctx context.Context, o *saga.Outgoing) saga.Result {
	s.mu.Lock()
	s.calls = append(s.calls, o.Key[len(o.Instance)+1:])
	s.seen[o.Key]++
	answer := s.on[o.Request.Service+o.Request.Path]
	s.mu.Unlock()
	if answer == nil {
		return status(200)
	}
	return answer(ctx, o)
}

func (s *services) called() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

func status(code int) saga.Result {
	return saga.Result{Verdict: saga.Answered, Answer: saga.Answer{Status: code, Body: json.RawMessage(fmt.Sprintf(`{"status":%d}`, code))}}
}

func always(code int) func(context.Context, *saga.Outgoing) saga.Result {
	return func(context.Context, *saga.Outgoing) saga.Result { return status(code) }
}

// hangs answers when the call's time is over.
func hangs(ctx context.Context, _ *saga.Outgoing) saga.Result {
	<-ctx.Done()
	return saga.Result{Verdict: saga.NoAnswer, Text: "no answer in time"}
}

// rig is an engine with services around it, in a bubble of synthetic time.
type rig struct {
	*saga.Engine
	t     *testing.T
	store *memsaga.Store
	*services
	plans map[string]*saga.Plan
	opts  saga.Options
}

func newRig(t *testing.T, defs ...*manifest.Saga) *rig {
	t.Helper()
	r := &rig{t: t, store: memsaga.New(), services: newServices(), plans: map[string]*saga.Plan{}}
	for _, def := range defs {
		p := shaped(t, def, defs...)
		r.plans[string(p.Source)] = p
	}
	r.opts.Compile = func(source []byte) (*saga.Plan, error) {
		if p := r.plans[string(source)]; p != nil {
			return p, nil
		}
		return nil, errors.New("unknown definition")
	}
	r.open()
	return r
}

func (r *rig) open() {
	r.t.Helper()
	r.openOn(r.store)
}

// openOn opens an engine on another store.
func (r *rig) openOn(store saga.Store) {
	r.t.Helper()
	e, err := saga.Open(r.t.Context(), store, r.services, &r.opts)
	if err != nil {
		r.t.Fatal(err)
	}
	var all []*saga.Plan
	for _, p := range r.plans {
		all = append(all, p)
	}
	commit, err := e.Prepare(r.t.Context(), all)
	if err != nil {
		r.t.Fatal(err)
	}
	commit()
	e.Run()
	synctest.Wait()
	r.Engine = e
}

func (r *rig) start(name, input string) *saga.Instance {
	r.t.Helper()
	i, err := r.Start(r.t.Context(), saga.Ask{Saga: name, Input: []byte(input)})
	if err != nil {
		r.t.Fatal(err)
	}
	return i
}

// end waits for an end.
func (r *rig) end(id string) *saga.Instance {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 24*time.Hour)
	defer cancel()
	i, err := r.Wait(ctx, id)
	if err != nil {
		r.t.Fatal(err)
	}
	return i
}

func (r *rig) want(i *saga.Instance, phase saga.Phase, calls ...string) {
	r.t.Helper()
	if i.Phase != phase {
		r.t.Errorf("the instance is %s (%s: %s), not %s", i.Phase, i.Step, i.Error, phase)
	}
	if got := r.called(); !slices.Equal(got, calls) {
		r.t.Errorf("called %v, not %v", got, calls)
	}
}

func linear() *manifest.Saga {
	return &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{do("a"), do("b"), decide("c"), finish("d"), finish("e")}}
}

func TestStepsAreTakenInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, linear())
		defer r.Close()
		r.want(r.end(r.start("s", `{}`).ID), saga.Completed, "a/do", "b/do", "c/do", "d/do", "e/do")
	})
}

func TestARefusalUndoesWhatWasDoneTheLatestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, linear())
		defer r.Close()
		r.on["c/do"] = always(409)
		i := r.end(r.start("s", `{}`).ID)
		r.want(i, saga.Compensated, "a/do", "b/do", "c/do", "b/undo", "a/undo")
		if i.Step != "c" || i.Error == "" {
			t.Errorf("the cause is %s: %q", i.Step, i.Error)
		}
	})
}

func TestAnAttemptWhoseOutcomeIsNotKnownIsRepeatedByTheSameKeyAndThenUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, linear())
		defer r.Close()
		r.on["b/do"] = hangs
		r.want(r.end(r.start("s", `{}`).ID), saga.Compensated, "a/do", "b/do", "b/do", "b/undo", "a/undo")
	})
}

func TestAnUndoThatIsRefusedParksUntilSomebodyFreesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var parked []string
		r := newRig(t, linear())
		r.Close()
		r.opts.OnParked = func(i *saga.Instance) { parked = append(parked, i.ID) }
		r.open()
		defer r.Close()
		r.on["c/do"], r.on["b/undo"] = always(409), always(404)
		id := r.start("s", `{}`).ID
		synctest.Wait()
		i, err := r.Get(t.Context(), id)
		if err != nil || i.Phase != saga.Parked || len(parked) != 1 {
			t.Fatalf("the instance is %+v, %v, told: %v", i, err, parked)
		}
		if _, err := r.Act(t.Context(), id, &saga.Action{Kind: saga.EventSkip, By: "test"}); fault.CodeOf(err) != fault.CodeSagaReason {
			t.Errorf("skip without a reason: %v", err)
		}
		if _, err := r.Act(t.Context(), id, &saga.Action{Kind: saga.EventSkip, By: "test", Reason: "undone by hand"}); err != nil {
			t.Fatal(err)
		}
		r.want(r.end(id), saga.Compensated, "a/do", "b/do", "c/do", "b/undo", "a/undo")
	})
}

func TestAStepAfterThePivotIsTriedUntilItIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, linear())
		defer r.Close()
		n := 0
		r.on["d/do"] = func(context.Context, *saga.Outgoing) saga.Result {
			if n++; n < 20 {
				return saga.Result{Verdict: saga.Unsent, Text: "nobody there"}
			}
			return status(200)
		}
		if i := r.end(r.start("s", `{}`).ID); i.Phase != saga.Completed || n != 20 {
			t.Errorf("%s after %d attempts", i.Phase, n)
		}
	})
}

func TestTheSameKeyStartsOneInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, linear())
		defer r.Close()
		ask := saga.Ask{Saga: "s", Input: []byte(`{"a": 1}`), Idem: "k"}
		first, err := r.Start(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		r.end(first.ID)
		ask.Input = []byte(`{"a":1}`)
		second, err := r.Start(t.Context(), ask)
		if err != nil || second.ID != first.ID || second.Phase != saga.Completed {
			t.Errorf("the second start gave %+v, %v", second, err)
		}
		ask.Input = []byte(`{"a":2}`)
		if _, err := r.Start(t.Context(), ask); fault.CodeOf(err) != fault.CodeSagaKeyReused {
			t.Errorf("another input under the same key: %v", err)
		}
		if n := len(r.called()); n != 5 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestInstancesOfOneLockFollowEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, linear())
		for _, p := range r.plans {
			p.Lock = pick("order")
		}
		defer r.Close()
		under, most := 0, 0
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			r.on[name+"/do"] = func(context.Context, *saga.Outgoing) saga.Result {
				if name == "a" {
					under++
				}
				most = max(most, under)
				time.Sleep(time.Second) //nolint:forbidigo // in a bubble
				if name == "e" {
					under--
				}
				return status(200)
			}
		}
		var ids []string
		for range 5 {
			ids = append(ids, r.start("s", `{"order":"o1"}`).ID)
		}
		for n, id := range ids {
			if i := r.end(id); i.Phase != saga.Completed {
				t.Errorf("instance %d is %s", n, i.Phase)
			}
		}
		if most != 1 {
			t.Errorf("%d at once", most)
		}
	})
}

func TestAChildIsCompensatedWithItsParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		child := &manifest.Saga{Name: "child", Steps: []manifest.SagaStep{do("x"), do("y")}}
		parent := &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{do("a"), {Name: "n", Child: &manifest.SagaChild{Saga: "child"}}, decide("c")}}
		r := newRig(t, parent, child)
		defer r.Close()
		r.on["c/do"] = always(409)
		i := r.end(r.start("s", `{}`).ID)
		r.want(i, saga.Compensated, "a/do", "x/do", "y/do", "c/do", "y/undo", "x/undo", "a/undo")
		children, err := r.Find(t.Context(), &saga.Query{Parent: i.ID, Limit: 10})
		if err != nil || len(children) != 1 || children[0].Phase != saga.Compensated {
			t.Errorf("children: %+v, %v", children, err)
		}
	})
}

func TestAChildThatIsRefusedCompensatesItsParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		child := &manifest.Saga{Name: "child", Steps: []manifest.SagaStep{do("x"), do("y")}}
		parent := &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{do("a"), {Name: "n", Child: &manifest.SagaChild{Saga: "child"}}}}
		r := newRig(t, parent, child)
		defer r.Close()
		r.on["y/do"] = always(422)
		r.want(r.end(r.start("s", `{}`).ID), saga.Compensated, "a/do", "x/do", "y/do", "x/undo", "a/undo")
	})
}

func TestAnEventFindsTheStepThatWaitsForItNowOrSoon(t *testing.T) {
	for _, early := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			def := &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{
				do("a"), {Name: "w", Wait: &manifest.SagaWait{Event: "paid", Key: "${input.key}", Timeout: manifest.Duration(time.Hour)}}, do("b"),
			}}
			r := newRig(t, def)
			defer r.Close()
			deliver := func() {
				err := r.Deliver(t.Context(), &saga.Occurrence{
					Topic: "paid", Source: "x", ID: "1", Event: json.RawMessage(`{"subject":"k1"}`), Data: json.RawMessage(`{"amount":7}`),
				})
				if err != nil {
					t.Error(err)
				}
			}
			r.on["a/do"] = func(context.Context, *saga.Outgoing) saga.Result {
				if early {
					deliver()
				}
				return status(200)
			}
			id := r.start("s", `{"key":"k1"}`).ID
			synctest.Wait()
			if !early {
				deliver()
			}
			r.want(r.end(id), saga.Completed, "a/do", "w"[:0]+"b/do")
		})
	}
}

func TestWhatWasUnderWayGoesOnInTheNextEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, linear())
		r.Close()
		r.opts.Drain = time.Second
		r.open()
		r.on["b/do"] = func(ctx context.Context, _ *saga.Outgoing) saga.Result {
			<-ctx.Done()
			return saga.Result{Verdict: saga.NoAnswer}
		}
		id := r.start("s", `{}`).ID
		synctest.Wait()
		r.Close()
		r.on["b/do"] = nil
		r.open()
		defer r.Close()
		r.want(r.end(id), saga.Completed, "a/do", "b/do", "b/do", "c/do", "d/do", "e/do")
	})
}

func TestASleepOutlastsTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{do("a"), {Name: "z", Sleep: "3h"}, do("b")}})
		began := time.Now()
		id := r.start("s", `{}`).ID
		synctest.Wait()
		r.Close()
		r.open()
		defer r.Close()
		if load := r.Load(); load.Active != 0 {
			t.Errorf("%d instances in memory while all sleep", load.Active)
		}
		r.want(r.end(id), saga.Completed, "a/do", "b/do")
		if took := time.Since(began); took < 3*time.Hour || took > 3*time.Hour+time.Second {
			t.Errorf("it slept for %s", took)
		}
	})
}

func TestAServiceThatHangsHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &manifest.Saga{Name: "slow", Steps: []manifest.SagaStep{do("hanging")}}
		r := newRig(t, linear(), slow)
		r.Close()
		r.opts.PerService = 4
		r.open()
		defer r.Close()
		r.on["hanging/do"] = hangs
		for range 100 {
			r.start("slow", `{}`)
		}
		began := time.Now()
		if i := r.end(r.start("s", `{}`).ID); i.Phase != saga.Completed || time.Since(began) > time.Second {
			t.Errorf("%s after %s", i.Phase, time.Since(began))
		}
	})
}

func TestAFanOutKeepsItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := do("a")
		st.Each = &manifest.SagaEach{In: "${input.items}", AtOnce: 2}
		r := newRig(t, &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{st, decide("c")}})
		defer r.Close()
		under, most := 0, 0
		r.on["a/do"] = func(context.Context, *saga.Outgoing) saga.Result {
			r.mu.Lock()
			under++
			most = max(most, under)
			r.mu.Unlock()
			time.Sleep(time.Second) //nolint:forbidigo // in a bubble
			r.mu.Lock()
			under--
			r.mu.Unlock()
			return status(200)
		}
		r.on["c/do"] = always(409)
		r.end(r.start("s", `{"items":[1,2,3,4,5]}`).ID)
		var dos, undos int
		for key, n := range r.seen {
			if n != 1 {
				t.Errorf("%s was called %d times", key, n)
			}
			if key[len(key)-5:] == "/undo" {
				undos++
			} else {
				dos++
			}
		}
		if most != 2 || dos != 6 || undos != 5 {
			t.Errorf("%d at once, %d do, %d undo", most, dos, undos)
		}
	})
}

func TestCancelCompensatesBeforeThePivotAndIsRefusedAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, linear())
		defer r.Close()
		release := make(chan struct{})
		r.on["b/do"] = func(context.Context, *saga.Outgoing) saga.Result { <-release; return status(200) }
		id := r.start("s", `{}`).ID
		synctest.Wait()
		if i, err := r.Act(t.Context(), id, &saga.Action{Kind: saga.EventCancel, By: "test", Reason: "changed my mind"}); err != nil || i.Phase != saga.Compensating {
			t.Fatalf("%+v, %v", i, err)
		}
		close(release)
		r.want(r.end(id), saga.Compensated, "a/do", "b/do", "b/undo", "a/undo")
		r.on["b/do"], r.on["c/do"] = nil, hangs
		id = r.start("s", `{}`).ID
		synctest.Wait()
		if _, err := r.Act(t.Context(), id, &saga.Action{Kind: saga.EventCancel, By: "test"}); fault.CodeOf(err) != fault.CodeSagaPastPivot {
			t.Errorf("cancel at the pivot: %v", err)
		}
	})
}

// async is a saga whose second step may end later.
func async() *manifest.Saga {
	b := do("b")
	b.Do.Async = &manifest.SagaAsync{Timeout: manifest.Duration(time.Hour), Event: "packed", Key: "${input.key}"}
	return &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{do("a"), b, decide("c")}}
}

func TestAPendingStepEndsByCallbackByEventOrNeverAndIsUndoneThen(t *testing.T) {
	answer := saga.Result{Verdict: saga.Answered, Answer: saga.Answer{Status: 200, Body: json.RawMessage(`1`)}}
	for name, c := range map[string]struct {
		end   func(r *rig, id string)
		phase saga.Phase
		calls []string
	}{
		"callback": {func(r *rig, id string) {
			for range 2 { // the answer to the first was lost
				if err := r.Complete(r.t.Context(), id, "b", "test", answer); err != nil {
					r.t.Errorf("callback: %v", err)
				}
			}
		}, saga.Completed, []string{"a/do", "b/do", "c/do"}},
		"refusal": {func(r *rig, id string) {
			if err := r.Complete(r.t.Context(), id, "b", "test", saga.Result{Verdict: saga.Failure, Text: "no"}); err != nil {
				r.t.Errorf("callback: %v", err)
			}
		}, saga.Compensated, []string{"a/do", "b/do", "a/undo"}},
		"event": {func(r *rig, _ string) {
			err := r.Deliver(r.t.Context(), &saga.Occurrence{Topic: "packed", Source: "x", ID: "1", Event: json.RawMessage(`{"subject":"k1"}`), Data: json.RawMessage(`1`)})
			if err != nil {
				r.t.Error(err)
			}
		}, saga.Completed, []string{"a/do", "b/do", "c/do"}},
		"never": {func(*rig, string) {}, saga.Compensated, []string{"a/do", "b/do", "b/do", "b/undo", "a/undo"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, async())
				defer r.Close()
				n := 0
				r.on["b/do"] = func(context.Context, *saga.Outgoing) saga.Result {
					if n++; n > 1 {
						return saga.Result{Verdict: saga.Unsent}
					}
					return status(202)
				}
				id := r.start("s", `{"key":"k1"}`).ID
				synctest.Wait()
				c.end(r, id)
				r.want(r.end(id), c.phase, c.calls...)
			})
		})
	}
}

func TestACallbackMayOvertakeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, async())
		defer r.Close()
		r.on["b/do"] = func(ctx context.Context, o *saga.Outgoing) saga.Result {
			if err := r.Complete(ctx, o.Instance, o.Label, "test", saga.Result{Verdict: saga.Answered, Answer: saga.Answer{Status: 200}}); err != nil {
				t.Errorf("callback: %v", err)
			}
			return status(202)
		}
		r.want(r.end(r.start("s", `{"key":"k1"}`).ID), saga.Completed, "a/do", "b/do", "c/do")
	})
}

func TestALockOutlastsTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, linear())
		for _, p := range r.plans {
			p.Lock = pick("order")
		}
		r.on["a/do"] = hangs
		first := r.start("s", `{"order":"o1"}`)
		second := r.start("s", `{"order":"o1"}`)
		synctest.Wait()
		r.Close()
		r.open()
		defer r.Close()
		synctest.Wait()
		if n := r.seen[second.ID+"/a/do"]; n > 0 {
			t.Error("the second has begun, and the first has its lock")
		}
		r.mu.Lock()
		r.on["a/do"] = nil
		r.mu.Unlock()
		for _, i := range []*saga.Instance{first, second} {
			if end := r.end(i.ID); end.Phase != saga.Completed {
				t.Errorf("%s: %s", end.Phase, end.Error)
			}
		}
	})
}

func TestWhoWaitsForALockIsNotInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, linear())
		for _, p := range r.plans {
			p.Lock = pick("order")
		}
		defer r.Close()
		r.on["a/do"] = hangs
		var ids []string
		for range 50 {
			ids = append(ids, r.start("s", `{"order":"o1"}`).ID)
		}
		synctest.Wait()
		if load := r.Load(); load.Active > 1 {
			t.Errorf("%d instances are in memory, and one has the lock", load.Active)
		}
		r.mu.Lock()
		r.on["a/do"] = nil
		r.mu.Unlock()
		for n, id := range ids {
			if i := r.end(id); i.Phase != saga.Completed {
				t.Errorf("instance %d is %s", n, i.Phase)
			}
		}
	})
}
