package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/membus"
	"github.com/atollhq/atoll/internal/fault"
)

// only is a schedule that is due once.
func only(due time.Time, missed bool) bus.Schedule {
	return bus.Schedule{Name: "p/s", Publisher: "p", Topic: "t", Missed: missed, Next: func(after time.Time) time.Time {
		if after.Before(due) {
			return due
		}
		return time.Time{}
	}}
}

func scheduling(s ...bus.Schedule) *bus.Config {
	return &bus.Config{
		Topics: map[string]*bus.Topic{"t": {Name: "t"}}, Publishers: map[string]bus.Publisher{"p": {Topics: []string{"t"}}}, Schedules: s,
	}
}

func published(t *testing.T, b *bus.Bus) int {
	t.Helper()
	bounds, err := b.Bounds(t.Context(), bus.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	return int(bounds.Next - 1)
}

func TestASchedulePublishesNothingForTimesBeforeItWasEditedOrCameBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBus(t, membus.New())
		defer closeBus(t, b)
		begin := time.Now()
		apply(t, b, scheduling(only(begin.Add(time.Hour), true)))
		<-time.After(time.Minute)
		apply(t, b, scheduling(only(begin.Add(30*time.Second), true)))
		<-time.After(time.Minute)
		apply(t, b, scheduling())
		<-time.After(time.Hour)
		apply(t, b, scheduling(only(begin.Add(time.Hour), true)))
		<-time.After(time.Minute)
		if n := published(t, b); n != 0 {
			t.Errorf("%d events were published", n)
		}
		apply(t, b, scheduling(only(time.Now().Add(time.Minute), true)))
		<-time.After(2 * time.Minute)
		if n := published(t, b); n != 1 {
			t.Errorf("%d events were published for the time that came", n)
		}
	})
}

func TestWhatASchedulesMissedWhileNothingRanComesOnceOrNotAtAll(t *testing.T) {
	for _, missed := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			log := membus.New()
			hourly := only(time.Time{}, missed)
			hourly.Next = func(after time.Time) time.Time { return after.Truncate(time.Hour).Add(time.Hour) }
			b := openBus(t, log)
			apply(t, b, scheduling(hourly))
			<-time.After(time.Minute)
			closeBus(t, b)
			<-time.After(5 * time.Hour)
			b = openBus(t, log)
			defer closeBus(t, b)
			apply(t, b, scheduling(hourly))
			<-time.After(10 * time.Second)
			if n, want := published(t, b), map[bool]int{true: 1, false: 0}[missed]; n != want {
				t.Errorf("missed %v: %d events were published, want %d", missed, n, want)
			}
		})
	}
}

func TestAnotherPolicyDoesNotWaitForAttemptsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBus(t, membus.New())
		defer closeBus(t, b)
		got := make(chan string, 10)
		withConcurrency := func(n int) *bus.Config {
			c := scheduling()
			c.Subscriptions = []bus.Subscription{{
				Name: "s/t", Topics: []string{"t"}, Policy: bus.Policy{Concurrency: n},
				Deliver: bus.DelivererFunc(func(ctx context.Context, d bus.Delivery) bus.Outcome {
					if d.Event.ID == "hangs" {
						<-ctx.Done()
						return bus.Outcome{Verdict: bus.Failed}
					}
					got <- d.Event.ID
					return bus.Outcome{}
				}),
			}}
			return c
		}
		apply(t, b, withConcurrency(1))
		publishIDs(t, b, "hangs", "after")
		synctest.Wait()
		if len(got) > 0 {
			t.Fatal("two are in flight, and one may be")
		}
		apply(t, b, withConcurrency(2))
		synctest.Wait()
		if len(got) != 1 {
			t.Error("the policy is another, and nothing has come of it")
		}
	})
}

func TestALogThatIsFullSaysSoThoughItsSlowestSubscriberCrawls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBus(t, membus.New())
		defer closeBus(t, b)
		next := make(chan struct{})
		c := scheduling()
		c.KeepBytes = 1 << 20
		c.Subscriptions = []bus.Subscription{{
			Name: "s/t", Topics: []string{"t"}, Policy: bus.Policy{Concurrency: 1},
			Deliver: bus.DelivererFunc(func(ctx context.Context, _ bus.Delivery) bus.Outcome {
				select {
				case <-next:
					return bus.Outcome{}
				case <-ctx.Done():
					return bus.Outcome{Verdict: bus.Aborted}
				}
			}),
		}}
		apply(t, b, c)
		var refused error
		for i := 0; i < 100 && refused == nil; i++ {
			_, refused = b.Publish(t.Context(), "p", "t", []*bus.Event{{ID: fmt.Sprint(i), Source: "/", Type: "t", Data: make([]byte, 100_000)}})
			if i%5 == 0 {
				next <- struct{}{}
			}
			synctest.Wait()
		}
		bounds, err := b.Bounds(t.Context(), bus.StreamEvents)
		if e, ok := errors.AsType[*fault.Error](refused); !ok || e.Code != fault.CodeBusFull || err != nil || bounds.Bytes > 3<<19 {
			t.Errorf("refused with %v at %d bytes of %d: %v", refused, bounds.Bytes, c.KeepBytes, err)
		}
		close(next)
		<-time.After(time.Minute)
		publishIDs(t, b, "again")
	})
}

func TestASubscriptionThatIsTakenAwayThoughEventsWaitIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := map[string]uint64{}
		b, err := bus.Open(t.Context(), membus.New(), &bus.Options{OnLeft: func(name string, waiting uint64) { left[name] = waiting }})
		if err != nil {
			t.Fatal(err)
		}
		defer closeBus(t, b)
		s := &subscriber{answer: bus.Outcome{Verdict: bus.Unreachable}}
		apply(t, b, configOf(s))
		publishIDs(t, b, "1", "2", "3")
		<-time.After(time.Minute)
		apply(t, b, scheduling())
		if len(left) != 1 {
			t.Errorf("told of %v", left)
		}
		for name, waiting := range left {
			if waiting != 3 {
				t.Errorf("%s leaves with %d events", name, waiting)
			}
		}
		s.say(bus.Outcome{})
		apply(t, b, configOf(s))
		<-time.After(time.Minute)
		s.wants(t, "1", "2", "3")
	})
}
