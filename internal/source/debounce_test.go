package source_test

import (
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/source"
)

func TestABurstIsToldWhenItIsQuietAndNeverLaterThanTheLimit(t *testing.T) {
	t.Parallel()
	start := time.Unix(1e9, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	due := source.Burst(100*time.Millisecond, 2*time.Second, at(0), at(90), at(1850), at(1950))
	for i, want := range []time.Time{at(100), at(190), at(1950), at(2000)} {
		if !due[i].Equal(want) {
			t.Errorf("event %d: due after %s, want %s", i, due[i].Sub(start), want.Sub(start))
		}
	}
}
