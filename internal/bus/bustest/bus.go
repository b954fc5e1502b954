package bustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/fault"
)

func runBus(t *testing.T, driver Driver) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(t *testing.T, open Open)
	}{
		{"EverySubscriptionGetsItsTopics", everySubscription},
		{"WhatFailsIsTriedAgain", triesAgain},
		{"WhatIsRefusedIsADeadLetterAtOnce", refusedDies},
		{"WhatKeepsFailingIsADeadLetterWithItsAttempts", failingDies},
		{"EventsOfAKeyKeepTheirOrder", keyOrder},
		{"APoisonedKeyBlocksOnlyItself", poisonedKey},
		{"NobodyThereCountsForNothing", nobodyThere},
		{"WhoComesBackGoesOnWhereItStood", goesOn},
		{"AStopMidwayMakesNoDeadLetters", stopMidway},
		{"ANewSubscriptionBeginsNow", beginsNow},
		{"ReplayBringsItAgain", replays},
		{"ADeadLetterIsRevivedWithOtherData", revives},
		{"ADelayedEventComesInItsTime", delayed},
		{"ADelayedEventOutlivesTheBus", delayedOutlives},
		{"UndeclaredIsRefusedWithTheLineToAdd", undeclared},
		{"ManyPublishersKeepTheirOwnOrder", manyPublishers},
		{"ASlowSubscriberHoldsABoundedNumber", slowSubscriber},
		{"AScheduleIsPublished", scheduled},
		{"WhatAllHaveSettledIsDropped", retention},
	} {
		t.Run("Bus/"+c.name, func(t *testing.T) { c.run(t, driver(t)) })
	}
}

func everySubscription(t *testing.T, open Open) {
	t.Helper()
	one, two := newDesk(nil), newDesk(nil)
	second := subscription("mail/order.placed", two)
	second.Topics = []string{topic, "other"}
	b, _ := openBus(t, open, config(subscription("crm/order.placed", one), second))
	publish(t, b, NewEvent(topic, "k", "0"), NewEvent(topic, "k", "1"))
	publish(t, b, NewEvent("other", "k", "2"))
	if seen := two.awaitSeen(t, 3); !slices.Equal(seen, numbers(3)) {
		t.Errorf("saw %q", seen)
	}
	if seen := one.awaitSeen(t, 2); !slices.Equal(seen, numbers(2)) {
		t.Errorf("saw %q", seen)
	}
}

func triesAgain(t *testing.T, open Open) {
	t.Helper()
	k := newDesk(func(d bus.Delivery) bus.Outcome {
		if d.Attempt < 3 {
			return bus.Outcome{Verdict: bus.Failed, Status: 500}
		}
		return bus.Outcome{}
	})
	b, _ := openBus(t, open, config(subscription("crm/order.placed", k)))
	publish(t, b, NewEvent(topic, "", "0"))
	k.awaitSeen(t, 1)
	k.await(t, func(_ []string, tries []bus.Delivery) bool {
		return len(tries) == 3 && tries[0].Event.ID == tries[2].Event.ID
	})
}

func refusedDies(t *testing.T, open Open) {
	t.Helper()
	k := newDesk(func(d bus.Delivery) bus.Outcome {
		if string(d.Event.Data) == "bad" {
			return bus.Outcome{Verdict: bus.Refused, Status: 422, Text: "no such order", By: "crm-1"}
		}
		return bus.Outcome{}
	})
	b, _ := openBus(t, open, config(subscription("crm/order.placed", k)))
	publish(t, b, NewEvent(topic, "a", "bad"), NewEvent(topic, "a", "good"))
	k.awaitSeen(t, 1)
	dead := awaitDead(t, b)
	d := dead[0]
	if len(dead) != 1 || d.Subscription != "crm/order.placed" || d.Failed != 1 || len(d.Attempts) != 1 || d.Attempts[0].Status != 422 ||
		d.Attempts[0].Text != "no such order" || d.Attempts[0].By != "crm-1" || string(d.Event.Data) != "bad" || d.Event.Key() != "a" || d.Origin != 1 {
		t.Errorf("dead letters %+v", dead)
	}
}

