package bus_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/bus"
)

// publishMany publishes events from the first to the last number, many at once, and returns their ids.
func publishMany(t *testing.T, b *bus.Bus, first, last, size int) (ids []string) {
	t.Helper()
	var events []*bus.Event
	for n := first; n <= last; n++ {
		ids = append(ids, fmt.Sprint(n))
		events = append(events, &bus.Event{ID: fmt.Sprint(n), Source: "/", Type: "t", Data: make([]byte, size)})
		if len(events) == 100 || n == last {
			if _, err := b.Publish(t.Context(), "p", "t", events); err != nil {
				t.Fatal(err)
			}
			events = nil
		}
	}
	return ids
}

func TestASubscriptionThatKeepsUpReadsNothingFromTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := newWatchedLog(), &subscriber{}
		b := openBus(t, log)
		apply(t, b, configOf(s))
		ids := publishMany(t, b, 1, 3000, 10)
		s.wants(t, ids...)
		if reads := log.readFrom(); len(reads) > 0 {
			t.Errorf("the log was read from %v on", reads)
		}
		closeBus(t, b)
	})
}

func TestWhatOthersAppendInBetweenIsNotSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := newWatchedLog(), &subscriber{}
		b := openBus(t, log)
		apply(t, b, configOf(s))
		foreign := func(ids ...string) {
			for _, id := range ids {
				if _, err := log.Append(t.Context(), bus.StreamEvents, []*bus.Event{{ID: id, Source: "/", Type: "t", Topic: "t"}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		publishIDs(t, b, "1", "2")
		foreign("3", "4")
		publishIDs(t, b, "5") // tells of them too
		s.wants(t, "1", "2", "3", "4", "5")
		foreign("6")
		s.wants(t, "1", "2", "3", "4", "5") // of which nobody has told yet
		elapse(10 * time.Second)
		s.wants(t, "1", "2", "3", "4", "5", "6")
		publishIDs(t, b, "7")
		s.wants(t, "1", "2", "3", "4", "5", "6", "7")
		closeBus(t, b)
	})
}

// What falls out of the ring is read from the log, up to where the ring begins.
func TestWhatTheRingNoLongerHoldsComesFromTheLog(t *testing.T) {
	for _, kind := range []struct {
		name         string
		events, size int
		within       bus.Offset // the ring is to begin there at the latest
	}{{"records", 20_000, 0, 20_000 - 16_000}, {"bytes", 60, 1 << 20, 60 - 14}} {
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, s := newWatchedLog(), &subscriber{answer: bus.Outcome{Verdict: bus.Unreachable}}
				c := configOf(s)
				c.Subscriptions[0].Policy.Room = 10
				b := openBus(t, log)
				apply(t, b, c)
				ids := publishMany(t, b, 1, kind.events, kind.size)
				s.wants(t)
				s.say(bus.Outcome{})
				elapse(time.Minute)
				s.wants(t, ids...)
				reads := log.readFrom()
				if len(reads) == 0 || slices.Max(reads) > kind.within {
					t.Errorf("the log was read %d times, at last from %d on", len(reads), slices.Max(append(reads, 0)))
				}
				closeBus(t, b)
			})
		})
	}
}

func TestASubscriptionThatBeginsAtTheVeryEndOfTheRingGetsWhatFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, first, second := newWatchedLog(), &subscriber{}, &subscriber{}
		b := openBus(t, log)
		c := configOf(first)
		apply(t, b, c)
		publishIDs(t, b, "1", "2")
		first.wants(t, "1", "2")
		more := configOf(first)
		more.Subscriptions = append(more.Subscriptions, bus.Subscription{Name: "z/t", Topics: []string{"t"}, Deliver: second, Policy: bus.Policy{Concurrency: 1}})
		apply(t, b, more)
		second.wants(t)
		publishIDs(t, b, "3")
		second.wants(t, "3")
		if _, err := b.Replay(t.Context(), "z/t", 1); err != nil { // where the ring begins
			t.Fatal(err)
		}
		second.wants(t, "3", "1", "2", "3")
		if _, err := b.Replay(t.Context(), "z/t", 3); err != nil { // its last
			t.Fatal(err)
		}
		second.wants(t, "3", "1", "2", "3", "3")
		if reads := log.readFrom(); len(reads) > 0 {
			t.Errorf("the log was read from %v on", reads)
		}
		closeBus(t, b)
	})
}
