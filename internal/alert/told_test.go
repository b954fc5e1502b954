package alert_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/alert"
)

// TestARestartBeforeAGroupWasToldOfTellsItAfterwards restarts the engine while a group still waits: nothing of it was told by then, and what is
// kept of it has no alert that fires.
func TestARestartBeforeAGroupWasToldOfTellsItAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(), &listener{}
		start := time.Now()
		w.set("hot", sample("a", 20))
		s := settings(l, rule("hot"))
		s.Timing.Wait = time.Minute
		e := w.begin(t, s)
		pass(20 * time.Second)
		e.end()
		e = w.begin(t, s)
		defer e.end()
		pass(10 * time.Minute)
		if said := l.said(start); len(said) != 1 || !strings.HasSuffix(said[0], ": +a") {
			t.Errorf("it heard %v", said)
		}
	})
}

// TestThatAnAlertIsOverIsToldHoweverLateTheReceiverCanBeTold resolves an alert while its receiver cannot be told for longer than a resolved alert is
// shown: who was told that something fires must not believe it for ever.
func TestThatAnAlertIsOverIsToldHoweverLateTheReceiverCanBeTold(t *testing.T) {
	t.Run("since the receiver fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, l := newWorld(), &listener{}
			start := time.Now()
			w.set("hot", sample("a", 20))
			e := w.begin(t, settings(l, rule("hot")))
			pass(time.Minute)
			l.fails(fmt.Errorf("refused"))
			w.set("hot", sample("a", 0))
			pass(30 * time.Minute)
			w.fail("hot", fmt.Errorf("no answer")) // nor does that change it
			pass(15 * time.Minute)
			if list := e.Alerts(); len(list) != 1 || list[0].Phase != alert.Resolved {
				t.Errorf("while there is no answer: %+v", list)
			}
			w.fail("hot", nil)
			pass(15 * time.Minute)
			e.end() // nor does a restart change it
			e = w.begin(t, settings(l, rule("hot")))
			defer e.end()
			pass(time.Hour)
			l.fails(nil)
			pass(10 * time.Minute)
			if said := l.said(start); len(said) != 2 || !strings.HasSuffix(said[1], ": -a") {
				t.Errorf("it heard %v", said)
			}
			pass(time.Hour)
			if list := e.Alerts(); len(list) != 0 {
				t.Errorf("it is still shown: %+v", list)
			}
		})
	})
	t.Run("since its group has a long interval, and there is no data any more", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, l := newWorld(), &listener{}
			start := time.Now()
			w.set("hot", sample("a", 20))
			s := settings(l, rule("hot"))
			s.Timing.Interval = time.Hour
			e := w.begin(t, s)
			defer e.end()
			pass(time.Minute)
			w.set("hot")
			pass(2 * time.Hour)
			if said := l.said(start); len(said) != 2 || !strings.HasSuffix(said[1], ": -a") {
				t.Errorf("it heard %v", said)
			}
		})
	})
	t.Run("since it is wrong again, but not for long enough", func(t *testing.T) {
		for name, last := range map[string]float64{"and fine then": 0, "and fires then": 20} {
			synctest.Test(t, func(t *testing.T) {
				w, l := newWorld(), &listener{}
				start := time.Now()
				w.set("hot", sample("a", 20))
				r := rule("hot")
				r.Policy.For = 4 * time.Minute
				s := settings(l, r)
				s.Timing.Interval = 10 * time.Minute
				e := w.begin(t, s)
				defer e.end()
				pass(6 * time.Minute) // it is told at 4 minutes; the group is looked at again at 14
				w.set("hot", sample("a", 0))
				pass(5 * time.Minute)
				w.set("hot", sample("a", 20))
				pass(2 * time.Minute)
				w.set("hot", sample("a", last))
				pass(time.Hour)
				said := l.said(start)
				if len(said) < 2 || !strings.HasSuffix(said[1], ": -a") || (last > 0) != (len(said) > 2 && strings.HasSuffix(said[2], ": +a")) {
					t.Fatalf("%s: it heard %v", name, said)
				}
				if a := l.nth(1).Alerts[0]; a.Ended.Sub(a.Started) < 6*time.Minute {
					t.Errorf("%s: it is told to have lasted from %s to %s", name, a.Started, a.Ended)
				}
			})
		}
	})
	t.Run("since its rule went while Atoll did not run", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, l := newWorld(), &listener{}
			start := time.Now()
			w.set("hot", sample("a", 20))
			e := w.begin(t, settings(l, rule("hot")))
			pass(time.Minute)
			e.end()
			e = w.begin(t, settings(l, rule("cold")))
			defer e.end()
			pass(10 * time.Minute)
			if said := l.said(start); len(said) != 2 || !strings.HasSuffix(said[1], ": -a") {
				t.Errorf("it heard %v", said)
			}
		})
	})
}

