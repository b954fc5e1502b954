package metric

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/atollhq/atoll/internal/telemetry"
)

// deltaIdle is how long a series of delta temporality may be silent before its sum may be forgotten for another's.
const deltaIdle = time.Hour

// deltas adds up what comes in differences, since Prometheus keeps sums. After a restart the sums begin from nothing,
// which rate() and increase() take for what it is, a restart of the counter.
type deltas struct {
	max int

	mu     sync.Mutex
	states map[uint64]*deltaState // guarded by mu; by the hash of the labels
	swept  time.Time              // guarded by mu; when those that are silent were last looked for
}

type deltaState struct {
	last    int64     // time of the newest point, in nanoseconds
	used    time.Time // when it came
	sum     float64
	count   uint64
	bounds  []float64
	buckets []uint64
	native  *histogram.FloatHistogram
}

func newDeltas(most int) *deltas { return &deltas{max: most, states: map[uint64]*deltaState{}} }

// state returns the state of a series for a point that has not been seen; mu is held.
func (d *deltas) state(ls labels.Labels, p *telemetry.Point, now time.Time) (*deltaState, error) {
	key := ls.Hash()
	st := d.states[key]
	if st == nil {
		if len(d.states) >= d.max && !d.sweep(now) {
			return nil, errDeltas
		}
		st = &deltaState{}
		d.states[key] = st
	}
	if p.Time != 0 && p.Time <= st.last {
		return nil, errSeen
	}
	st.last, st.used = p.Time, now
	return st, nil
}

// sweep forgets those that are silent, once a minute at most, and tells whether there is room; mu is held.
func (d *deltas) sweep(now time.Time) bool {
	if now.Sub(d.swept) < time.Minute {
		return false
	}
	d.swept = now
	for key, st := range d.states {
		if now.Sub(st.used) > deltaIdle {
			delete(d.states, key)
		}
	}
	return len(d.states) < d.max
}

func (d *deltas) sum(ls labels.Labels, p *telemetry.Point, now time.Time) (float64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st, err := d.state(ls, p, now)
	if err != nil {
		return 0, err
	}
	st.sum += p.Value
	return st.sum, nil
}

// histogram adds a point to its series and returns the sums so far. With other bounds than before it begins anew.
func (d *deltas) histogram(ls labels.Labels, p *telemetry.Point, now time.Time) (deltaState, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st, err := d.state(ls, p, now)
	if err != nil {
		return deltaState{}, err
	}
	if !slices.Equal(st.bounds, p.Bounds) || len(st.buckets) != len(p.Buckets) {
		st.bounds, st.buckets = slices.Clone(p.Bounds), make([]uint64, len(p.Buckets))
		st.count, st.sum = 0, 0
	}
	st.count += p.Count
	st.sum += p.Sum
	for i, n := range p.Buckets {
		st.buckets[i] += n
	}
	return deltaState{count: st.count, sum: st.sum, buckets: slices.Clone(st.buckets)}, nil
}

// native adds a native histogram to its series and returns the sum so far, which is the caller's.
func (d *deltas) native(ls labels.Labels, p *telemetry.Point, h *histogram.Histogram, now time.Time) (*histogram.FloatHistogram, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st, err := d.state(ls, p, now)
	if err != nil {
		return nil, err
	}
	add := h.ToFloat(nil)
	if st.native == nil {
		st.native = add
		return add.Copy(), nil
	}
	total, _, _, err := st.native.Add(add)
	if err != nil {
		return nil, errInvalid
	}
	st.native = total.Compact(0)
	if len(st.native.PositiveBuckets)+len(st.native.NegativeBuckets) > maxBuckets {
		st.native = add // a sum without bound begins anew
	}
	return st.native.Copy(), nil
}
