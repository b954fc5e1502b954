package metric

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/atollhq/atoll/internal/telemetry"
)

// metricName is the name of a metric as Prometheus writes it: underscores for what is no letter or digit, the unit, and _total
// for counters.
func metricName(m *telemetry.Metric) (string, error) {
	namer := otlptranslator.MetricNamer{WithMetricSuffixes: true}
	kind := otlptranslator.MetricType(otlptranslator.MetricTypeUnknown)
	switch m.Kind {
	case telemetry.Gauge:
		kind = otlptranslator.MetricTypeGauge
	case telemetry.Sum:
		kind = otlptranslator.MetricTypeNonMonotonicCounter
		if m.Monotonic {
			kind = otlptranslator.MetricTypeMonotonicCounter
		}
	case telemetry.Histogram:
		kind = otlptranslator.MetricTypeHistogram
	case telemetry.ExponentialHistogram:
		kind = otlptranslator.MetricTypeExponentialHistogram
	case telemetry.SummaryMetric:
		kind = otlptranslator.MetricTypeSummary
	}
	if m.Name == "" {
		return "", errLabels
	}
	name, err := namer.Build(otlptranslator.Metric{Name: m.Name, Unit: m.Unit, Type: kind})
	if err != nil {
		return "", errLabels
	}
	return name, nil
}

// labelName is the name of a label for the key of an attribute. Those that Prometheus or Atoll use for themselves get
// exported_ before them.
func labelName(key string) (string, error) {
	if key == "" {
		return "", errLabels
	}
	namer := otlptranslator.LabelNamer{}
	name, err := namer.Build(key)
	if err != nil {
		return "", errLabels
	}
	if strings.HasPrefix(name, "__") || name == LabelService || name == LabelReplica {
		name = "exported_" + strings.TrimLeft(name, "_")
	}
	return name, nil
}

// pointLabels are the labels of a point: its attributes, whose it is, and the metric's name. Values whose keys become the
// same name are joined by semicolons, in the order of their keys.
func pointLabels(name string, r *telemetry.Resource, attrs []telemetry.Attr) (labels.Labels, error) {
	ls, joined, err := attrLabels(make([]labels.Label, 0, len(attrs)+3), attrs)
	if joined { // which is rare, and only then the order counts
		sorted := slices.SortedStableFunc(slices.Values(attrs), func(a, b telemetry.Attr) int { return cmp.Compare(a.Key, b.Key) })
		ls, _, err = attrLabels(ls[:0], sorted)
	}
	if err != nil {
		return labels.EmptyLabels(), err
	}
	ls = append(ls, labels.Label{Name: model.MetricNameLabel, Value: name})
	if r != nil && r.Service != "" {
		ls = append(ls, labels.Label{Name: LabelService, Value: strings.ToValidUTF8(r.Service, "\uFFFD")})
	}
	if r != nil && r.Replica != "" {
		ls = append(ls, labels.Label{Name: LabelReplica, Value: strings.ToValidUTF8(r.Replica, "\uFFFD")})
	}
	return labels.New(ls...), nil
}

// attrLabels adds a label for each attribute that has a value. joined tells whether keys became the same name.
func attrLabels(ls []labels.Label, attrs []telemetry.Attr) (out []labels.Label, joined bool, err error) {
	for _, a := range attrs {
		value := strings.ToValidUTF8(a.Value.Text(), "\uFFFD")
		if value == "" {
			continue
		}
		key, err := labelName(a.Key)
		if err != nil {
			return nil, false, err
		}
		if i := slices.IndexFunc(ls, func(l labels.Label) bool { return l.Name == key }); i >= 0 {
			ls[i].Value += ";" + value
			joined = true
			continue
		}
		ls = append(ls, labels.Label{Name: key, Value: value})
	}
	return ls, joined, nil
}

// with is a series of the metric's family: the name with a suffix, and one label more if it has a name.
func with(b *labels.Builder, base labels.Labels, name, label, value string) labels.Labels {
	b.Reset(base)
	b.Set(model.MetricNameLabel, name)
	if label != "" {
		b.Set(label, value)
	}
	return b.Labels()
}

// formatBound writes a bucket's bound as OpenMetrics does, and so as scraped ones are kept: 1 as 1.0.
func formatBound(f float64) string {
	if math.IsInf(f, 1) {
		return "+Inf"
	}
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if strings.ContainsAny(s, "e.nI") {
		return s
	}
	return s + ".0"
}

// maxMetadata is how many metrics the store knows the help and the unit of; maxMetadataName, how long their names are.
const (
	maxMetadata     = 10_000
	maxMetadataName = 1024
)

// Meta is what is known of a metric beside its samples.
type Meta struct {
	Type string `json:"type"` // counter, gauge, histogram, summary, unknown
	Help string `json:"help"`
	Unit string `json:"unit"`
}

// metadata holds what senders said of their metrics, by name.
type metadata struct {
	mu    sync.RWMutex
	names map[string]Meta // guarded by mu
}

func newMetadata() *metadata { return &metadata{names: map[string]Meta{}} }

func (m *metadata) set(name string, change func(*Meta)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.names[name]
	if !ok && (len(m.names) >= maxMetadata || len(name) > maxMetadataName) {
		return
	}
	meta := old
	change(&meta)
	if ok && meta == old {
		return
	}
	meta.Help = strings.Clone(meta.Help[:min(len(meta.Help), 1024)])
	meta.Unit = strings.Clone(meta.Unit[:min(len(meta.Unit), 64)])
	m.names[strings.Clone(name)] = meta
}

func (m *metadata) otlp(name string, of *telemetry.Metric) {
	kind := "gauge"
	switch of.Kind {
	case telemetry.Sum:
		if of.Monotonic {
			kind = "counter"
		}
	case telemetry.Histogram, telemetry.ExponentialHistogram:
		kind = "histogram"
	case telemetry.SummaryMetric:
		kind = "summary"
	case telemetry.Gauge:
	}
	help := of.Help[:min(len(of.Help), 1024)]
	unit := of.Unit[:min(len(of.Unit), 64)]
	m.set(name, func(meta *Meta) {
		meta.Type, meta.Help, meta.Unit = kind, cmp.Or(help, meta.Help), cmp.Or(unit, meta.Unit)
	})
}

func (m *metadata) all(name string) map[string]Meta {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := map[string]Meta{}
	for n, meta := range m.names {
		if name == "" || n == name {
			out[n] = meta
		}
	}
	return out
}
