package block_test

import (
	"math"
	"testing"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block"
)

func TestALimitThatIsBeyondAllNumbersIsNone(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	w := newWorld(3)
	const n = block.PageRows + 100
	add(t, s, w.batch(n, 0))
	for _, limit := range []int{math.MaxInt, math.MaxInt/4 + 1, math.MaxInt / 4} {
		q := &telemetry.Query{Limit: limit}
		if got := find(t, s, telemetry.Spans, telemetry.Range{}, q); len(got) != n {
			t.Errorf("limit %d: %d rows of %d", limit, len(got), n)
		}
	}
}
