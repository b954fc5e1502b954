package telemetry

// MetricKind is what the points of a metric are.
type MetricKind uint8

// The kinds of metrics.
const (
	Gauge MetricKind = iota + 1
	Sum
	Histogram
	ExponentialHistogram
	SummaryMetric
)

// Metric is a metric of one resource, with some of its points.
type Metric struct {
	Resource  *Resource
	Scope     *Scope
	Name      string
	Unit      string // UCUM, such as s, By, {request}
	Help      string
	Kind      MetricKind
	Monotonic bool // of Sum
	Delta     bool // temporality of Sum and the histograms; false is cumulative
	Points    []Point
}

// Point is a value of a metric for one set of attributes.
type Point struct {
	Attrs []Attr
	Start int64   // nanoseconds since 1970 UTC; 0 is not known
	Time  int64   // nanoseconds since 1970 UTC
	Value float64 // of Gauge and Sum
	Count uint64  // of the histograms and SummaryMetric
	Sum   float64 // of the histograms and SummaryMetric
	Stale bool    // there is no value any more (flag of OTLP)

	Bounds  []float64 // of Histogram: upper bounds, without +Inf
	Buckets []uint64  // of Histogram: one more than Bounds, not cumulative

	Scale              int32 // of ExponentialHistogram
	Zero               uint64
	ZeroThreshold      float64
	Positive, Negative ExponentialBuckets

	Quantiles []Quantile // of SummaryMetric
}

// ExponentialBuckets are the buckets of one sign: the i-th counts values of (base^(Offset+i), base^(Offset+i+1)],
// where base is 2^(2^-Scale).
type ExponentialBuckets struct {
	Offset int32
	Counts []uint64
}

// Quantile is a value of a summary.
type Quantile struct{ Q, Value float64 }
