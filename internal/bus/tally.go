package bus

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// rateSeconds is how many full seconds a rate is taken over, besides the one that is not over yet.
const rateSeconds = 10

// meter counts what happens, and how much of it of late. Its zero value is ready. It is safe for concurrent use.
type meter struct {
	mu      sync.Mutex
	total   uint64                        // guarded by mu
	seconds [rateSeconds + 1]secondsCount // guarded by mu: by second, modulo their number
}

// secondsCount is how much happened within one second.
type secondsCount struct {
	second int64 // since 1970
	n      uint64
}

func (m *meter) add(now time.Time, n int) {
	second := now.Unix()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total += uint64(n)
	s := &m.seconds[second%int64(len(m.seconds))]
	if s.second != second {
		*s = secondsCount{second: second}
	}
	s.n += uint64(n)
}

// read returns how much has happened, and how much a second of late.
func (m *meter) read(now time.Time) (total uint64, rate float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var n uint64
	for _, s := range m.seconds {
		if age := now.Unix() - s.second; age >= 0 && age <= rateSeconds {
			n += s.n
		}
	}
	return m.total, float64(n) / (rateSeconds + float64(now.Nanosecond())/float64(time.Second))
}

// DurationBounds are the upper bounds of the buckets of Durations but the last, which has none: those that OpenTelemetry's
// conventions for messaging advise.
func DurationBounds() [14]time.Duration {
	const ms = time.Millisecond
	return [...]time.Duration{
		5 * ms, 10 * ms, 25 * ms, 50 * ms, 75 * ms, 100 * ms, 250 * ms, 500 * ms, 750 * ms, 1000 * ms, 2500 * ms, 5000 * ms, 7500 * ms, 10_000 * ms,
	}
}

// Durations is how long attempts took.
type Durations struct {
	Buckets [15]uint64 // by DurationBounds: attempts that took no longer, and longer than the bound before
	Count   uint64
	Sum     time.Duration
}

// tally is what a subscription did since the start. Who takes the place of a dispatcher goes on with its tally. It is safe for
// concurrent use.
type tally struct {
	accepted     meter
	failed, dead atomic.Uint64

	mu        sync.Mutex
	durations Durations // guarded by mu
}

// attempt counts one attempt that said something about the event.
func (t *tally) attempt(now time.Time, took time.Duration, accepted bool) {
	if accepted {
		t.accepted.add(now, 1)
	} else {
		t.failed.Add(1)
	}
	bounds := DurationBounds()
	bucket, _ := slices.BinarySearch(bounds[:], took)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.durations.Buckets[bucket]++
	t.durations.Count++
	t.durations.Sum += took
}

func (t *tally) took() Durations {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.durations
}
