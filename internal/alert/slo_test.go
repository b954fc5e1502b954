package alert_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/alert"
	"github.com/atollhq/atoll/internal/alert/memory"
)

const day = 24 * time.Hour

func objective() *alert.SLO {
	return &alert.SLO{Service: "orders", Objective: 0.999, Window: 30 * day}
}

func TestWindowsAndFactorsAreThoseOfTheWorkbook(t *testing.T) {
	want := []alert.Burn{ // table 5-8, and the third row of the rules below it
		{Severity: alert.Critical, Share: 0.02, Long: time.Hour, Short: 5 * time.Minute, Factor: 14.4},
		{Severity: alert.Critical, Share: 0.05, Long: 6 * time.Hour, Short: 30 * time.Minute, Factor: 6},
		{Severity: alert.Warning, Share: 0.10, Long: day, Short: 2 * time.Hour, Factor: 3},
		{Severity: alert.Warning, Share: 0.10, Long: 3 * day, Short: 6 * time.Hour, Factor: 1},
	}
	for i, b := range objective().Burns() {
		w := want[i]
		if b.Severity != w.Severity || b.Share != w.Share || b.Long != w.Long || b.Short != w.Short || math.Abs(b.Factor-w.Factor) > 1e-9 {
			t.Errorf("row %d is %+v, want %+v", i, b, w)
		}
	}
	week := &alert.SLO{Objective: 0.99, Window: 7 * day}
	for i, b := range week.Burns() {
		if want := float64(want[i].Long) * 7 / 30; math.Abs(float64(b.Long)-want) > 1e9 || math.Abs(b.Factor-objective().Burns()[i].Factor) > 1e-9 {
			t.Errorf("row %d of a week is %+v, want a window of %s", i, b, time.Duration(want))
		}
		// The factor uses up the share of the budget within the longer window.
		if used := b.Factor * float64(b.Long) / float64(week.Window); math.Abs(used-b.Share) > 1e-4 {
			t.Errorf("row %d of a week uses up %v of the budget, want %v", i, used, b.Share)
		}
	}
}

func TestAnObjectiveThatCannotBurnFastEnoughStillAlertsWhenNearlyAllFails(t *testing.T) {
	for _, b := range (&alert.SLO{Objective: 0.9, Window: 30 * day}).Burns() {
		if ratio := b.Factor * 0.1; ratio > 0.9+1e-9 {
			t.Errorf("%s wants %v of the requests to fail", b.Long, ratio)
		}
	}
}

// outage is a service with ten requests a second, of which a share is bad from one time to another.
type outage struct {
	start    time.Time // of all requests
	from, to time.Time
	share    float64
	perSec   float64
}

func (o *outage) Requests(_ context.Context, _ *alert.SLO, window time.Duration, at time.Time) (alert.Requests, error) {
	overlap := func(from, to time.Time) float64 {
		a, b := at.Add(-window), at
		if from.After(a) {
			a = from
		}
		if to.Before(b) {
			b = to
		}
		return max(b.Sub(a).Seconds(), 0)
	}
	return alert.Requests{Bad: overlap(o.from, o.to) * o.share * o.perSec, All: overlap(o.start, at) * o.perSec}, nil
}

func (o *outage) Evaluate(context.Context, *alert.Rule, time.Time) ([]alert.Sample, error) {
	return nil, nil
}

