package metric

import (
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// The labels that say whose a series is.
const (
	LabelService = "service"
	LabelReplica = "replica"
)

// Cause is why samples were dropped.
type Cause string

// The causes.
const (
	CauseSeries  Cause = "series"  // the service, or all of them, have too many series
	CauseRate    Cause = "rate"    // more samples a second than the service may send
	CauseLabels  Cause = "labels"  // too many labels, one that is too long, or a name that cannot be
	CauseOld     Cause = "old"     // too far behind the newest sample of its series
	CauseTwice   Cause = "twice"   // another value for a time that has one
	CauseDeltas  Cause = "deltas"  // too many series of delta temporality
	CauseInvalid Cause = "invalid" // a point that contradicts itself
	CauseScrape  Cause = "scrape"  // of a scrape that was too large or could not be read
)

// maxServices is how many services are counted by name.
const maxServices = 1000

var (
	errSeries  = errors.New("too many series")
	errLabels  = errors.New("labels beyond their limits")
	errInvalid = errors.New("point contradicts itself")
	errDeltas  = errors.New("too many series of delta temporality")
	errAhead   = errors.New("time too far ahead")
	errOld     = errors.New("time too long ago")
	errSeen    = errors.New("delta seen before")
)

// causeOf returns why a sample was not taken; ok is false for an error of the database itself.
func causeOf(err error) (c Cause, ok bool) {
	switch {
	case errors.Is(err, errSeries):
		return CauseSeries, true
	case errors.Is(err, errLabels):
		return CauseLabels, true
	case errors.Is(err, errInvalid):
		return CauseInvalid, true
	case errors.Is(err, errAhead):
		return CauseAhead, true
	case errors.Is(err, errDeltas):
		return CauseDeltas, true
	case errors.Is(err, errSeen), errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		return CauseTwice, true
	case errors.Is(err, errOld), errors.Is(err, storage.ErrOutOfOrderSample), errors.Is(err, storage.ErrOutOfBounds),
		errors.Is(err, storage.ErrTooOldSample):
		return CauseOld, true
	}
	return "", false
}

// limits counts series and samples by service and says what is too much. The database calls it for each series that
// begins or ends.
type limits struct {
	opts Options

	mu       sync.Mutex
	open     bool                   // guarded by mu; until then series come from the disk and are not refused
	series   int                    // guarded by mu
	services map[string]*serviceUse // guarded by mu
}

type serviceUse struct {
	series  int
	samples int64
	dropped map[Cause]int64
	tokens  float64
	filled  time.Time
}

func newLimits(o Options) *limits {
	return &limits{opts: o, services: map[string]*serviceUse{}}
}

func (l *limits) opened() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = true
}

// use returns what a service uses; mu is held.
func (l *limits) use(service string) *serviceUse {
	u := l.services[service]
	if u == nil && len(l.services) >= maxServices {
		service = ""
		u = l.services[service]
	}
	if u == nil {
		u = &serviceUse{dropped: map[Cause]int64{}, tokens: 2 * l.opts.Rate, filled: l.opts.Now()}
		l.services[strings.Clone(service)] = u
	}
	return u
}

// PreCreation refuses a series that is too much. Below nine tenths of all series only a service's own limit counts;
// above them a service that has more than an equal share gets no more, so that the loudest loses first.
func (l *limits) PreCreation(ls labels.Labels) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open {
		return nil
	}
	u := l.use(ls.Get(LabelService))
	switch {
	case u.series >= l.opts.MaxServiceSeries, l.series >= l.opts.MaxSeries:
		return errSeries
	case l.series >= l.opts.MaxSeries/10*9 && u.series >= l.opts.MaxSeries/len(l.services):
		return errSeries
	}
	return nil
}

// PostCreation counts a series.
func (l *limits) PostCreation(ls labels.Labels) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.series++
	l.use(ls.Get(LabelService)).series++
}

// PostDeletion counts series off.
func (l *limits) PostDeletion(gone map[chunks.HeadSeriesRef]labels.Labels) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ls := range gone {
		l.series--
		l.use(ls.Get(LabelService)).series--
	}
}

// allow tells whether a service may send a sample more.
func (l *limits) allow(service string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.use(service)
	now := l.opts.Now()
	u.tokens = min(u.tokens+now.Sub(u.filled).Seconds()*l.opts.Rate, 2*l.opts.Rate)
	u.filled = now
	if u.tokens < 1 {
		return false
	}
	u.tokens--
	return true
}

// count adds what became of samples.
func (l *limits) count(service string, samples int64, dropped map[Cause]int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.use(service)
	u.samples += samples
	for c, n := range dropped {
		u.dropped[c] += n
	}
}

func (l *limits) stats() (int, map[string]ServiceStats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]ServiceStats, len(l.services))
	for name, u := range l.services {
		out[name] = ServiceStats{Series: u.series, Samples: u.samples, Dropped: maps.Clone(u.dropped)}
	}
	return l.series, out
}

// checkLabels tells whether labels are within their limits.
func (l *limits) checkLabels(ls labels.Labels) error {
	n, long := 0, false
	ls.Range(func(lb labels.Label) {
		n++
		long = long || len(lb.Value) > l.opts.MaxLabelValue || len(lb.Name) > 256
	})
	if n > l.opts.MaxLabels || long || ls.Get(model.MetricNameLabel) == "" {
		return errLabels
	}
	return nil
}
