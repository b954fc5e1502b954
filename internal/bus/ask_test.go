package bus_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/membus"
	"github.com/atollhq/atoll/internal/fault"
)

const topic = "order.placed"

// taken answers every attempt in one way.
func taken(o bus.Outcome) bus.Deliverer {
	return bus.DelivererFunc(func(context.Context, bus.Delivery) bus.Outcome { return o })
}

func config(subs ...bus.Subscription) *bus.Config {
	return &bus.Config{
		Topics: map[string]*bus.Topic{topic: {Name: topic}}, Publishers: map[string]bus.Publisher{"orders": {Topics: []string{topic}}},
		Subscriptions: subs, KeepAge: time.Hour,
	}
}

// open opens a bus upon a log; it ends with the test.
func open(t *testing.T, l bus.Log, c *bus.Config) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return b
}

// elapse lets time pass.
func elapse(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // only in bubbles

func closeBus(t *testing.T, b *bus.Bus) {
	t.Helper()
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// publish publishes n events, of which the i-th has the data i.
func publish(t *testing.T, b *bus.Bus, n int, change func(*bus.Event)) {
	t.Helper()
	for i := range n {
		e := &bus.Event{ID: bus.NewID(), Source: "/services/orders", Type: topic, Data: []byte(fmt.Sprint(i))}
		if change != nil {
			change(e)
		}
		if _, err := b.Publish(t.Context(), "orders", topic, []*bus.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
}

func info(t *testing.T, b *bus.Bus, name string) bus.SubscriptionInfo {
	t.Helper()
	list := b.Subscriptions()
	i := slices.IndexFunc(list, func(s bus.SubscriptionInfo) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no subscription %s among %+v", name, list)
	}
	return list[i]
}

func TestRatesCountTheLastTenSecondsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, membus.New(), config(bus.Subscription{Name: "crm/order.placed", Topics: []string{topic}, Deliver: taken(bus.Outcome{})}))
		defer closeBus(t, b)
		publish(t, b, 20, nil)
		synctest.Wait()
		if got, sub := b.Topics()[0], info(t, b, "crm/order.placed"); got.Rate != 2 || got.Published != 20 || sub.Rate != 2 || sub.Accepted != 20 {
			t.Errorf("topic %+v, subscription %+v", got, sub)
		}
		elapse(5 * time.Second)
		publish(t, b, 10, nil)
		if got := b.Topics()[0]; got.Rate != 3 {
			t.Errorf("rate %v, want 3", got.Rate)
		}
		elapse(10 * time.Second)
		if got := b.Topics()[0]; got.Rate != 1 || got.Published != 30 {
			t.Errorf("after 15 s: %+v", got)
		}
		elapse(time.Minute)
		if got, sub := b.Topics()[0], info(t, b, "crm/order.placed"); got.Rate != 0 || sub.Rate != 0 || sub.Durations.Count != 30 {
			t.Errorf("after a minute: %+v, %+v", got, sub)
		}
	})
}

func TestACountOutlivesAChangeOfThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub := bus.Subscription{Name: "crm/order.placed", Topics: []string{topic}, Deliver: taken(bus.Outcome{})}
		b := open(t, membus.New(), config(sub))
		defer closeBus(t, b)
		publish(t, b, 3, nil)
		synctest.Wait()
		sub.Policy.Concurrency = 2
		if err := b.Apply(t.Context(), config(sub)); err != nil {
			t.Fatal(err)
		}
		if got := info(t, b, sub.Name); got.Accepted != 3 {
			t.Errorf("accepted %d, want 3", got.Accepted)
		}
	})
}

