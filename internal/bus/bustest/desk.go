package bustest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/bus"
)

const topic = "order.placed"

// desk is a subscriber that remembers what it was brought.
type desk struct {
	answer func(d bus.Delivery) bus.Outcome // nil accepts

	mu    sync.Mutex
	seen  []string       // guarded by mu: data of what it accepted, in order
	tries []bus.Delivery // guarded by mu: all attempts
	more  chan struct{}  // guarded by mu: closed at the next attempt
}

func newDesk(answer func(d bus.Delivery) bus.Outcome) *desk {
	return &desk{answer: answer, more: make(chan struct{})}
}

// Deliver implements bus.Deliverer.
func (k *desk) Deliver(_ context.Context, d bus.Delivery) bus.Outcome {
	var o bus.Outcome
	if k.answer != nil {
		o = k.answer(d)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if o.Verdict == bus.Accepted {
		k.seen = append(k.seen, string(d.Event.Data))
	}
	k.tries = append(k.tries, d)
	close(k.more)
	k.more = make(chan struct{})
	return o
}

// await returns what was accepted once done holds for it.
func (k *desk) await(t *testing.T, done func(seen []string, tries []bus.Delivery) bool) []string {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		k.mu.Lock()
		seen, tries, more := slices.Clone(k.seen), slices.Clone(k.tries), k.more
		k.mu.Unlock()
		if done(seen, tries) {
			return seen
		}
		select {
		case <-more:
		case <-limit:
			t.Fatalf("in vain: accepted %q after %d attempts", seen, len(tries))
		}
	}
}

func (k *desk) awaitSeen(t *testing.T, n int) []string {
	t.Helper()
	return k.await(t, func(seen []string, _ []bus.Delivery) bool { return len(seen) >= n })
}

func (k *desk) awaitTries(t *testing.T, n int) {
	t.Helper()
	k.await(t, func(_ []string, tries []bus.Delivery) bool { return len(tries) >= n })
}

// quick is a policy whose waits are short.
func quick() bus.Policy {
	return bus.Policy{Concurrency: 4, Attempts: 4, Backoff: 5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond, Ordered: true}
}

func subscription(name string, k *desk) bus.Subscription {
	return bus.Subscription{Name: name, Topics: []string{topic}, Policy: quick(), Deliver: k}
}

func config(subs ...bus.Subscription) *bus.Config {
	return &bus.Config{
		Topics:     map[string]*bus.Topic{topic: {Name: topic}, "other": {Name: "other"}},
		Publishers: map[string]bus.Publisher{"orders": {Topics: []string{topic, "other"}, File: "orders/service.yaml"}}, Subscriptions: subs,
	}
}

// openBus opens a bus upon the log and puts subscriptions into force. Both are closed at the end of the test, or by close.
func openBus(t *testing.T, open Open, c *bus.Config) (b *bus.Bus, stop func()) {
	t.Helper()
	l := open(t)
	b, err := bus.Open(t.Context(), l, &bus.Options{Drain: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			if err := b.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	if err := b.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return b, stop
}

func publish(t *testing.T, b *bus.Bus, events ...*bus.Event) []bus.Receipt {
	t.Helper()
	receipts, err := b.Publish(t.Context(), "orders", events[0].Topic, events)
	if err != nil {
		t.Fatal(err)
	}
	return receipts
}

func numbers(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(i)
	}
	return out
}

func awaitDead(t *testing.T, b *bus.Bus) []bus.DeadLetter {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for {
		dead, _, err := b.DeadLetters(t.Context(), "", 1, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(dead) > 0 {
			return dead
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("there is no dead letter")
		}
	}
}