// watch runs an engine over an outage and says when each severity begins and ceases to fire, counted from the outage's beginning and from its end.
func watch(t *testing.T, share float64, every, lasts, after time.Duration, perSec float64) map[string]time.Duration {
	t.Helper()
	told := map[string]time.Duration{}
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now().Add(30 * day)
		o := &outage{start: begin.Add(-30 * day), from: begin, to: begin.Add(lasts), share: share, perSec: perSec}
		rule := &alert.Rule{
			Name: "slo", Source: alert.SourceSLO, SLO: objective(), Every: every, Unit: alert.UnitBurn, Policy: alert.Policy{Stale: 10 * time.Minute, Retain: time.Minute},
		}
		e, err := alert.Open(t.Context(), alert.Config{Store: &memory.Store{}, Evaluator: o, Tell: func(c alert.Change) {
			key := c.Labels["severity"] + " " + string(c.Kind)
			if _, again := told[key]; again {
				return
			}
			if told[key] = c.At.Sub(begin); c.Kind == alert.EventResolved {
				told[key] = c.At.Sub(o.to)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Until(begin.Add(-time.Minute)))
		e.Apply(alert.Settings{Rules: []*alert.Rule{rule}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute+lasts+after)
		defer cancel()
		if err := e.Run(ctx); err != nil {
			t.Fatal(err)
		}
	})
	return told
}

func TestAnOutageIsFoundAndItsEndIsSeenWhenTheWorkbookSays(t *testing.T) {
	// The time to detect is (1 - objective) / share of errors * window * burn rate.
	near := func(t *testing.T, told map[string]time.Duration, key string, want, every time.Duration) {
		t.Helper()
		if got, ok := told[key]; !ok || (got-want).Abs() > every+2*time.Second {
			t.Errorf("%s after %s, want %s (%v)", key, got, want, told)
		}
	}
	t.Run("everything fails: 52 s, and over a little before 5 minutes have passed", func(t *testing.T) {
		told := watch(t, 1, time.Second, 10*time.Minute, 40*time.Minute, 10)
		near(t, told, "critical firing", time.Duration(14.4*0.001*float64(time.Hour)), time.Second)
		// The 6 h row fires too, and its shorter window lasts longer: 30 minutes but for 6 thousandths.
		near(t, told, "critical resolved", 30*time.Minute-time.Duration(6*0.001*float64(30*time.Minute)), time.Second)
	})
	t.Run("one in a hundred fails: the 6 h row finds it after 3.6 h", func(t *testing.T) {
		told := watch(t, 0.01, 10*time.Second, 4*time.Hour, time.Minute, 10)
		near(t, told, "critical firing", time.Duration(0.001/0.01*6*float64(6*time.Hour)), 10*time.Second)
	})
	t.Run("twice as many as may: only a warning, after 1.5 days", func(t *testing.T) {
		told := watch(t, 0.002, time.Minute, 2*day, time.Minute, 10)
		near(t, told, "warning firing", 36*time.Hour, time.Minute)
		if _, ok := told["critical firing"]; ok {
			t.Errorf("somebody is woken for it: %v", told)
		}
	})
	t.Run("as many as may: nothing", func(t *testing.T) {
		if told := watch(t, 0.001, time.Minute, 4*day, 0, 10); len(told) != 0 {
			t.Errorf("told %v", told)
		}
	})
	t.Run("one failure in the night: nothing", func(t *testing.T) {
		if told := watch(t, 1, time.Second, 1000*time.Second, time.Minute, 0.004); len(told) != 0 {
			t.Errorf("told %v", told)
		}
	})
}

func TestQueriesOfAnObjectiveCountSlowRequestsAsBad(t *testing.T) {
	s := objective()
	if q := s.Bad(time.Hour, nil); strings.Contains(q, "_bucket") || !strings.Contains(q, `=~"5.."}[3600s]`) {
		t.Errorf("without a latency it asks %s", q)
	}
	for latency, le := range map[time.Duration]string{
		300 * time.Millisecond: `le=~"0\\.5"`, 500 * time.Millisecond: `le=~"0\\.5"`, 600 * time.Millisecond: `le=~"1(\\.0)?"`, 2 * time.Second: `le=~"10(\\.0)?"`,
	} {
		s.Latency = latency
		if q := s.Bad(time.Hour, []float64{0.25, 0.5, 1, 10}); !strings.Contains(q, le) {
			t.Errorf("for %s it asks %s, want %s", latency, q, le)
		}
	}
	s.Latency = time.Minute
	if q := s.Bad(time.Hour, []float64{0.25, 0.5, 1, 10}); strings.Contains(q, "_bucket") {
		t.Errorf("a latency beyond all bounds asks %s", q)
	}
}
