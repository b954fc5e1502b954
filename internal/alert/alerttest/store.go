// Package alerttest is what every driver of alert.Store must do.
package alerttest

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/alert"
)

// Snapshot is one in which every field is set.
func Snapshot() *alert.Snapshot {
	at := time.Date(2031, 5, 6, 7, 8, 9, 123456789, time.UTC)
	labels := alert.Labels{"alert": "latency", "service": "orders", "odd": "a\"b\n€"}
	return &alert.Snapshot{
		Alerts: []alert.Kept{{
			Rule: "latency", Labels: labels, Severity: alert.Warning, Summary: "slow",
			State: alert.State{Phase: alert.Firing, Since: at, Started: at, Seen: at, Fine: at, Missing: at, Value: math.MaxFloat64},
		}},
		Silences: []alert.Silence{{ID: "s1", Matchers: []alert.Matcher{{Label: "service", Op: alert.MatchEqual, Value: "orders"}}, From: at, Until: at.Add(time.Hour), By: "ann", Comment: "x"}},
		Groups:   map[string][]*alert.Group{"mail": {{Labels: labels, Due: at, Told: at, Times: 3, Firing: map[string]bool{labels.Key(): true}}}},
		History:  []alert.Change{{At: at, Kind: alert.EventFiring, Rule: "latency", Labels: labels, Value: 1.5, Unit: alert.UnitSeconds, Summary: "slow", Reason: alert.ReasonWrong, Subject: "x", By: "ann"}},
	}
}

// Run tries a store. open answers the store as a process would find it that starts now: what was saved is there.
func Run(t *testing.T, open func() alert.Store) {
	t.Helper()
	load := func(t *testing.T, want *alert.Snapshot) {
		t.Helper()
		got, err := open().Load(t.Context())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("loaded %+v (%v), want %+v", got, err, want)
		}
	}
	t.Run("nothing is there before the first save", func(t *testing.T) { load(t, nil) })
	t.Run("what was saved last is there, with every field", func(t *testing.T) {
		for _, s := range []*alert.Snapshot{{}, Snapshot()} {
			if err := open().Save(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			load(t, s)
		}
	})
	t.Run("a save that cannot be keeps the one before", func(t *testing.T) {
		bad := Snapshot()
		bad.Alerts[0].State.Value = math.Inf(1) // JSON has no infinity
		if err := open().Save(t.Context(), bad); err == nil {
			t.Fatal("it was saved")
		}
		load(t, Snapshot())
	})
	t.Run("a shorter one leaves nothing of a longer one", func(t *testing.T) {
		short := &alert.Snapshot{Silences: Snapshot().Silences}
		if err := open().Save(t.Context(), short); err != nil {
			t.Fatal(err)
		}
		load(t, short)
	})
}