func failingDies(t *testing.T, open Open) {
	t.Helper()
	k := newDesk(func(bus.Delivery) bus.Outcome { return bus.Outcome{Verdict: bus.Failed, Text: "time-out"} })
	b, _ := openBus(t, open, config(subscription("crm/order.placed", k)))
	publish(t, b, NewEvent(topic, "a", "0"))
	if d := awaitDead(t, b)[0]; d.Failed != 4 || len(d.Attempts) != 4 || d.Cause == "" || d.Died.Before(d.Stored.Add(-time.Second)) {
		t.Errorf("dead letter %+v", d)
	}
	k.awaitTries(t, 4)
}

func keyOrder(t *testing.T, open Open) {
	t.Helper()
	k := newDesk(func(d bus.Delivery) bus.Outcome {
		if d.Offset%3 == 0 && d.Attempt < 3 {
			return bus.Outcome{Verdict: bus.Failed}
		}
		return bus.Outcome{}
	})
	b, _ := openBus(t, open, config(subscription("crm/order.placed", k)))
	for i := range 60 {
		publish(t, b, NewEvent(topic, fmt.Sprint(i%4), fmt.Sprintf("%d/%03d", i%4, i)))
	}
	seen := k.awaitSeen(t, 60)
	for key := range 4 {
		var mine []string
		for _, s := range seen {
			if strings.HasPrefix(s, fmt.Sprint(key)+"/") {
				mine = append(mine, s)
			}
		}
		if len(mine) != 15 || !slices.IsSorted(mine) {
			t.Errorf("key %d was delivered as %q", key, mine)
		}
	}
}

func poisonedKey(t *testing.T, open Open) {
	t.Helper()
	k := newDesk(func(d bus.Delivery) bus.Outcome {
		if d.Event.Key() == "bad" {
			return bus.Outcome{Verdict: bus.Failed}
		}
		return bus.Outcome{}
	})
	sub := subscription("crm/order.placed", k)
	sub.Policy.Attempts, sub.Policy.Room, sub.Policy.MaxBackoff = 0, 20, 10*time.Millisecond
	b, _ := openBus(t, open, config(sub))
	for i := range 200 { // ten times as many as are held
		publish(t, b, NewEvent(topic, "bad", fmt.Sprint("bad", i)), NewEvent(topic, "", fmt.Sprint(i)))
	}
	k.awaitSeen(t, 200)
	for _, d := range awaitDead(t, b) { // what made room is kept
		if d.Event.Key() != "bad" {
			t.Errorf("%q is a dead letter", d.Event.Data)
		}
	}
}

func nobodyThere(t *testing.T, open Open) {
	t.Helper()
	var there sync.Once
	begin := make(chan struct{})
	k := newDesk(func(d bus.Delivery) bus.Outcome {
		select {
		case <-begin:
			return bus.Outcome{}
		default:
			return bus.Outcome{Verdict: bus.Unreachable}
		}
	})
	sub := subscription("crm/order.placed", k)
	sub.Policy.Attempts = 1
	b, _ := openBus(t, open, config(sub))
	publish(t, b, NewEvent(topic, "a", "0"), NewEvent(topic, "a", "1"))
	k.awaitTries(t, 3)
	there.Do(func() { close(begin) })
	if seen := k.awaitSeen(t, 2); !slices.Equal(seen, numbers(2)) {
		t.Errorf("saw %q", seen)
	}
	if dead, _, err := b.DeadLetters(t.Context(), "", 1, 10); err != nil || len(dead) > 0 {
		t.Errorf("dead letters %+v: %v", dead, err)
	}
}

