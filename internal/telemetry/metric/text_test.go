package metric_test

import (
	"testing"
	"time"
)

// TestWhatACounterBeginsWithIsAnIncrease has counters that are first seen with what happened within one interval: the first failures of a service.
func TestWhatACounterBeginsWithIsAnIncrease(t *testing.T) {
	s := open(t, nil)
	intake := s.Text(nil).FromZero("hits")
	for i, text := range []string{
		"# TYPE hits counter\nhits{code=\"200\"} 1000\n",
		"# TYPE hits counter\nhits{code=\"200\"} 1000\nhits{code=\"500\"} 50\nother 7\n",
		"# TYPE hits counter\nhits{code=\"200\"} 1000\nhits{code=\"500\"} 50\nother 7\n",
	} {
		at := noon.Add(time.Duration(i-2) * 15 * time.Second)
		if _, err := intake.Append(t.Context(), []byte(text), "text/plain", at); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, s, `resets(hits{code="500"}[5m]) + count_over_time(hits{code="500"}[5m])`, "code=500 3")
	expect(t, s, `max_over_time(hits{code="500"}[5m]) - min_over_time(hits{code="500"}[5m])`, "code=500 50")
	expect(t, s, `increase(hits{code="500"}[1m]) >= bool 50`, "code=500 1")
	expect(t, s, `increase(hits{code="200"}[1m])`, "code=200 0") // what was there at first may be old
	expect(t, s, `count_over_time(other[5m])`, "2")
}
