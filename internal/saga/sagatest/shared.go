package sagatest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/saga"
)

// runShared runs what several engines at one store do.
func runShared(t *testing.T, driver Driver) { //nolint:thelper // it runs tests
	for _, c := range []struct {
		name string
		run  func(t *testing.T, w *World)
	}{
		{"ShardsAreSharedFairly", sharesFairly},
		{"ALeaseThatHasRunOutIsFenced", leaseRunsOut},
		{"WhatAnEngineLeavesAnotherTakesOver", takesOver},
		{"WhoTakesOverHasTheLastWord", lastWord},
		{"OtherEnginesAreToldOfSignals", toldOfSignals},
		{"ALockThatIsReleasedReachesWhoAsksAtThatMoment", lockRace},
		{"MailReachesWhoBeginsToWaitAtThatMoment", mailRace},
		{"AKeyThatTwoEnginesUseMakesOneInstance", keyRace},
	} {
		t.Run("Shared/"+c.name, func(t *testing.T) {
			w := driver(t)
			if w.Expire == nil {
				t.Skip("this driver serves one engine")
			}
			c.run(t, w)
		})
	}
}

// pair opens two engines, each of which owns half of the shards.
func pair(t *testing.T, w *World) (a, b *bench) {
	t.Helper()
	a = open(t, w)
	b = &bench{Store: w.Open(t), t: t}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := b.Claim(t.Context()); err != nil { // it is seen from now on
		t.Fatal(err)
	}
	a.shard = claim(t, a.Store).Owned[0]
	b.shard = claim(t, b.Store).Owned[0]
	return a, b
}

// takes expires all leases and lets an engine claim.
func (b *bench) takes(w *World) saga.Claim {
	b.t.Helper()
	w.Expire(b.t)
	return claim(b.t, b.Store)
}

func sharesFairly(t *testing.T, w *World) {
	t.Helper()
	a := open(t, w)
	all := a.shards()
	given := a.begin("1")
	given.Row.Shard = all[len(all)-1]
	a.commit(given)
	b := &bench{Store: w.Open(t), t: t}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	if c, err := b.Claim(t.Context()); err != nil || len(c.Owned) > 0 || c.Again <= 0 {
		t.Errorf("the second engine begins with %+v: %v", c, err)
	}
	kept := claim(t, a.Store)
	taken := claim(t, b.Store)
	if len(kept.Owned) != len(all)/2 || len(kept.Fresh) > 0 || len(taken.Owned) != len(all)/2 || len(taken.Fresh) != len(all)/2 {
		t.Errorf("of %d shards, the first kept %d, and the second took %d, %d of them fresh", len(all), len(kept.Owned), len(taken.Owned), len(taken.Fresh))
	}
	both := slices.Concat(kept.Owned, taken.Owned)
	slices.Sort(both)
	if !slices.Equal(both, all) {
		t.Errorf("together they own %v", both)
	}
	if again := claim(t, b.Store); len(again.Fresh) > 0 || len(again.Owned) != len(taken.Owned) {
		t.Errorf("asked again, the second owns %d, %d of them fresh", len(again.Owned), len(again.Fresh))
	}
	_, err := a.Commit(t.Context(), []*saga.Change{next(given)})
	mustFence(t, err)
	b.commit(next(given))
}

func leaseRunsOut(t *testing.T, w *World) {
	t.Helper()
	a := open(t, w)
	one := a.made("1")
	w.Expire(t)
	_, err := a.Commit(t.Context(), []*saga.Change{next(one)})
	mustFence(t, err)
	if c := claim(t, a.Store); !slices.Contains(c.Owned, a.shard) {
		t.Fatal("it does not get its shard back")
	}
	a.commit(next(one))
}

func takesOver(t *testing.T, w *World) {
	t.Helper()
	a, b := pair(t, w)
	one := a.begin("1")
	one.Send = []saga.Signal{{Instance: "1", Event: event(1)}}
	a.commit(one)
	if rows, err := b.Active(t.Context(), b.shards(), "", 10); err != nil || len(rows) > 0 {
		t.Errorf("the other engine is given %v: %v", ids(rows), err)
	}
	if c := b.takes(w); !slices.Contains(c.Fresh, a.shard) {
		t.Fatal("the shard is not taken over, or not told to be fresh")
	}
	_, err := a.Commit(t.Context(), []*saga.Change{next(one)})
	mustFence(t, err)
	rows, err := b.Active(t.Context(), []int{a.shard}, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "taken over", ids(rows), []string{"1"})
	signals, err := b.Signals(t.Context(), []int{a.shard}, 0, 10)
	if err != nil || len(signals) != 1 {
		t.Fatalf("signals taken over: %v %v", names(signals), err)
	}
	// An engine that is late takes nothing away.
	if _, err := a.Commit(t.Context(), []*saga.Change{{Taken: []int64{signals[0].ID}}}); err != nil && !errors.Is(err, saga.ErrFenced) {
		t.Error(err)
	}
	if left, err := b.Signals(t.Context(), []int{a.shard}, 0, 10); err != nil || len(left) != 1 {
		t.Errorf("signals left: %v %v", names(left), err)
	}
	two := next(one)
	two.Taken = []int64{signals[0].ID}
	b.commit(two)
	if c := a.takes(w); !slices.Contains(c.Fresh, a.shard) { // and back, by a new epoch
		t.Error("what was lost in between is not told to be fresh")
	}
	a.commit(next(two))
	_, err = b.Commit(t.Context(), []*saga.Change{next(next(two))})
	mustFence(t, err)
}