func goesOn(t *testing.T, open Open) {
	t.Helper()
	hold := make(chan struct{})
	k := newDesk(func(d bus.Delivery) bus.Outcome {
		if string(d.Event.Data) == "1" {
			select {
			case <-hold:
			default:
				return bus.Outcome{Verdict: bus.Failed, Text: "not yet"}
			}
		}
		return bus.Outcome{}
	})
	sub := subscription("crm/order.placed", k)
	sub.Policy.Attempts = 0
	b, stop := openBus(t, open, config(sub))
	publish(t, b, NewEvent(topic, "", "0"), NewEvent(topic, "", "1"), NewEvent(topic, "", "2"))
	k.awaitSeen(t, 2)
	stop()
	between := openLog(t, open)
	appendAll(t, between, bus.StreamEvents, NewEvent(topic, "", "3"))
	if err := between.Close(); err != nil {
		t.Fatal(err)
	}
	close(hold)
	openBus(t, open, config(sub))
	seen := k.awaitSeen(t, 4)
	slices.Sort(seen)
	if !slices.Equal(seen, numbers(4)) {
		t.Errorf("saw %q", seen)
	}
}

func stopMidway(t *testing.T, open Open) {
	t.Helper()
	entered := make(chan struct{}, 100)
	slow := bus.DelivererFunc(func(ctx context.Context, d bus.Delivery) bus.Outcome {
		entered <- struct{}{}
		if string(d.Event.Data) == "0" {
			return bus.Outcome{}
		}
		<-ctx.Done()
		return bus.Outcome{Verdict: bus.Failed, Text: "broken off"}
	})
	sub := subscription("crm/order.placed", nil)
	sub.Deliver, sub.Policy.Attempts = slow, 1
	b, stop := openBus(t, open, config(sub))
	publish(t, b, NewEvent(topic, "", "0"), NewEvent(topic, "", "1"))
	<-entered
	<-entered
	stop()
	k := newDesk(nil)
	b, _ = openBus(t, open, config(subscription("crm/order.placed", k)))
	if seen := k.awaitSeen(t, 1); !slices.Equal(seen, []string{"1"}) {
		t.Errorf("saw %q", seen)
	}
	if dead, _, err := b.DeadLetters(t.Context(), "", 1, 10); err != nil || len(dead) > 0 {
		t.Errorf("dead letters %+v: %v", dead, err)
	}
}

func beginsNow(t *testing.T, open Open) {
	t.Helper()
	b, _ := openBus(t, open, config())
	publish(t, b, NewEvent(topic, "", "before"))
	k := newDesk(nil)
	if err := b.Apply(t.Context(), config(subscription("crm/order.placed", k))); err != nil {
		t.Fatal(err)
	}
	publish(t, b, NewEvent(topic, "", "after"))
	if seen := k.awaitSeen(t, 1); seen[0] != "after" {
		t.Errorf("saw %q", seen)
	}
}

func replays(t *testing.T, open Open) {
	t.Helper()
	k, other := newDesk(nil), newDesk(nil)
	b, _ := openBus(t, open, config(subscription("crm/order.placed", k), subscription("mail/order.placed", other)))
	for i := range 5 {
		publish(t, b, NewEvent(topic, "a", fmt.Sprint(i)))
	}
	k.awaitSeen(t, 5)
	other.awaitSeen(t, 5)
	if from, err := b.Replay(t.Context(), "crm/order.placed", 3); err != nil || from != 3 {
		t.Fatalf("replay from %d: %v", from, err)
	}
	if seen := k.awaitSeen(t, 8); !slices.Equal(seen[5:], []string{"2", "3", "4"}) {
		t.Errorf("saw %q", seen)
	}
	publish(t, b, NewEvent(topic, "a", "5"))
	if seen := other.awaitSeen(t, 6); len(seen) != 6 {
		t.Errorf("another subscription saw %q", seen)
	}
	if _, err := b.Replay(t.Context(), "nobody/order.placed", 1); codeOf(err) != fault.CodeSubscriptionUnknown {
		t.Errorf("replay for nobody: %v", err)
	}
}

func codeOf(err error) fault.Code {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Code
	}
	return ""
}

