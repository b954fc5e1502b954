package alert_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/internal/alert"
)

func at(seconds int) time.Time {
	return time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
}

func policy() alert.Policy {
	return alert.Policy{For: 30 * time.Second, Keep: 20 * time.Second, Stale: 60 * time.Second, Retain: 120 * time.Second}
}

// run gives a machine a script such as "0w 15w 30w": seconds and wrong, fine, - for no data, e for an error.
func run(t *testing.T, p alert.Policy, script ...string) (alert.State, []string) {
	t.Helper()
	var s alert.State
	var told []string
	for _, step := range script {
		var seconds int
		var kind byte
		if _, err := fmt.Sscanf(step, "%d%c", &seconds, &kind); err != nil {
			t.Fatal(err)
		}
		kinds := map[byte]alert.Kind{'w': alert.SeenWrong, 'f': alert.SeenFine, '-': alert.NoData, 'e': alert.NoAnswer}
		var effect alert.Effect
		s, effect = alert.Step(p, s, alert.Happening{At: at(seconds), Kind: kinds[kind], Value: float64(seconds)})
		if effect.Phase != alert.Inactive {
			told = append(told, fmt.Sprintf("%d %s %s", seconds, effect.Phase, effect.Reason))
		}
	}
	return s, told
}

func TestAnAlertLivesAsItsPolicySays(t *testing.T) {
	for _, c := range []struct {
		name   string
		script []string
		phase  alert.Phase
		told   string
	}{
		{"it waits before it fires", []string{"0w", "15w"}, alert.Pending, "[]"},
		{"it fires when it was wrong for long enough", []string{"0w", "15w", "30w", "45w"}, alert.Firing, "[30 firing wrong]"},
		{"a fine answer breaks the wait", []string{"0w", "15w", "20f", "30w", "45w"}, alert.Pending, "[]"},
		{"one fine answer resolves nothing", []string{"0w", "30w", "45f"}, alert.Firing, "[30 firing wrong]"},
		{"it is resolved when it was fine for long enough", []string{"0w", "30w", "45f", "65f"}, alert.Resolved, "[30 firing wrong 65 resolved fine]"},
		{"a wrong answer in between begins anew", []string{"0w", "30w", "45f", "55w", "60f", "70f"}, alert.Firing, "[30 firing wrong]"},
		{"no data is not fine", []string{"0w", "30w", "45-", "60-", "90-"}, alert.Firing, "[30 firing wrong]"},
		{"no data for long is the end", []string{"0w", "30w", "45-", "60-", "105-"}, alert.Resolved, "[30 firing wrong 105 resolved no-data]"},
		{"data that comes back in time is as if it had never been away", []string{"0w", "30w", "45-", "60w", "75-", "130-"}, alert.Firing, "[30 firing wrong]"},
		{"errors resolve nothing, however long", []string{"0w", "30w", "45e", "500e", "9000e"}, alert.Firing, "[30 firing wrong]"},
		{"an error between two that lack data begins anew", []string{"0w", "30w", "45-", "60e", "110-"}, alert.Firing, "[30 firing wrong]"},
		{"no data fires nothing", []string{"0w", "15-", "30-", "45-"}, alert.Pending, "[]"},
		{"no data for long forgets what waits", []string{"0w", "15-", "30-", "75-"}, alert.Inactive, "[]"},
		{"a gap breaks the wait: nobody knows what was in it", []string{"0w", "61w"}, alert.Pending, "[]"},
		{"a gap breaks what was fine", []string{"0w", "30w", "45f", "106f"}, alert.Firing, "[30 firing wrong]"},
		{"it fires again after it was resolved", []string{"0w", "30w", "45f", "65f", "80w", "110w"}, alert.Firing, "[30 firing wrong 65 resolved fine 110 firing wrong]"},
		{"a resolved one is forgotten in the end", []string{"0w", "30w", "45f", "65f", "185-"}, alert.Inactive, "[30 firing wrong 65 resolved fine]"},
		{"a clock that is set back changes nothing", []string{"0w", "30w", "10f", "29f"}, alert.Firing, "[30 firing wrong]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, told := run(t, policy(), c.script...)
			if s.Phase != c.phase || fmt.Sprint(told) != c.told {
				t.Errorf("it is %q and has told %v, want %q and %s", s.Phase, told, c.phase, c.told)
			}
		})
	}
}

