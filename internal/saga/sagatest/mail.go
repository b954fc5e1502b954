package sagatest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/saga"
)

// asking creates an instance that asks for a lock.
func (b *bench) asking(id, lock string) (*saga.Change, saga.Outcome) {
	b.t.Helper()
	c := b.begin(id)
	c.Acquire = lock
	return c, b.commit(c)[0]
}

func locks(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	one, got := b.asking("c", "lock")
	if !got.Granted {
		t.Error("the first has not got it")
	}
	two, got2 := b.asking("b", "lock")
	three, got3 := b.asking("a", "lock")
	_, other := b.asking("d", "other")
	if got2.Granted || got3.Granted || !other.Granted {
		t.Errorf("second %v, third %v, another lock %v", got2.Granted, got3.Granted, other.Granted)
	}
	one, two = next(one), next(two)
	one.Acquire, two.Acquire = "lock", "lock" // asking again changes nothing
	if out := b.commit(one, two); !out[0].Granted || out[1].Granted {
		t.Errorf("asked again: %+v", out)
	}
	one = next(one)
	one.Release = "lock"
	out := b.commit(one)
	same(t, "sent", names(out[0].Sent), []string{"b/:granted"})
	same(t, "kept", b.waiting(), []string{"b/:granted"})
	two = next(two)
	two.Acquire, two.Taken = "lock", []int64{out[0].Sent[0].ID}
	if out := b.commit(two); !out[0].Granted {
		t.Error("who was told has it not")
	}
	two = next(two)
	two.Release = "lock"
	out = b.commit(two)
	same(t, "sent", names(out[0].Sent), []string{"a/:granted"})
	three = next(three)
	three.Release = "lock"
	if out := b.commit(three, next(three)); len(out[0].Sent) > 0 {
		t.Errorf("sent %v, and nobody waits", names(out[0].Sent))
	}
	if _, got := b.asking("e", "lock"); !got.Granted {
		t.Error("the lock is not free when all have released it")
	}
}

func locksGivenUp(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	one, _ := b.asking("a", "lock")
	two, _ := b.asking("b", "lock")
	b.asking("c", "lock")
	two = next(two)
	two.Release = "lock"
	if out := b.commit(two); len(out[0].Sent) > 0 {
		t.Errorf("sent %v, though the lock is held", names(out[0].Sent))
	}
	one, two = next(one), next(two)
	one.Release, two.Acquire = "lock", "lock"
	out := b.commit(two, one)
	same(t, "sent", append(names(out[0].Sent), names(out[1].Sent)...), []string{"c/:granted"})
	if out[0].Granted {
		t.Error("who asked anew has come before who waited")
	}
	two = next(two)
	two.Release = "no such lock"
	if out := b.commit(two); len(out[0].Sent) > 0 {
		t.Errorf("sent %v", names(out[0].Sent))
	}
}

func (b *bench) deliver(mail ...saga.Mail) []string {
	b.t.Helper()
	sent, err := b.Deliver(b.t.Context(), mail)
	if err != nil {
		b.t.Fatal(err)
	}
	out := names(sent)
	slices.Sort(out)
	return out
}

func letter(id string, n int, after time.Duration) saga.Mail {
	return saga.Mail{Channel: "paid", Key: "7", ID: id, At: start().Add(after), Event: event(n)}
}

func awaiting(c *saga.Change, tasks ...string) *saga.Change {
	for _, task := range tasks {
		c.Await = append(c.Await, saga.Waiter{Task: task, Channel: "paid", Key: "7"})
	}
	return c
}

func mailLater(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	elsewhere := b.begin("c")
	elsewhere.Await = []saga.Waiter{{Task: "t", Channel: "paid", Key: "8"}, {Task: "u", Channel: "failed", Key: "7"}}
	b.commit(awaiting(b.begin("a"), "t", "u"), awaiting(b.begin("b"), "t"), elsewhere)
	same(t, "sent", b.deliver(letter("m1", 1, time.Second)), []string{"a/t:1", "a/u:1", "b/t:1"})
	if got := b.waiting(); len(got) != 3 {
		t.Errorf("kept %v", got)
	}
	same(t, "sent", b.deliver(letter("m2", 2, time.Second)), []string{"a/t:2", "a/u:2", "b/t:2"})
}