func revives(t *testing.T, open Open) {
	t.Helper()
	k := newDesk(func(d bus.Delivery) bus.Outcome {
		if string(d.Event.Data) == "bad" {
			return bus.Outcome{Verdict: bus.Refused}
		}
		return bus.Outcome{}
	})
	other := newDesk(nil)
	b, _ := openBus(t, open, config(subscription("crm/order.placed", k), subscription("mail/order.placed", other)))
	publish(t, b, NewEvent(topic, "", "bad"))
	d := awaitDead(t, b)[0]
	other.awaitSeen(t, 1)
	if err := b.Revive(t.Context(), d.Offset, []byte("good")); err != nil {
		t.Fatal(err)
	}
	k.awaitSeen(t, 1)
	k.await(t, func(_ []string, tries []bus.Delivery) bool {
		last := tries[len(tries)-1].Event
		return string(last.Data) == "good" && last.ID == d.Event.ID
	})
	if dead, _, err := b.DeadLetters(t.Context(), "", 1, 10); err != nil || len(dead) > 0 {
		t.Errorf("dead letters %+v: %v", dead, err)
	}
	if err := b.Revive(t.Context(), d.Offset, nil); codeOf(err) != fault.CodeDeadLetterUnknown {
		t.Errorf("reviving it twice: %v", err)
	}
	publish(t, b, NewEvent(topic, "", "last"))
	if seen := other.awaitSeen(t, 2); !slices.Equal(seen, []string{"bad", "last"}) {
		t.Errorf("another subscription saw %q", seen)
	}
}

func delayedEvent(data string, at time.Time) *bus.Event {
	e := NewEvent(topic, "", data)
	e.SetExtension(bus.AttributeDeliverAt, at.Format(time.RFC3339Nano))
	return e
}

func delayed(t *testing.T, open Open) {
	t.Helper()
	k := newDesk(nil)
	b, _ := openBus(t, open, config(subscription("crm/order.placed", k)))
	due := time.Now().Add(150 * time.Millisecond)
	receipts := publish(t, b, delayedEvent("later", due), delayedEvent("soon", due.Add(-100*time.Millisecond)), NewEvent(topic, "", "now"))
	if receipts[0].Delayed.IsZero() || !receipts[2].Delayed.IsZero() {
		t.Errorf("receipts %+v", receipts)
	}
	if seen := k.awaitSeen(t, 3); !slices.Equal(seen, []string{"now", "soon", "later"}) || time.Now().Before(due) {
		t.Errorf("saw %q %s before it was due", seen, time.Until(due))
	}
	if left, err := b.Bounds(t.Context(), bus.StreamDelayed); err != nil || left.Records > 1 {
		t.Errorf("delayed are %+v: %v", left, err)
	}
}

// delayedOutlives lets nobody be there before the bus is opened again: whether the event falls due before or after that is left to the
// machine, and a subscription that began only then might begin behind it.
func delayedOutlives(t *testing.T, open Open) {
	t.Helper()
	absent := newDesk(func(bus.Delivery) bus.Outcome { return bus.Outcome{Verdict: bus.Unreachable} })
	b, stop := openBus(t, open, config(subscription("crm/order.placed", absent)))
	due := time.Now().Add(100 * time.Millisecond)
	publish(t, b, delayedEvent("later", due))
	stop()
	k := newDesk(nil)
	openBus(t, open, config(subscription("crm/order.placed", k)))
	k.awaitSeen(t, 1)
}

func undeclared(t *testing.T, open Open) {
	t.Helper()
	b, _ := openBus(t, open, config())
	_, err := b.Publish(t.Context(), "orders", "order.shipped", []*bus.Event{NewEvent("order.shipped", "", "")})
	e, _ := errors.AsType[*fault.Error](err)
	if e == nil || e.Code != fault.CodePublishUndeclared || !strings.Contains(e.Remedy, "add order.shipped to the list publishes in orders/service.yaml") {
		t.Errorf("refused with %+v", e)
	}
	_, err = b.Publish(t.Context(), "orders", topic, []*bus.Event{{ID: "1", Source: "/"}})
	if codeOf(err) != fault.CodeEventInvalid {
		t.Errorf("refused with %v", err)
	}
	if bounds, err := b.Bounds(t.Context(), bus.StreamEvents); err != nil || bounds.Records != 0 {
		t.Errorf("%+v was kept: %v", bounds, err)
	}
}