// oracle says what an alert is by looking at all that ever happened, from the first to the last, each time anew. It knows no state but the time at which it
// began to fire or ceased to.
type oracle struct {
	policy alert.Policy
	past   []alert.Happening
	phase  alert.Phase // as last told: firing, resolved or neither
	since  time.Time
}

// row is the first of the row of answers of one kind that the past ends with: what lacks an answer is left out, unless it is so long that it breaks the row.
func (o *oracle) row(kind alert.Kind) (first time.Time, found bool) {
	var last time.Time
	for _, h := range slices.Backward(o.past) {
		switch {
		case h.Kind == alert.NoAnswer || h.Kind == alert.NoData:
			continue
		case h.Kind != kind, found && last.Sub(h.At) > o.policy.Stale, !h.At.After(o.since) && o.phase != alert.Inactive && kind == alert.SeenWrong:
			return first, found
		}
		first, last, found = h.At, h.At, true
	}
	return first, found
}

// lacking is how long there has been no data by the end of the past, errors and answers beginning anew.
func (o *oracle) lacking() time.Duration {
	var first time.Time
	for i := len(o.past) - 1; i >= 0 && o.past[i].Kind == alert.NoData; i-- {
		first = o.past[i].At
	}
	if first.IsZero() {
		return -1
	}
	return o.past[len(o.past)-1].At.Sub(first)
}

// happens takes a happening and says what is told.
func (o *oracle) happens(h alert.Happening) alert.Phase {
	o.past = append(o.past, h)
	switch {
	case o.phase == alert.Firing && h.Kind == alert.SeenFine:
		if first, ok := o.row(alert.SeenFine); ok && h.At.Sub(first) >= o.policy.Keep {
			o.phase, o.since = alert.Resolved, h.At
			return alert.Resolved
		}
	case o.phase == alert.Firing && h.Kind == alert.NoData && o.lacking() >= o.policy.Stale:
		o.phase, o.since = alert.Resolved, h.At
		return alert.Resolved
	case o.phase != alert.Firing && h.Kind == alert.NoData && o.lacking() >= o.policy.Stale:
		o.past = nil // a row of wrong answers does not outlast it
	case o.phase != alert.Firing && h.Kind == alert.SeenWrong:
		if first, ok := o.row(alert.SeenWrong); ok && h.At.Sub(first) >= o.policy.For {
			o.phase, o.since = alert.Firing, h.At
			return alert.Firing
		}
	}
	return alert.Inactive
}

func TestTheMachineTellsWhatALookAtAllThatHappenedWouldTell(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seconds := func(name string) time.Duration {
			return time.Duration(rapid.IntRange(0, 60).Draw(t, name)) * time.Second
		}
		p := alert.Policy{For: seconds("for"), Keep: seconds("keep"), Stale: seconds("stale") + time.Second, Retain: time.Hour}
		o := &oracle{policy: p}
		var s alert.State
		now := 0
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += rapid.IntRange(1, 40).Draw(t, "later")
			h := alert.Happening{At: at(now), Kind: alert.Kind(rapid.IntRange(1, 4).Draw(t, "kind")), Value: float64(i)}
			var effect alert.Effect
			s, effect = alert.Step(p, s, h)
			if want := o.happens(h); effect.Phase != want {
				t.Fatalf("at %d s, of kind %d, the machine tells %q, want %q", now, h.Kind, effect.Phase, want)
			}
			if (s.Phase == alert.Firing) != (o.phase == alert.Firing) {
				t.Fatalf("at %d s it is %q, want %q", now, s.Phase, o.phase)
			}
			if again, effectAgain := alert.Step(p, s, h); effectAgain.Phase != alert.Inactive && h.Kind != alert.SeenWrong {
				t.Fatalf("the same answer once more tells %q, and is %q", effectAgain.Phase, again.Phase)
			}
		}
	})
}