func TestWhatIsPausedKeepsItsPlaceAndHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := membus.New()
		var got []string
		sub := bus.Subscription{
			Name: "webhook/1", Topics: []string{topic}, Paused: true,
			Deliver: bus.DelivererFunc(func(_ context.Context, d bus.Delivery) bus.Outcome {
				got = append(got, string(d.Event.Data))
				return bus.Outcome{}
			}), Policy: bus.Policy{Concurrency: 1},
		}
		b := open(t, l, config(sub))
		publish(t, b, 3, nil)
		synctest.Wait()
		if s := info(t, b, sub.Name); s.Waiting != 3 || !s.Paused || len(got) != 0 {
			t.Errorf("paused: %+v, got %q", s, got)
		}
		closeBus(t, b)
		b = open(t, l, config(sub))
		if s := info(t, b, sub.Name); s.Waiting != 3 {
			t.Errorf("opened again: %+v", s)
		}
		elapse(2 * time.Hour)
		publish(t, b, 2, nil)
		if err := b.Tidy(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		if bounds, err := b.Bounds(t.Context(), bus.StreamEvents); err != nil || bounds.First != 4 {
			t.Errorf("a subscription that is paused keeps %+v from being dropped, %v", bounds, err)
		}
		sub.Paused = false
		if err := b.Apply(t.Context(), config(sub)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !slices.Equal(got, []string{"0", "1"}) {
			t.Errorf("woken, it got %q, want those that are still kept", got)
		}
		closeBus(t, b)
	})
}

func TestWhatWaitsIsCountedBeforeItIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := membus.New()
		sub := bus.Subscription{
			Name: "crm/order.placed", Topics: []string{topic},
			Deliver: bus.DelivererFunc(func(_ context.Context, d bus.Delivery) bus.Outcome {
				if string(d.Event.Data) == "0" {
					return bus.Outcome{Verdict: bus.Failed}
				}
				return bus.Outcome{}
			}), Policy: bus.Policy{Backoff: time.Hour},
		}
		b := open(t, l, config(sub))
		publish(t, b, 5, nil)
		elapse(time.Second)
		closeBus(t, b)
		sub.Paused = true
		b = open(t, l, config(sub))
		defer closeBus(t, b)
		synctest.Wait()
		if got := info(t, b, sub.Name); got.Waiting != 1 {
			t.Errorf("%d wait, want the one that failed", got.Waiting)
		}
	})
}

func TestAFilterChoosesAmongTheEventsOfATopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		b := open(t, membus.New(), config(bus.Subscription{
			Name: "webhook/1", Topics: []string{topic}, Filter: func(e *bus.Event) bool { return e.Subject == "yes" },
			Deliver: bus.DelivererFunc(func(_ context.Context, d bus.Delivery) bus.Outcome {
				got = append(got, d.Event.Subject)
				return bus.Outcome{}
			}), Policy: bus.Policy{Concurrency: 1},
		}))
		defer closeBus(t, b)
		for _, subject := range []string{"no", "yes"} {
			publish(t, b, 1, func(e *bus.Event) { e.Subject = subject })
		}
		synctest.Wait()
		if !slices.Equal(got, []string{"yes"}) {
			t.Errorf("got %q", got)
		}
	})
}

func TestAWaitIsToldWhatTheSubscriberAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Duration
		began, second := time.Now(), time.Time{}
		b := open(t, membus.New(), config(bus.Subscription{
			Name: "webhook/1", Topics: []string{topic},
			Deliver: bus.DelivererFunc(func(_ context.Context, d bus.Delivery) bus.Outcome {
				if d.Attempt == 1 {
					return bus.Outcome{Verdict: bus.Failed, After: 7 * time.Hour}
				}
				second = time.Now()
				return bus.Outcome{}
			}),
			Policy: bus.Policy{Wait: func(_ int, _, _ time.Time, after time.Duration) (time.Duration, bool) {
				asked = append(asked, after)
				return after, false
			}},
		}))
		defer closeBus(t, b)
		publish(t, b, 1, nil)
		elapse(8 * time.Hour)
		synctest.Wait()
		if !slices.Equal(asked, []time.Duration{7 * time.Hour}) || second.Sub(began) != 7*time.Hour {
			t.Errorf("asked %v, tried again after %v", asked, second.Sub(began))
		}
	})
}

func TestADelayedEventThatIsDroppedNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, membus.New(), config())
		defer closeBus(t, b)
		publish(t, b, 2, func(e *bus.Event) {
			e.SetExtension(bus.AttributeDeliverAt, time.Now().Add(time.Hour).Format(time.RFC3339Nano))
		})
		if err := b.DropDelayed(t.Context(), 1); err != nil || b.Delayed() != 1 {
			t.Fatalf("%v; %d wait, want 1", err, b.Delayed())
		}
		if err := b.DropDelayed(t.Context(), 1); fault.CodeOf(err) != fault.CodeOffsetGone {
			t.Errorf("dropped twice: %v", err)
		}
		elapse(2 * time.Hour)
		records, _, err := b.Find(t.Context(), bus.StreamEvents, 1, 10, nil)
		if err != nil || len(records) != 1 || string(records[0].Event.Data) != "1" {
			t.Errorf("published %+v, %v", records, err)
		}
		if err := b.DropDelayed(t.Context(), 2); fault.CodeOf(err) != fault.CodeOffsetGone {
			t.Errorf("one that was published is dropped: %v", err)
		}
	})
}

func TestTheNewestAreFoundFromTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, membus.New(), config())
		defer closeBus(t, b)
		publish(t, b, 500, nil)
		even := func(e *bus.Event) bool { return (e.Data[len(e.Data)-1]-'0')%2 == 0 }
		for _, c := range []struct {
			before bus.Offset
			limit  int
			match  func(*bus.Event) bool
			want   []bus.Offset
		}{
			{0, 3, nil, []bus.Offset{498, 499, 500}},
			{499, 2, even, []bus.Offset{495, 497}},
			{3, 10, nil, []bus.Offset{1, 2}},
			{1, 10, nil, nil},
			{0, 2, func(e *bus.Event) bool { return string(e.Data) == "4" }, []bus.Offset{5}},
		} {
			records, err := b.Newest(t.Context(), bus.StreamEvents, c.before, c.limit, c.match)
			if err != nil {
				t.Fatal(err)
			}
			var got []bus.Offset
			for _, r := range records {
				got = append(got, r.Offset)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("newest %d below %d: %v, want %v", c.limit, c.before, got, c.want)
			}
		}
	})
}

func TestTheNewestBelowAnOffsetAreFoundAcrossGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := membus.New()
		b := open(t, l, config())
		defer closeBus(t, b)
		publish(t, b, 500, nil)
		for gone := bus.Offset(100); gone <= 490; gone++ {
			if err := l.Drop(t.Context(), bus.StreamEvents, gone); err != nil {
				t.Fatal(err)
			}
		}
		records, err := b.Newest(t.Context(), bus.StreamEvents, 499, 150, nil)
		if err != nil || len(records) != 107 || records[0].Offset != 1 || records[106].Offset != 498 {
			t.Errorf("%d records, %v", len(records), err)
		}
	})
}

func TestDeadLettersThatAreKeptAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, membus.New(), config(bus.Subscription{Name: "crm/order.placed", Topics: []string{topic}, Deliver: taken(bus.Outcome{Verdict: bus.Refused})}))
		defer closeBus(t, b)
		publish(t, b, 3, nil)
		synctest.Wait()
		for _, want := range []uint64{3, 2} {
			kept, err := b.DeadKept(t.Context())
			if err != nil || kept["crm/order.placed"] != want {
				t.Errorf("kept %v, %v, want %d", kept, err, want)
			}
			if err := b.DropDead(t.Context(), 2); err != nil && want == 3 {
				t.Fatal(err)
			}
		}
	})
}

func TestWhatIsForgottenBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub := bus.Subscription{Name: "webhook/1", Topics: []string{topic}, Paused: true, Deliver: taken(bus.Outcome{})}
		b := open(t, membus.New(), config(sub))
		defer closeBus(t, b)
		publish(t, b, 3, nil)
		if err := b.Forget(t.Context(), sub.Name); err == nil {
			t.Error("one that runs was forgotten")
		}
		for _, c := range []*bus.Config{config(), config(sub)} {
			if err := b.Apply(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if len(c.Subscriptions) > 0 {
				break
			}
			if err := b.Forget(t.Context(), sub.Name); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if got := info(t, b, sub.Name); got.Waiting != 0 {
			t.Errorf("%d wait for it", got.Waiting)
		}
	})
}

func TestOneRecordIsFoundByItsOffset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, membus.New(), config())
		defer closeBus(t, b)
		publish(t, b, 3, nil)
		if r, err := b.Get(t.Context(), bus.StreamEvents, 2); err != nil || r.Offset != 2 || string(r.Event.Data) != "1" {
			t.Errorf("got %+v, %v", r, err)
		}
		if _, err := b.Get(t.Context(), bus.StreamEvents, 4); fault.CodeOf(err) != fault.CodeOffsetGone {
			t.Errorf("beyond the end: %v", err)
		}
	})
}