func manyPublishers(t *testing.T, open Open) {
	t.Helper()
	k := newDesk(nil)
	sub := subscription("crm/order.placed", k)
	sub.Policy.Concurrency = 32
	b, _ := openBus(t, open, config(sub))
	const publishers, each = 50, 20
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				if _, err := b.Publish(t.Context(), "orders", topic, []*bus.Event{NewEvent(topic, fmt.Sprint(p), fmt.Sprintf("%d/%03d", p, i))}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	latest := map[string]string{}
	for _, s := range k.awaitSeen(t, publishers*each) {
		p, _, _ := strings.Cut(s, "/")
		if s <= latest[p] {
			t.Fatalf("%s comes after %s", s, latest[p])
		}
		latest[p] = s
	}
}

func slowSubscriber(t *testing.T, open Open) {
	t.Helper()
	release := make(chan struct{})
	slow := newDesk(func(bus.Delivery) bus.Outcome {
		<-release
		return bus.Outcome{}
	})
	fast := newDesk(nil)
	sub := subscription("crm/order.placed", slow)
	sub.Policy.Room, sub.Policy.Concurrency = 10, 2
	b, _ := openBus(t, open, config(sub, subscription("mail/order.placed", fast)))
	for i := range 300 {
		publish(t, b, NewEvent(topic, "", fmt.Sprint(i)))
	}
	fast.awaitSeen(t, 300)
	await(t, func() bool {
		s := b.Subscriptions()[0]
		if s.Flying > 2 {
			t.Fatalf("the slow one stands so: %+v", s)
		}
		return s.Waiting == 300 && s.Full
	})
	close(release)
	slow.awaitSeen(t, 300)
}

func scheduled(t *testing.T, open Open) {
	t.Helper()
	k := newDesk(nil)
	c := config(subscription("crm/order.placed", k))
	var begin time.Time // of the first question
	c.Schedules = []bus.Schedule{{
		Name: "orders/tick", Publisher: "orders", Topic: topic, Data: []byte(`{"a":1}`),
		Next: func(at time.Time) time.Time {
			if begin.IsZero() {
				begin = at
			}
			if at.Before(begin.Add(200 * time.Millisecond)) {
				return begin.Add(200 * time.Millisecond)
			}
			return time.Time{}
		},
	}}
	openBus(t, open, c)
	if seen := k.awaitSeen(t, 1); seen[0] != `{"a":1}` {
		t.Errorf("saw %q", seen)
	}
}

func retention(t *testing.T, open Open) {
	t.Helper()
	hold := make(chan struct{})
	k := newDesk(func(d bus.Delivery) bus.Outcome {
		if string(d.Event.Data) == "5" {
			<-hold
		}
		return bus.Outcome{}
	})
	c := config(subscription("crm/order.placed", k))
	c.KeepAge = time.Nanosecond
	b, _ := openBus(t, open, c)
	for i := range 10 {
		publish(t, b, NewEvent(topic, "", fmt.Sprint(i)))
	}
	k.awaitSeen(t, 9)
	tidied := func(first bus.Offset) bool {
		if err := b.Tidy(t.Context(), time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		bounds, err := b.Bounds(t.Context(), bus.StreamEvents)
		if err != nil || bounds.First > first {
			t.Fatalf("what is needed was dropped: %+v: %v", bounds, err)
		}
		return bounds.First == first
	}
	await(t, func() bool { return tidied(6) })
	close(hold)
	k.awaitSeen(t, 10)
	await(t, func() bool { return tidied(11) })
}

// await asks again and again until something holds.
func await(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("in vain")
		}
	}
}
