package saga_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga"
)

func (r *rig) act(id string, a *saga.Action) *saga.Instance {
	r.t.Helper()
	a.By, a.Reason = "test", "because"
	i, err := r.Act(r.t.Context(), id, a)
	if err != nil {
		r.t.Fatal(err)
	}
	return i
}

func TestAChildThatIsParkedIsTriedAgainAsANewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		child := &manifest.Saga{Name: "child", Steps: []manifest.SagaStep{do("x"), do("y")}}
		parent := &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{decide("c"), {Name: "n", Child: &manifest.SagaChild{Saga: "child"}}, finish("d")}}
		r := newRig(t, parent, child)
		defer r.Close()
		r.on["y/do"] = always(409)
		id := r.start("s", `{}`).ID
		synctest.Wait()
		if i, err := r.Get(t.Context(), id); err != nil || i.Phase != saga.Parked {
			t.Fatalf("the instance is %+v, %v", i, err)
		}
		r.on["y/do"] = always(200)
		r.act(id, &saga.Action{Kind: saga.EventRetry})
		r.want(r.end(id), saga.Completed, "c/do", "x/do", "y/do", "x/undo", "x/do", "y/do", "d/do")
	})
}

func TestAStepThatCouldNotBeginIsBegunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		items := finish("f")
		items.Each = &manifest.SagaEach{In: "x"}
		def := &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{decide("c"), items}}
		r := newRig(t, def)
		defer r.Close()
		id := r.start("s", `{"items": 7}`).ID
		synctest.Wait()
		r.act(id, &saga.Action{Kind: saga.EventRetry})
		synctest.Wait()
		i, err := r.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		r.want(i, saga.Parked, "c/do")
	})
}

func TestAChildThatIsStartedAndCancelledAtOnceDoesNotRunOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		child := &manifest.Saga{Name: "child", Steps: []manifest.SagaStep{do("x"), {Name: "w", Wait: &manifest.SagaWait{Event: "paid", Key: "k"}}}}
		none := []string{}
		broken := do("b", none...)
		broken.After, broken.Each = &none, &manifest.SagaEach{In: "x"}
		parent := &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{{Name: "n", Child: &manifest.SagaChild{Saga: "child"}}, broken}}
		r := newRig(t, parent, child)
		defer r.Close()
		if i := r.end(r.start("s", `{"items": 7}`).ID); i.Phase != saga.Compensated {
			t.Errorf("the instance is %s", i.Phase)
		}
	})
}

func TestABroadGraphIsUndoneInReasonableTime(t *testing.T) {
	def := &manifest.Saga{Name: "s"}
	var before []string
	for layer := range 20 {
		var names []string
		for k := range 4 {
			names = append(names, fmt.Sprintf("s%d-%d", layer, k))
			def.Steps = append(def.Steps, do(names[k], append([]string{}, before...)...))
			if layer == 0 {
				def.Steps[k].After = &[]string{}
			}
		}
		before = names
	}
	def.Steps = append(def.Steps, do("last", before...))
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, def)
		defer r.Close()
		r.on["last/do"] = always(409)
		if i := r.end(r.start("s", `{}`).ID); i.Phase != saga.Compensated {
			t.Errorf("the instance is %s", i.Phase)
		}
	})
}

func TestAStepThatCannotBeginCompensatesWhatCameBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		items := do("b")
		items.Each = &manifest.SagaEach{In: "x"}
		r := newRig(t, &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{do("a"), items}})
		defer r.Close()
		r.want(r.end(r.start("s", `{"items": 7}`).ID), saga.Compensated, "a/do", "a/undo")
	})
}

func TestWhatIsTriedForEverCanBeFreedByAPerson(t *testing.T) {
	gone := func(context.Context, *saga.Outgoing) saga.Result {
		return saga.Result{Verdict: saga.Unsent, Text: "there is no such service"}
	}
	for kind, free := range map[string]*saga.Action{
		"skip": {Kind: saga.EventSkip}, "override": {Kind: saga.EventOverride, Output: []byte("1")},
		"replace": {Kind: saga.EventReplace, Request: &saga.Request{Service: "e", Method: "POST", Path: "/do"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, linear())
			defer r.Close()
			r.on["d/do"] = gone
			id := r.start("s", `{}`).ID
			<-time.After(time.Hour)
			free.Task = "d"
			r.act(id, free)
			if i := r.end(id); i.Phase != saga.Completed {
				t.Errorf("%s: it is %s", kind, i.Phase)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, linear())
		defer r.Close()
		r.on["c/do"], r.on["b/undo"] = always(409), gone
		id := r.start("s", `{}`).ID
		<-time.After(time.Hour)
		r.act(id, &saga.Action{Kind: saga.EventSkip, Task: "b"})
		if i := r.end(id); i.Phase != saga.Compensated {
			t.Errorf("undo: it is %s", i.Phase)
		}
	})
}
