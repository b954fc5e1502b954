package metric

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"

	"github.com/atollhq/atoll/internal/telemetry"
)

// maxAhead is how far a sample's time may lie ahead. One sample of a clock that is years ahead would otherwise make
// the database refuse all that follows as too old.
const maxAhead = 10 * time.Minute

// CauseAhead is the cause of samples whose time lies too far ahead.
const CauseAhead Cause = "ahead"

// maxBuckets is how many buckets a histogram has at most.
const maxBuckets = 1000

// Append keeps metrics. When it returns nil all but those dropped are on stable storage. What is beyond the limits, too
// old or contradicts itself is dropped, counted by service and cause (see Stats), and is no error.
func (s *Store) Append(ctx context.Context, metrics []telemetry.Metric) (dropped int, err error) {
	w := s.writer(ctx)
	defer func() {
		if err != nil {
			w.undo()
		}
	}()
	for i := range metrics {
		if err := w.metric(&metrics[i]); err != nil {
			return 0, err
		}
	}
	if err := w.commit(); err != nil {
		return 0, err
	}
	if err := s.sync.wait(ctx); err != nil {
		return 0, err
	}
	return w.dropped, nil
}

// writer puts samples into one transaction of the database and counts what becomes of them.
type writer struct {
	s       *Store
	app     storage.Appender
	b       *labels.Builder
	now     time.Time
	dropped int
	counts  map[string]*tally // by service
}

type tally struct {
	samples int64
	dropped map[Cause]int64
}

func (s *Store) writer(ctx context.Context) *writer {
	return &writer{
		s: s, app: s.db.Appender(ctx), b: labels.NewBuilder(labels.EmptyLabels()), now: s.opts.Now(),
		counts: map[string]*tally{},
	}
}

// undo gives the transaction up. Nothing can be done about an error of that, and the first one is told.
func (w *writer) undo() { _ = w.app.Rollback() }

// commit writes the transaction. From here on it survives the end of the process, but not yet that of the machine.
func (w *writer) commit() error {
	if err := w.app.Commit(); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	for service, t := range w.counts {
		w.s.limits.count(service, t.samples, t.dropped)
	}
	return nil
}

func (w *writer) tally(service string) *tally {
	t := w.counts[service]
	if t == nil {
		t = &tally{dropped: map[Cause]int64{}}
		w.counts[strings.Clone(service)] = t
	}
	return t
}

// drop counts a sample that is not taken.
func (w *writer) drop(service string, c Cause) {
	w.dropped++
	w.tally(service).dropped[c]++
}

// settle counts what became of a sample. Only an error of the database itself comes back.
func (w *writer) settle(service string, err error) error {
	if err == nil {
		w.tally(service).samples++
		return nil
	}
	c, ok := causeOf(err)
	if !ok {
		return fmt.Errorf("append metrics: %w", err)
	}
	w.drop(service, c)
	return nil
}

// timely tells why a sample of this time cannot be kept; nil if it can.
func (w *writer) timely(ms int64) error {
	switch {
	case ms > w.now.Add(maxAhead).UnixMilli():
		return errAhead
	case ms < w.now.Add(-w.s.opts.Age).UnixMilli():
		return errOld
	}
	return nil
}

// admit tells whether a sample of this time may go to the database at all; it counts one that may not.
func (w *writer) admit(service string, ms int64) bool {
	c, late := causeOf(w.timely(ms))
	switch {
	case late:
		w.drop(service, c)
	case !w.s.limits.allow(service):
		w.drop(service, CauseRate)
	default:
		return true
	}
	return false
}

// float adds a sample. The reference is that of an earlier sample of the series, or 0.
func (w *writer) float(ref storage.SeriesRef, service string, ls labels.Labels, ms int64, v float64) (storage.SeriesRef, error) {
	if !w.admit(service, ms) {
		return ref, nil
	}
	next, err := w.app.Append(ref, ls, ms, v)
	if err != nil {
		next = 0
	}
	return next, w.settle(service, err)
}

