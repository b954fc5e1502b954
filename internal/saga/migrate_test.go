package saga_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga"
)

// migrated puts another version of a saga into force.
func (r *rig) migrated(def *manifest.Saga) *saga.Plan {
	r.t.Helper()
	p := shaped(r.t, def)
	p.Hash = "another hash of " + def.Name
	r.plans[string(p.Source)] = p
	commit, err := r.Prepare(r.t.Context(), []*saga.Plan{p})
	if err != nil {
		r.t.Fatal(err)
	}
	commit()
	return p
}

func TestAMigrationLosesNoCallThatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none := []string{}
		a, b := do("a"), do("b")
		a.After, b.After = &none, &none
		r := newRig(t, &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{a, b, decide("c", "a", "b")}})
		defer r.Close()
		r.on["a/do"] = func(context.Context, *saga.Outgoing) saga.Result {
			<-time.After(2 * time.Second)
			return status(200)
		}
		r.on["b/do"] = func(context.Context, *saga.Outgoing) saga.Result {
			<-time.After(time.Second)
			return status(409)
		}
		id := r.start("s", `{}`).ID
		synctest.Wait()
		r.migrated(&manifest.Saga{Name: "s", Steps: []manifest.SagaStep{do("z", none...), b, a, decide("c", "a", "b", "z")}})
		if _, err := r.Migrate(t.Context(), id, nil, "test", "because"); err != nil {
			t.Fatal(err)
		}
		i := r.end(id)
		if got := r.called(); i.Phase != saga.Compensated || !slices.Contains(got, "a/undo") || !strings.HasPrefix(i.Step, "b") {
			t.Errorf("the instance is %s (%s: %s), called %v", i.Phase, i.Step, i.Error, got)
		}
	})
}

func TestAStepThatIsRenamedIsUndoneByTheKeyOfItsDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{do("a"), {Name: "w", Sleep: "1h"}, do("b")}})
		defer r.Close()
		id := r.start("s", `{}`).ID
		synctest.Wait()
		r.migrated(&manifest.Saga{Name: "s", Steps: []manifest.SagaStep{do("first"), {Name: "w", Sleep: "1h"}, do("b")}})
		if _, err := r.Migrate(t.Context(), id, map[string]string{"a": "first"}, "test", "because"); err != nil {
			t.Fatal(err)
		}
		r.on["b/do"] = always(409)
		r.want(r.end(id), saga.Compensated, "a/do", "b/do", "a/undo")
	})
}

func TestAStepMayNotCallByTheKeysOfOneThatWasRenamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{do("a"), {Name: "w", Sleep: "1h"}, do("b")}})
		defer r.Close()
		id := r.start("s", `{}`).ID
		synctest.Wait()
		r.migrated(&manifest.Saga{Name: "s", Steps: []manifest.SagaStep{do("first"), {Name: "w", Sleep: "1h"}, do("a")}})
		if _, err := r.Migrate(t.Context(), id, map[string]string{"a": "first"}, "test", "because"); fault.CodeOf(err) != fault.CodeSagaMigration {
			t.Errorf("the map was taken: %v", err)
		}
	})
}

func TestARequestThatWasRefusedAndIsAnotherSinceAMigrationHasAKeyOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{decide("c"), finish("d")}})
		defer r.Close()
		r.on["d/do"] = always(409)
		id := r.start("s", `{}`).ID
		synctest.Wait()
		r.on["d/do"] = always(200)
		p := r.migrated(&manifest.Saga{Name: "s", Summary: "mended", Steps: []manifest.SagaStep{decide("c"), finish("d")}})
		p.Steps[1].Do.Body = fixed(`{"mended":true}`)
		if _, err := r.Migrate(t.Context(), id, nil, "test", "because"); err != nil {
			t.Fatal(err)
		}
		r.act(id, &saga.Action{Kind: saga.EventRetry})
		r.want(r.end(id), saga.Completed, "c/do", "d/do", "d/do/alt1")
	})
}

func TestAChildThatHasAPivotByNowIsNotTakenForOneThatCanBeUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		child := &manifest.Saga{Name: "child", Steps: []manifest.SagaStep{do("x")}}
		parent := &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{do("a"), {Name: "w", Sleep: "1h"}, {Name: "n", Child: &manifest.SagaChild{Saga: "child"}}, do("b")}}
		r := newRig(t, parent, child)
		defer r.Close()
		r.on["b/do"] = always(409)
		id := r.start("s", `{}`).ID
		synctest.Wait()
		r.migrated(&manifest.Saga{Name: "child", Steps: []manifest.SagaStep{do("x"), decide("p")}})
		r.want(r.end(id), saga.Compensated, "a/do", "a/undo")
	})
}