// TestALargeGroupIsToldOfOnce has more alerts than a notification holds: those that are left out are told of by their number, and are no news the next
// time.
func TestALargeGroupIsToldOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(), &listener{}
		many := func(value float64) (out []alert.Sample) {
			for i := range 150 {
				out = append(out, alert.Sample{Labels: alert.Labels{"n": fmt.Sprint(i)}, Value: value})
			}
			return out
		}
		w.set("hot", many(20)...)
		e := w.begin(t, settings(l, rule("hot")))
		defer e.end()
		pass(time.Hour)
		if l.tried() != 1 {
			t.Fatalf("it was told %d times", l.tried())
		}
		if n := l.nth(0); n.Truncated != 50 || n.TruncatedResolved != 0 {
			t.Errorf("%d are left out, %d of them resolved", n.Truncated, n.TruncatedResolved)
		}
		w.set("hot", many(0)...)
		pass(time.Hour)
		if l.tried() != 2 {
			t.Fatalf("it was told %d times", l.tried())
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if n := l.heard[1]; n.Truncated != 50 || n.TruncatedResolved != 50 || n.Firing() {
			t.Errorf("%d are left out, %d of them resolved", n.Truncated, n.TruncatedResolved)
		}
	})
}

// TestAlertsThatAreOverTakeNoPlaceOfThoseThatFire has as many alerts that were resolved a moment ago as a rule may have.
func TestAlertsThatAreOverTakeNoPlaceOfThoseThatFire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(), &listener{}
		many := func(name string, value float64) (out []alert.Sample) {
			for i := range alert.MaxAlerts {
				out = append(out, alert.Sample{Labels: alert.Labels{"n": fmt.Sprint(name, i)}, Value: value})
			}
			return out
		}
		w.set("hot", many("old", 20)...)
		e := w.begin(t, settings(l, rule("hot")))
		defer e.end()
		pass(time.Minute)
		w.set("hot", many("old", 0)...)
		pass(2 * time.Minute)
		w.set("hot", many("new", 20)...)
		pass(20 * time.Second)
		if r := e.Rules()[0]; r.Firing != alert.MaxAlerts || r.Dropped != 0 {
			t.Errorf("%d fire, %d are dropped", r.Firing, r.Dropped)
		}
	})
}

// TestAClockThatWasAheadDoesNotHoldAlertsUp restarts with a state that an engine has kept whose clock was days ahead.
func TestAClockThatWasAheadDoesNotHoldAlertsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(), &listener{}
		ahead := time.Now().Add(1000 * time.Hour)
		labels := alert.Labels{"alert": "hot", "severity": "critical", "service": "a"}
		if err := w.store.Save(t.Context(), &alert.Snapshot{
			Alerts: []alert.Kept{{Rule: "hot", Labels: labels, Severity: alert.Critical, State: alert.State{Phase: alert.Firing, Since: ahead, Started: ahead, Seen: ahead}}},
			Groups: map[string][]*alert.Group{"ops": {{Labels: alert.Labels{"alert": "hot"}, Due: ahead, Told: ahead, Times: 1, Firing: map[string]bool{labels.Key(): true}}}},
		}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		w.set("hot", sample("a", 0))
		e := w.begin(t, settings(l, rule("hot")))
		defer e.end()
		pass(10 * time.Minute)
		if said := l.said(start); len(said) != 1 || !strings.HasSuffix(said[0], ": -a") {
			t.Errorf("it heard %v", said)
		}
	})
}