func mailBefore(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	same(t, "sent", b.deliver(letter("m0", 0, -time.Second), letter("m2", 2, 2*time.Second), letter("m1", 1, time.Second)), nil)
	late := awaiting(b.begin("c"), "t")
	late.Row.Started = start().Add(time.Minute)
	out := b.commit(awaiting(b.begin("a"), "t"), b.begin("b"), late)
	same(t, "sent to a", names(out[0].Sent), []string{"a/t:1"})
	same(t, "sent to b", names(out[1].Sent), nil)
	same(t, "sent to c, which is younger than the mail", names(out[2].Sent), nil)
	exact := awaiting(b.begin("d"), "t")
	exact.Row.Started = start().Add(2 * time.Second)
	same(t, "sent to d", names(b.commit(exact)[0].Sent), []string{"d/t:2"})
	same(t, "kept", b.waiting(), []string{"a/t:1", "d/t:2"})
}

func mailForgotten(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	c := awaiting(b.begin("a"), "t", "u")
	b.commit(c)
	c = next(c)
	c.Forget = []string{"t", "no such task"}
	b.commit(c)
	same(t, "sent", b.deliver(letter("m1", 1, time.Second)), []string{"a/u:1"})
	c = awaiting(next(c), "u")
	c.Forget, c.Await[0].Key = []string{"u"}, "8" // it waits for something else from now on
	b.commit(c)
	same(t, "sent", b.deliver(letter("m2", 2, time.Second)), nil)
	c = awaiting(next(c), "u")
	c.Await[0].Key = "9" // even if it was not forgotten
	b.commit(c)
	eighth := letter("m3", 3, time.Second)
	eighth.Key = "8"
	same(t, "sent", b.deliver(eighth), nil)
}

func mailOnce(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	b.commit(awaiting(b.begin("a"), "t"))
	other := letter("m1", 3, time.Second)
	other.Channel = "failed"
	same(t, "sent", b.deliver(letter("m1", 1, time.Second), letter("m1", 2, time.Minute), other), []string{"a/t:1"})
	same(t, "sent again", b.deliver(letter("m1", 1, time.Second)), nil)
}

func signals(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	a := b.made("a")
	b.made("b")
	sent, err := b.Send(t.Context(), []saga.Signal{{Instance: "a", Task: "t", Event: event(1)}, {Instance: "b", Event: event(2)}})
	if err != nil || len(sent) != 2 || sent[0].ID <= 0 || sent[1].ID <= sent[0].ID {
		t.Fatalf("sent %+v: %v", sent, err)
	}
	a = next(a)
	a.Send = []saga.Signal{{Instance: "b", Task: "u", Event: event(3)}, {Instance: "a", Event: event(4)}}
	out := b.commit(a)
	same(t, "sent", names(out[0].Sent), []string{"b/u:3", "a/:4"})
	same(t, "kept", b.waiting(), []string{"a/t:1", "b/:2", "b/u:3", "a/:4"})
	page, err := b.Signals(t.Context(), b.shards(), sent[0].ID, 2)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "a page", names(page), []string{"b/:2", "b/u:3"})
	if others, err := b.Signals(t.Context(), []int{b.shard + 1000}, 0, 10); err != nil || len(others) > 0 {
		t.Errorf("of another shard: %v %v", names(others), err)
	}
	a = next(a)
	a.Taken = []int64{sent[0].ID}
	b.commit(a, &saga.Change{Taken: []int64{sent[1].ID, sent[1].ID + 1_000_000}})
	same(t, "left", b.waiting(), []string{"b/u:3", "a/:4"})
}

func signalsForNobody(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	b.made("a")
	sent, err := b.Send(t.Context(), []saga.Signal{{Instance: "x", Event: event(1)}, {Instance: "a", Event: event(2)}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "sent", names(sent), []string{"a/:2"})
	c := b.begin("b")
	c.Send = []saga.Signal{{Instance: "b", Event: event(3)}, {Instance: "y", Event: event(4)}}
	same(t, "sent by a change", names(b.commit(c)[0].Sent), []string{"b/:3"})
	same(t, "kept", b.waiting(), []string{"a/:2", "b/:3"})
}

// sideBySide commits from many goroutines; of each lock exactly one instance is told that it has it.
func sideBySide(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	const each = 20
	var mu sync.Mutex
	granted := map[string]int{}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range each {
				c := b.begin(fmt.Sprintf("%d-%d", g, i))
				c.Acquire = fmt.Sprint("lock", i)
				out, err := b.Commit(t.Context(), []*saga.Change{c})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if out[0].Granted {
					granted[c.Acquire]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for i := range each {
		if n := granted[fmt.Sprint("lock", i)]; n != 1 {
			t.Errorf("lock %d was given to %d", i, n)
		}
	}
}
