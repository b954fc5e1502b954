package bus_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/bus"
)

// delay publishes events that are due at a time.
func delay(t *testing.T, b *bus.Bus, due time.Time, ids ...string) {
	t.Helper()
	events := make([]*bus.Event, len(ids))
	for i, id := range ids {
		events[i] = &bus.Event{ID: id, Source: "/", Type: "t"}
		events[i].SetExtension(bus.AttributeDeliverAt, due.Format(time.RFC3339Nano))
	}
	if _, err := b.Publish(t.Context(), "p", "t", events); err != nil {
		t.Fatal(err)
	}
}

func TestADelayedEventComesInItsTimeAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := newWatchedLog(), &subscriber{}
		b := openBus(t, log)
		apply(t, b, configOf(s))
		now := time.Now()
		delay(t, b, now.Add(30*24*time.Hour), "month")
		delay(t, b, now.Add(90*time.Minute), "later")
		delay(t, b, now.Add(time.Second), "second")
		s.wants(t)
		elapse(time.Second - time.Nanosecond)
		s.wants(t)
		elapse(time.Nanosecond)
		s.wants(t, "second")
		elapse(90*time.Minute - time.Second - time.Nanosecond)
		s.wants(t, "second")
		elapse(time.Nanosecond)
		s.wants(t, "second", "later")
		elapse(30*24*time.Hour - 90*time.Minute)
		s.wants(t, "second", "later", "month")
		if bounds, err := log.Bounds(t.Context(), bus.StreamDelayed); err != nil || bounds.Records > 0 || b.Delayed() > 0 {
			t.Errorf("there are %+v left, %d of them waiting: %v", bounds, b.Delayed(), err)
		}
		closeBus(t, b)
	})
}

func TestThousandEventsOfOneMomentComeAsTheyWerePublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &subscriber{}
		b := openBus(t, newWatchedLog())
		apply(t, b, configOf(s))
		due := time.Now().Add(time.Hour)
		ids := make([]string, 1000)
		for i := range ids {
			ids[i] = fmt.Sprint(i)
			delay(t, b, due, ids[i])
		}
		elapse(time.Hour)
		s.wants(t, ids...)
		closeBus(t, b)
	})
}

func TestWhatBecameDueWhileTheBusDidNotRunComesAtOnceAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := newWatchedLog(), &subscriber{}
		b := openBus(t, log)
		apply(t, b, configOf(s))
		now := time.Now()
		for _, hours := range []int{9, 3, 7, 1, 30, 5} {
			delay(t, b, now.Add(time.Duration(hours)*time.Hour), fmt.Sprint(hours))
		}
		elapse(2 * time.Hour)
		s.wants(t, "1")
		closeBus(t, b)
		elapse(8 * time.Hour) // as if the clock went forward
		b = openBus(t, log)
		apply(t, b, configOf(s))
		s.wants(t, "1", "3", "5", "7", "9")
		elapse(20 * time.Hour)
		s.wants(t, "1", "3", "5", "7", "9", "30")
		closeBus(t, b)
	})
}

func TestWhatIsGoneFromTheLogIsSkippedAndHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := newWatchedLog(), &subscriber{}
		b := openBus(t, log)
		apply(t, b, configOf(s))
		due := time.Now().Add(time.Hour)
		delay(t, b, due, "1", "2", "3", "4")
		if err := b.DropDelayed(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if err := log.Drop(t.Context(), bus.StreamDelayed, 3); err != nil { // by somebody else
			t.Fatal(err)
		}
		delay(t, b, due.Add(time.Hour), "5")
		elapse(time.Hour)
		s.wants(t, "1", "4")
		elapse(time.Hour)
		s.wants(t, "1", "4", "5")
		closeBus(t, b)
	})
}

func TestDelayedEventsOutliveALogThatFails(t *testing.T) {
	for _, fails := range []struct {
		operation string
		stream    bus.Stream
		again     bool // the event may come more than once
	}{{"read", bus.StreamDelayed, false}, {"append", bus.StreamEvents, false}, {"drop", bus.StreamDelayed, true}} {
		t.Run(fails.operation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, s := newWatchedLog(), &subscriber{}
				b := openBus(t, log)
				apply(t, b, configOf(s))
				delay(t, b, time.Now().Add(time.Hour), "1", "2")
				log.fail(fails.operation, fails.stream, errDisk)
				elapse(time.Hour + 10*time.Second)
				if !fails.again {
					s.wants(t)
				}
				log.fail(fails.operation, fails.stream, nil)
				elapse(time.Second)
				if !fails.again {
					s.wants(t, "1", "2")
				}
				s.mu.Lock()
				if got := slices.Compact(slices.Sorted(slices.Values(s.ids))); !slices.Equal(got, []string{"1", "2"}) {
					t.Errorf("it was brought %q", got)
				}
				s.ids = nil
				s.mu.Unlock()
				elapse(time.Hour)
				s.wants(t) // it is over
				if b.Delayed() != 0 {
					t.Errorf("%d wait still", b.Delayed())
				}
				closeBus(t, b)
			})
		})
	}
}
