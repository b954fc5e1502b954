package platform

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

// exportSlice is how much time one question of an export of metrics is about, so that it does not hold all samples at once.
const exportSlice = 10 * time.Minute

// exportMetrics yields the samples of the series that a selector chooses; without a range those of the last day.
func (p *Platform) exportMetrics(ctx context.Context, q *api.ExportQuery, yield func([]byte) error) error {
	selector := q.Query
	if strings.TrimSpace(selector) == "" {
		selector = `{__name__=~".+"}`
	}
	from, to := q.From, q.To
	if to.IsZero() {
		to = time.Now()
	}
	if from.IsZero() {
		from = to.Add(-24 * time.Hour)
	}
	var encoder otlp.JSONEncoder
	left := q.Limit
	for at := from; at.Before(to); at = at.Add(exportSlice) {
		slice := min(exportSlice, to.Sub(at))
		table, err := p.telemetry.metrics.Instant(ctx, fmt.Sprintf("%s[%dms]", selector, slice.Milliseconds()), at.Add(slice))
		if err != nil {
			return err
		}
		metrics := make([]telemetry.Metric, 0, len(table.Series))
		for i := range table.Series {
			metrics = append(metrics, metricOf(&table.Series[i]))
		}
		for len(metrics) > 0 {
			n := min(len(metrics), exportRows)
			if q.Limit > 0 {
				n = min(n, left)
				left -= n
			}
			text, err := encoder.Append(nil, otlp.Metrics, otlp.AppendMetrics(nil, metrics[:n]))
			if err != nil {
				return err
			}
			if err := yield(text); err != nil || q.Limit > 0 && left == 0 {
				return err
			}
			metrics = metrics[n:]
		}
	}
	return nil
}

// metricOf is a series as a metric of OTLP. A name that ends like a counter's is a sum.
func metricOf(s *telemetry.Series) telemetry.Metric {
	m := telemetry.Metric{Resource: &telemetry.Resource{Service: s.Labels["service"], Replica: s.Labels["replica"]}, Name: s.Labels["__name__"], Kind: telemetry.Gauge}
	for _, suffix := range []string{"_total", "_bucket", "_count", "_sum"} {
		if strings.HasSuffix(m.Name, suffix) {
			m.Kind, m.Monotonic = telemetry.Sum, true
		}
	}
	var attrs []telemetry.Attr
	keys := map[string]bool{}
	for key := range s.Labels {
		keys[key] = key != "__name__" && key != "service" && key != "replica"
	}
	for _, key := range sortedKeys(keys) {
		if keys[key] {
			attrs = append(attrs, text(key, s.Labels[key]))
		}
	}
	for _, pt := range s.Points {
		m.Points = append(m.Points, telemetry.Point{Attrs: attrs, Time: pt.T * int64(time.Millisecond), Value: pt.V})
	}
	return m
}

// cpuRates turns the processor time that replicas have used into how many processors they keep busy. It is safe for concurrent
// use.
type cpuRates struct {
	mu   sync.Mutex
	last map[string]cpuSample // guarded by mu: by replica
}

type cpuSample struct {
	at   time.Time
	used time.Duration
	rate float64
}

// leastRate is the shortest time that a rate is taken over.
const leastRate = 900 * time.Millisecond

// rates adds what replicas keep busy to their services' rows.
func (c *cpuRates) rates(now time.Time, list []api.Replica, rows map[string]*api.TopRow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := make(map[string]cpuSample, len(list))
	for _, r := range list {
		used := time.Duration(r.CPUMS) * time.Millisecond
		before, ok := c.last[r.Replica]
		s := cpuSample{at: now, used: used}
		switch {
		case !ok || used < before.used: // it is new: all that it has used since it began
			if age := now.Sub(r.Since); age > 0 && !r.Since.IsZero() {
				s.rate = used.Seconds() / max(age, leastRate).Seconds()
			}
		case now.Sub(before.at) < leastRate:
			s = before
		default:
			s.rate = (used - before.used).Seconds() / now.Sub(before.at).Seconds()
		}
		next[r.Replica] = s
		if row := rows[r.Service]; row != nil {
			row.CPU += s.rate
		}
	}
	c.last = next
}
