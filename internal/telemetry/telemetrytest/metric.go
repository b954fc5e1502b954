package telemetrytest

import (
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
)

// replicaMetrics are the counters of a replica.
type replicaMetrics struct{ metrics []telemetry.Metric }

func bounds() []float64 {
	return []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
}

// Metrics is what the next replica reports, of all in turn; when all have reported, ten seconds have gone by. What is returned is changed when
// the replica reports again.
func (g *Generator) Metrics() []telemetry.Metric {
	all := g.Resources()
	res := all[g.metricTurn%len(all)]
	g.metricTurn++
	if g.metricTurn%len(all) == 0 {
		g.metricTime += int64(10 * time.Second)
	}
	m := g.counters[res]
	if m == nil {
		m = &replicaMetrics{g.newMetrics(res)}
		g.counters[res] = m
	}
	for i := range m.metrics {
		for p := range m.metrics[i].Points {
			g.observe(&m.metrics[i], &m.metrics[i].Points[p])
		}
	}
	return m.metrics
}

// Samples is how many samples metrics become in a store that keeps each bucket, the sum and the count of a histogram as a series.
func Samples(metrics []telemetry.Metric) (n int) {
	for i := range metrics {
		for p := range metrics[i].Points {
			n++
			if metrics[i].Kind == telemetry.Histogram {
				n += len(metrics[i].Points[p].Buckets) + 1
			}
		}
	}
	return n
}

func (g *Generator) observe(m *telemetry.Metric, p *telemetry.Point) {
	p.Time = g.metricTime
	switch m.Kind {
	case telemetry.Histogram:
		for n := g.r.IntN(30); n > 0; n-- {
			took := float64(g.around(12*time.Millisecond, 1.2)) / 1e9
			at := 0
			for at < len(p.Bounds) && took > p.Bounds[at] {
				at++
			}
			p.Buckets[at]++
			p.Count++
			p.Sum += took
		}
	case telemetry.Sum:
		p.Value += float64(g.r.IntN(1000))
	default:
		p.Value = max(0, p.Value+float64(g.r.IntN(2001)-1000))
	}
}

func (g *Generator) newMetrics(res *telemetry.Resource) []telemetry.Metric {
	home := g.byName[res.Service]
	start := g.metricTime
	var served, asked []telemetry.Point
	add := func(to *[]telemetry.Point, attrs ...telemetry.Attr) {
		*to = append(*to, telemetry.Point{Attrs: attrs, Start: start, Bounds: bounds(), Buckets: make([]uint64, len(bounds())+1)})
	}
	for _, o := range operations() {
		o.prepare()
		if o.service != home.name {
			continue
		}
		for _, code := range []int64{200, 404, 500} {
			add(&served, text("http.request.method", o.method), text("http.route", o.name), number("http.response.status_code", code), text("url.scheme", "http"))
		}
		for i := range o.steps {
			if s := &o.steps[i]; s.do == query {
				add(&asked, text("db.system.name", "postgresql"), text("db.namespace", s.where), text("db.operation.name", s.verb), text("db.collection.name", s.table))
			}
		}
	}
	values := func(key string, names ...string) (all []telemetry.Point) {
		for _, n := range names {
			all = append(all, telemetry.Point{Attrs: []telemetry.Attr{text(key, n)}, Start: start})
		}
		return all
	}
	metrics := []telemetry.Metric{
		{Name: "process.cpu.time", Unit: "s", Kind: telemetry.Sum, Monotonic: true, Points: values("cpu.mode", "user", "system")},
		{Name: "process.memory.usage", Unit: "By", Kind: telemetry.Gauge, Points: values("process.memory.type", "rss", "virtual")},
		{Name: "runtime.threads", Unit: "{thread}", Kind: telemetry.Gauge, Points: values("thread.state", "running", "waiting", "blocked")},
		{Name: "network.io", Unit: "By", Kind: telemetry.Sum, Monotonic: true, Points: values("network.io.direction", "receive", "transmit")},
	}
	if served != nil {
		metrics = append(metrics, telemetry.Metric{Name: "http.server.request.duration", Unit: "s", Kind: telemetry.Histogram, Points: served})
	}
	if asked != nil {
		metrics = append(metrics, telemetry.Metric{Name: "db.client.operation.duration", Unit: "s", Kind: telemetry.Histogram, Points: asked})
	}
	for i := range metrics {
		metrics[i].Resource, metrics[i].Scope = res, home.scopes.own
	}
	return metrics
}
