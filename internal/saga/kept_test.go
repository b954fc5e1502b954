package saga_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/memsaga"
)

// slow is a store that holds up one read of an instance after it was made, and counts the commits that fail.
type slow struct {
	*memsaga.Store
	mu     sync.Mutex
	hold   chan struct{} // guarded by mu: nil: none is held up
	failed atomic.Int64
}

func (s *slow) Row(ctx context.Context, id string) (*saga.Row, error) {
	row, err := s.Store.Row(ctx, id)
	s.mu.Lock()
	hold := s.hold
	s.hold = nil
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	return row, err
}

func (s *slow) Commit(ctx context.Context, changes []*saga.Change) ([]saga.Outcome, error) {
	out, err := s.Store.Commit(ctx, changes)
	if err != nil {
		s.failed.Add(1)
	}
	return out, err
}

func paid(key, id string) *saga.Occurrence {
	return &saga.Occurrence{Topic: "paid", Source: "x", ID: id, Event: json.RawMessage(`{"subject":"` + key + `"}`), Data: json.RawMessage(`{}`)}
}

func TestAnInstanceThatIsReadTwiceAtOnceGoesOnFromItsLatestState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wait := func(name, topic string) manifest.SagaStep {
			none := []string{}
			return manifest.SagaStep{Name: name, After: &none, Wait: &manifest.SagaWait{Event: topic, Key: "k"}}
		}
		r := newRig(t, &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{wait("v", "shipped"), wait("w", "paid")}})
		r.Close()
		store := &slow{Store: memsaga.New()}
		r.openOn(store)
		defer r.Close()
		id := r.start("s", `{"key":"k1"}`).ID
		synctest.Wait() // it waits, and is not in memory
		hold := make(chan struct{})
		store.mu.Lock()
		store.hold = hold
		store.mu.Unlock()
		if err := r.Deliver(t.Context(), paid("k1", "1")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		o := paid("k1", "2")
		o.Topic = "shipped"
		if err := r.Deliver(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		close(hold)
		if i := r.end(id); i.Phase != saga.Completed || store.failed.Load() > 0 {
			t.Errorf("the instance is %s, %d commits have failed", i.Phase, store.failed.Load())
		}
	})
}

func TestAnEndedInstanceIsNotKeptInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{{Name: "w", Sleep: "20s"}}})
		r.Close()
		store := &stale{Store: memsaga.New()}
		r.openOn(store)
		defer r.Close()
		id := r.start("s", `{}`).ID
		r.end(id)
		store.again.Store(true)
		time.Sleep(time.Minute) //nolint:forbidigo // in a bubble
		if n := r.Load().Active; n != 0 {
			t.Errorf("%d instances are in memory", n)
		}
	})
}

// stale hands out again what was due once, as a read does that began before the instance went on.
type stale struct {
	*memsaga.Store
	again atomic.Bool
	rows  []saga.Row
}

func (s *stale) Due(ctx context.Context, shards []int, after, until saga.Wake, limit int) ([]saga.Row, error) {
	if s.again.Swap(false) {
		return s.rows, nil
	}
	rows, err := s.Store.Due(ctx, shards, after, until, limit)
	if len(rows) > 0 {
		s.rows = rows
	}
	return rows, err
}

var errFull = errors.New("full")

// failing is a store one of whose commits fails.
type failing struct {
	*memsaga.Store
	fail atomic.Bool
}

func (s *failing) Commit(ctx context.Context, changes []*saga.Change) ([]saga.Outcome, error) {
	if s.fail.Swap(false) {
		return nil, errFull
	}
	return s.Store.Commit(ctx, changes)
}

func TestWhatIsDueSoonIsDoneInTimeThoughACommitHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{{Name: "w", Sleep: "10s"}}}, &manifest.Saga{Name: "t", Steps: []manifest.SagaStep{do("a")}})
		r.Close()
		store := &failing{Store: memsaga.New()}
		r.openOn(store)
		defer r.Close()
		id := r.start("s", `{}`).ID
		time.Sleep(9 * time.Second) //nolint:forbidigo // in a bubble
		store.fail.Store(true)
		_, _ = r.Start(t.Context(), saga.Ask{Saga: "t", Input: []byte("{}")})
		if i := r.end(id); i.Ended.Sub(i.Started) > 14*time.Second {
			t.Errorf("it slept for %s", i.Ended.Sub(i.Started))
		}
	})
}

// leased is a store whose shard comes back after another engine had it.
type leased struct {
	*memsaga.Store
	fresh atomic.Bool
}

func (s *leased) Claim(ctx context.Context) (saga.Claim, error) {
	c, err := s.Store.Claim(ctx)
	c.Again = time.Second
	if s.fresh.Swap(false) {
		c.Fresh = c.Owned
	}
	return c, err
}

func TestAnInstanceThatAnotherEngineHasHadMeanwhileIsReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{do("a")}})
		for _, p := range r.plans {
			p.Lock = fixed("lock")
		}
		r.Close()
		store := &leased{Store: memsaga.New()}
		r.openOn(store)
		defer r.Close()
		holder := &saga.Row{ID: "1", Saga: "s", Hash: "hash of s", Phase: saga.Completed, Wake: saga.WakeNever, Rev: 1, State: []byte("{}")}
		commit := func(c *saga.Change) []saga.Outcome {
			out, err := store.Commit(t.Context(), []*saga.Change{c})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		commit(&saga.Change{Row: holder, Create: &saga.Origin{}, Acquire: "lock"})
		id := r.start("s", `{}`).ID
		synctest.Wait()
		// Another engine gives the lock on, and ends in the middle of the call that follows.
		holder.Rev++
		granted := commit(&saga.Change{Row: holder, Release: "lock"})[0].Sent
		row, err := store.Row(t.Context(), id)
		if err != nil || len(granted) != 1 {
			t.Fatal(granted, err)
		}
		var s saga.State
		if err := json.Unmarshal(row.State, &s); err != nil {
			t.Fatal(err)
		}
		plan, err := r.Plan(t.Context(), "s", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := saga.NewMachine(plan, &s).Handle(&saga.Event{Kind: saga.EventGranted, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		row.State, row.Rev = saga.EncodeState(&s), row.Rev+1
		commit(&saga.Change{Row: row, Taken: []int64{granted[0].ID}})
		store.fresh.Store(true)
		if i := r.end(id); i.Phase != saga.Completed {
			t.Errorf("it is %s", i.Phase)
		}
	})
}

func TestADefinitionThatCannotBeUsedAnyMoreKeepsNoOtherFromGoingOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{{Name: "w", Sleep: "1h"}}}, &manifest.Saga{Name: "t", Steps: []manifest.SagaStep{{Name: "w", Sleep: "1h"}}})
		bad, good := r.start("s", `{}`).ID, r.start("t", `{}`).ID
		r.Close()
		for source, p := range r.plans {
			if p.Name == "s" {
				delete(r.plans, source)
			}
		}
		r.open()
		defer r.Close()
		if i := r.end(good); i.Phase != saga.Completed {
			t.Errorf("it is %s", i.Phase)
		}
		if i, err := r.Get(t.Context(), bad); err != nil || i.Phase != saga.Running {
			t.Errorf("the other is %+v, %v", i, err)
		}
	})
}
