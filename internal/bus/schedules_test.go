package bus_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/membus"
)

// every is a schedule that is due at each multiple of a duration, which is to be a part of a day.
func every(name string, d time.Duration, missed bool) bus.Schedule {
	return bus.Schedule{Name: name, Publisher: "p", Topic: "t", Missed: missed, Next: func(t time.Time) time.Time { return t.Truncate(d).Add(d) }}
}

func scheduled(s *subscriber, schedules ...bus.Schedule) *bus.Config {
	c := configOf(s)
	c.Schedules = schedules
	return c
}

// at are the ids of the events of a schedule that were due at times after the beginning of a bubble.
func at(name string, due ...time.Duration) (ids []string) {
	midnight := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // where the clock of a bubble begins
	for _, d := range due {
		ids = append(ids, fmt.Sprintf("%s/%d", name, midnight.Add(d).Unix()))
	}
	return ids
}

// until lets time pass until so long after the beginning of a bubble, and what comes of that.
func until(d time.Duration) {
	elapse(time.Until(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(d)))
	synctest.Wait()
}

const margin = 2 * time.Second // schedules are looked at once a second

func TestAScheduleComesEachTimeUnderAnIDOfThatTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &subscriber{}
		b := openBus(t, membus.New())
		apply(t, b, scheduled(s, every("p/tick", time.Hour, true)))
		until(time.Hour - margin)
		s.wants(t)
		until(time.Hour + margin)
		s.wants(t, at("p/tick", time.Hour)...)
		until(4*time.Hour + margin)
		s.wants(t, at("p/tick", time.Hour, 2*time.Hour, 3*time.Hour, 4*time.Hour)...)
		closeBus(t, b)
	})
}

func TestTimesThatPassedWhileTheBusDidNotRunComeOnceOrNotAtAll(t *testing.T) {
	for _, missed := range []bool{true, false} {
		t.Run(fmt.Sprint(missed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, s := membus.New(), &subscriber{}
				c := scheduled(s, every("p/tick", time.Hour, missed))
				b := openBus(t, log)
				apply(t, b, c)
				until(time.Hour + margin)
				closeBus(t, b)
				until(5*time.Hour + 30*time.Minute)
				b = openBus(t, log)
				elapse(margin) // nothing is decided before it is known which schedules there are
				apply(t, b, c)
				until(6*time.Hour + margin)
				want := at("p/tick", time.Hour, 6*time.Hour)
				if missed {
					want = at("p/tick", time.Hour, 2*time.Hour, 6*time.Hour)
				}
				s.wants(t, want...)
				closeBus(t, b)
			})
		})
	}
}

func TestAScheduleThatIsNewMissedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := membus.New(), &subscriber{}
		until(90 * time.Minute)
		b := openBus(t, log)
		apply(t, b, scheduled(s, every("p/tick", time.Hour, true)))
		until(2*time.Hour - margin)
		s.wants(t)
		closeBus(t, b)
		until(3*time.Hour + time.Minute) // it was never due while the bus ran, but it is known since then
		b = openBus(t, log)
		apply(t, b, scheduled(s, every("p/tick", time.Hour, true)))
		elapse(margin)
		s.wants(t, at("p/tick", 2*time.Hour)...)
		closeBus(t, b)
	})
}

func TestAScheduleThatChangesCountsFromThenOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := membus.New(), &subscriber{}
		often, seldom := scheduled(s, every("p/tick", 2*time.Hour, true)), scheduled(s, every("p/tick", 12*time.Hour, true))
		b := openBus(t, log)
		apply(t, b, seldom)
		until(9 * time.Hour)
		s.wants(t)
		apply(t, b, often) // by which it would have been due four times already
		until(10*time.Hour - margin)
		s.wants(t)
		until(10*time.Hour + margin)
		s.wants(t, at("p/tick", 10*time.Hour)...)
		apply(t, b, seldom)
		until(15 * time.Hour)
		s.wants(t, at("p/tick", 10*time.Hour, 12*time.Hour)...)
		apply(t, b, often) // which counts from then on in the next run too
		elapse(margin)
		closeBus(t, b)
		b = openBus(t, log)
		apply(t, b, often)
		until(16*time.Hour + margin)
		s.wants(t, at("p/tick", 10*time.Hour, 12*time.Hour, 16*time.Hour)...)
		closeBus(t, b)
	})
}

func TestAScheduleThatComesBackMissedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := membus.New(), &subscriber{}
		b := openBus(t, log)
		tick := scheduled(s, every("p/tick", time.Hour, true))
		apply(t, b, tick)
		until(time.Minute)
		apply(t, b, scheduled(s))
		until(5*time.Hour + time.Minute)
		apply(t, b, tick)
		until(6*time.Hour - margin)
		s.wants(t)
		until(6*time.Hour + margin)
		s.wants(t, at("p/tick", 6*time.Hour)...)
		apply(t, b, scheduled(s))
		elapse(margin)
		closeBus(t, b)
		until(9*time.Hour + time.Minute)
		b = openBus(t, log)
		apply(t, b, tick)
		elapse(margin)
		s.wants(t, at("p/tick", 6*time.Hour)...)
		closeBus(t, b)
	})
}

func TestAScheduleThatWasTakenAwayBetweenTwoRunsMissedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := membus.New(), &subscriber{}
		tick := scheduled(s, every("p/tick", time.Hour, true))
		for run, c := range []*bus.Config{tick, scheduled(s), tick} {
			until(time.Duration(run)*5*time.Hour + time.Minute)
			b := openBus(t, log)
			elapse(margin)
			apply(t, b, c)
			elapse(margin)
			s.wants(t)
			closeBus(t, b)
		}
	})
}

func TestAScheduledEventThatCannotBePublishedIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := newWatchedLog(), &subscriber{}
		b := openBus(t, log)
		apply(t, b, scheduled(s, every("p/tick", time.Hour, false)))
		log.fail("append", bus.StreamEvents, errDisk)
		until(time.Hour + time.Minute)
		s.wants(t)
		log.fail("append", bus.StreamEvents, nil)
		elapse(margin)
		s.wants(t, at("p/tick", time.Hour)...)
		closeBus(t, b)
	})
}