// metric adds the points of a metric.
func (w *writer) metric(m *telemetry.Metric) error {
	service := ""
	if m.Resource != nil {
		service = m.Resource.Service
	}
	name, err := metricName(m)
	if err != nil {
		for range m.Points {
			w.drop(service, CauseLabels)
		}
		return nil
	}
	known := false
	for i := range m.Points {
		p := &m.Points[i]
		base, err := pointLabels(name, m.Resource, p.Attrs)
		if err == nil {
			err = w.s.limits.checkLabels(base)
		}
		if err == nil && !known { // what is not kept need not be known, be it as long as it may
			w.s.meta.otlp(name, m)
			known = true
		}
		if err == nil {
			err = w.point(service, name, m, p, base)
		}
		if err == nil {
			continue
		}
		c, ok := causeOf(err)
		if !ok {
			return err
		}
		w.drop(service, c)
	}
	return nil
}

// point adds a point of a metric; base are its labels.
func (w *writer) point(service, name string, m *telemetry.Metric, p *telemetry.Point, base labels.Labels) error {
	ms := p.Time / int64(time.Millisecond)
	if p.Time == 0 {
		ms = w.now.UnixMilli()
	}
	// Before it is added to what a delta has so far: after a point of the future all others would be seen before.
	if err := w.timely(ms); err != nil {
		return err
	}
	switch m.Kind {
	case telemetry.Gauge, telemetry.Sum:
		v := p.Value
		if p.Stale {
			v = staleNaN()
		} else if m.Kind == telemetry.Sum && m.Delta {
			total, err := w.s.deltas.sum(base, p, w.now)
			if err != nil {
				return err
			}
			v = total
		}
		_, err := w.float(0, service, base, ms, v)
		return err
	case telemetry.Histogram:
		return w.histogram(service, name, m.Delta, p, base, ms)
	case telemetry.ExponentialHistogram:
		return w.exponential(service, m.Delta, p, base, ms)
	case telemetry.SummaryMetric:
		return w.summary(service, name, p, base, ms)
	}
	return errInvalid
}

// histogram adds the classic series of a histogram: a bucket for each bound, sum and count.
func (w *writer) histogram(service, name string, delta bool, p *telemetry.Point, base labels.Labels, ms int64) error {
	if err := checkBuckets(p); err != nil {
		return err
	}
	count, sum, buckets := p.Count, p.Sum, p.Buckets
	if delta && !p.Stale {
		t, err := w.s.deltas.histogram(base, p, w.now)
		if err != nil {
			return err
		}
		count, sum, buckets = t.count, t.sum, t.buckets
	}
	put := func(ls labels.Labels, v float64) error {
		if p.Stale {
			v = staleNaN()
		}
		_, err := w.float(0, service, ls, ms, v)
		return err
	}
	below := uint64(0)
	for i, bound := range p.Bounds {
		if len(buckets) > 0 {
			below += buckets[i]
		}
		if err := put(with(w.b, base, name+"_bucket", labels.BucketLabel, formatBound(bound)), float64(below)); err != nil {
			return err
		}
	}
	if err := put(with(w.b, base, name+"_bucket", labels.BucketLabel, "+Inf"), float64(count)); err != nil {
		return err
	}
	if err := put(with(w.b, base, name+"_sum", "", ""), sum); err != nil {
		return err
	}
	return put(with(w.b, base, name+"_count", "", ""), float64(count))
}

// checkBuckets tells whether bounds ascend and have one bucket more than there are bounds.
func checkBuckets(p *telemetry.Point) error {
	if len(p.Buckets) > maxBuckets || len(p.Bounds) > maxBuckets {
		return errInvalid
	}
	none := len(p.Buckets) == 0 && (len(p.Bounds) == 0 || p.Stale)
	if !none && len(p.Buckets) != len(p.Bounds)+1 {
		return errInvalid
	}
	for i, b := range p.Bounds {
		if math.IsNaN(b) || i > 0 && b <= p.Bounds[i-1] {
			return errInvalid
		}
	}
	return nil
}