// lastWord lets one engine commit without a pause while the other takes over: what that finds then is what is there.
func lastWord(t *testing.T, w *World) {
	t.Helper()
	a, b := pair(t, w)
	a.made("1")
	for range 8 {
		claimed := a.takes(w)
		if !slices.Contains(claimed.Owned, a.shard) {
			t.Fatal("the shard does not come back")
		}
		r := a.row("1")
		var wg sync.WaitGroup
		wg.Go(func() {
			for c := next(&saga.Change{Row: r}); ; c = next(c) {
				if _, err := a.Commit(t.Context(), []*saga.Change{c}); err != nil {
					if !errors.Is(err, saga.ErrFenced) {
						t.Error(err)
					}
					return
				}
			}
		})
		b.takes(w)
		found := b.row("1")
		b.commit(next(&saga.Change{Row: found}))
		wg.Wait()
		if now := b.row("1"); now.Rev != found.Rev+1 {
			t.Errorf("revision %d was found, and %d is there after one change", found.Rev, now.Rev)
		}
	}
}

// told waits for what Notify tells.
func (b *bench) told(of string) {
	b.t.Helper()
	select {
	case <-b.Notify():
	case <-time.After(20 * time.Second):
		b.t.Errorf("nobody tells of %s", of)
	}
}

func (b *bench) quiet() {
	for {
		select {
		case <-b.Notify():
			continue
		default:
		}
		return
	}
}

func toldOfSignals(t *testing.T, w *World) {
	t.Helper()
	a, b := pair(t, w)
	mine := a.begin("a")
	mine.Acquire = "lock"
	a.commit(mine)
	theirs := awaiting(b.begin("b"), "t")
	theirs.Acquire = "lock"
	b.commit(theirs)
	b.told("the beginning") // of listening
	b.quiet()
	if _, err := a.Send(t.Context(), []saga.Signal{{Instance: "b", Event: event(1)}}); err != nil {
		t.Fatal(err)
	}
	b.told("a signal")
	mine = next(mine)
	mine.Send = []saga.Signal{{Instance: "b", Event: event(2)}}
	a.commit(mine)
	b.told("a signal of a change")
	a.deliver(letter("m1", 3, time.Second))
	b.told("mail")
	mine = next(mine)
	mine.Release = "lock"
	a.commit(mine)
	b.told("a lock")
	got, err := b.Signals(t.Context(), b.shards(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "signals", names(got), []string{"b/:1", "b/:2", "b/t:3", "b/:granted"})
}

const races = 40

func lockRace(t *testing.T, w *World) {
	t.Helper()
	a, b := pair(t, w)
	for i := range races {
		lock := fmt.Sprint("lock", i)
		holder := a.begin(fmt.Sprint("a", i))
		holder.Acquire = lock
		a.commit(holder)
		release, asks := next(holder), b.begin(fmt.Sprint("b", i))
		release.Release, asks.Acquire = lock, lock
		var wg sync.WaitGroup
		var sent []saga.Signal
		wg.Go(func() { sent = a.commit(release)[0].Sent })
		got := b.commit(asks)[0]
		wg.Wait()
		if got.Granted == (len(sent) == 1) {
			t.Errorf("%s: granted %v, told %v", lock, got.Granted, names(sent))
		}
	}
}

func mailRace(t *testing.T, w *World) {
	t.Helper()
	a, b := pair(t, w)
	for i := range races {
		waits := awaiting(b.begin(fmt.Sprint("b", i)), "t", "u")
		m, other := letter(fmt.Sprint("m", i), i, time.Second), letter(fmt.Sprint("o", i), i, time.Second)
		m.Key, other.Key = fmt.Sprint("x", i), fmt.Sprint("y", i)
		waits.Await[0].Key, waits.Await[1].Key = m.Key, other.Key
		var wg sync.WaitGroup
		wg.Go(func() { a.deliver(other, m) })
		b.commit(waits)
		wg.Wait()
	}
	got, err := b.Signals(t.Context(), b.shards(), 0, 10*races)
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]int{}
	for _, s := range got {
		counted[s.Instance+"/"+s.Task]++
	}
	for i := range races {
		for _, task := range []string{"t", "u"} {
			if n := counted[fmt.Sprintf("b%d/%s", i, task)]; n != 1 {
				t.Errorf("task %s of b%d was told %d times", task, i, n)
			}
		}
	}
}

func keyRace(t *testing.T, w *World) {
	t.Helper()
	a, b := pair(t, w)
	for i := range races {
		begin := func(x *bench, id, key string) *saga.Change {
			c := x.begin(fmt.Sprint(id, i))
			c.Create.Idem = fmt.Sprint(key, i)
			return c
		}
		var wg sync.WaitGroup
		var first []saga.Outcome
		wg.Go(func() { first = a.commit(begin(a, "a1-", "x"), begin(a, "a2-", "y")) })
		second := b.commit(begin(b, "b1-", "y"), begin(b, "b2-", "x")) // in the other order
		wg.Wait()
		for j := range 2 {
			if (first[j].Existing == nil) == (second[1-j].Existing == nil) {
				t.Errorf("key %d of round %d: existing %v and %v", j, i, first[j].Existing, second[1-j].Existing)
			}
		}
	}
}