// summary adds a series for each quantile, sum and count.
func (w *writer) summary(service, name string, p *telemetry.Point, base labels.Labels, ms int64) error {
	put := func(ls labels.Labels, v float64) error {
		if p.Stale {
			v = staleNaN()
		}
		_, err := w.float(0, service, ls, ms, v)
		return err
	}
	for _, q := range p.Quantiles {
		if err := put(with(w.b, base, name, "quantile", formatBound(q.Q)), q.Value); err != nil {
			return err
		}
	}
	if err := put(with(w.b, base, name+"_sum", "", ""), p.Sum); err != nil {
		return err
	}
	return put(with(w.b, base, name+"_count", "", ""), float64(p.Count))
}

// exponential adds an exponential histogram as a native one.
func (w *writer) exponential(service string, delta bool, p *telemetry.Point, base labels.Labels, ms int64) error {
	h, err := native(p)
	if err != nil {
		return err
	}
	if !delta || p.Stale {
		if !w.admit(service, ms) {
			return nil
		}
		_, err = w.app.AppendHistogram(0, base, ms, h, nil)
		return w.settle(service, err)
	}
	total, err := w.s.deltas.native(base, p, h, w.now)
	if err != nil {
		return err
	}
	if !w.admit(service, ms) {
		return nil
	}
	_, err = w.app.AppendHistogram(0, base, ms, nil, total)
	return w.settle(service, err)
}

// The scales that native histograms have; finer ones are made coarser.
const (
	minScale = -4
	maxScale = 8
)

// native makes a native histogram of an exponential one.
func native(p *telemetry.Point) (*histogram.Histogram, error) {
	if p.Stale {
		return &histogram.Histogram{Sum: staleNaN()}, nil
	}
	if p.Scale < minScale || p.Scale > 20 {
		return nil, errInvalid // 20 is the finest of OpenTelemetry
	}
	if !(p.ZeroThreshold >= 0) || math.IsInf(p.ZeroThreshold, 1) {
		return nil, errInvalid // Prometheus widens one threshold until it is the other, which with NaN never ends.
	}
	h := &histogram.Histogram{
		Schema: min(p.Scale, maxScale), ZeroThreshold: p.ZeroThreshold, ZeroCount: p.Zero, Count: p.Count, Sum: p.Sum,
	}
	if h.ZeroThreshold == 0 {
		h.ZeroThreshold = 1e-128 // of Prometheus, where none is given
	}
	coarser := p.Scale - h.Schema
	var err error
	if h.PositiveSpans, h.PositiveBuckets, err = spans(p.Positive, coarser); err != nil {
		return nil, err
	}
	if h.NegativeSpans, h.NegativeBuckets, err = spans(p.Negative, coarser); err != nil {
		return nil, err
	}
	if err := h.Validate(); err != nil {
		return nil, errInvalid
	}
	return h, nil
}

// spans lays out buckets as Prometheus does: spans of neighbours, and each count as the difference to the one before.
// Bucket i of OpenTelemetry ends where bucket i+1 of Prometheus ends; 2^coarser buckets become one.
func spans(b telemetry.ExponentialBuckets, coarser int32) (out []histogram.Span, counts []int64, err error) {
	if len(b.Counts) > maxBuckets {
		return nil, nil, errInvalid
	}
	last, before := int64(0), int64(0)
	for i, n := range b.Counts {
		if n == 0 {
			continue
		}
		at := (int64(b.Offset)+int64(i))>>coarser + 1
		if at > math.MaxInt32/2 || at < math.MinInt32/2 || n > math.MaxInt64/maxBuckets {
			return nil, nil, errInvalid
		}
		switch {
		case len(out) > 0 && at == last:
			counts[len(counts)-1] += int64(n)
			before += int64(n)
			continue
		case len(out) > 0 && at == last+1:
			out[len(out)-1].Length++
		case len(out) > 0:
			out = append(out, histogram.Span{Offset: int32(at - last - 1), Length: 1})
		default:
			out = append(out, histogram.Span{Offset: int32(at), Length: 1})
		}
		counts = append(counts, int64(n)-before)
		last, before = at, int64(n)
	}
	return out, counts, nil
}

// staleNaN is the value that says that a series has ended.
func staleNaN() float64 { return math.Float64frombits(value.StaleNaN) }
