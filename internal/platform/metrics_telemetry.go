package platform

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

// telemetry writes how telemetry itself fares: what is kept, and what was not.
func (m *exposition) telemetry(ctx context.Context, o *observatory) error {
	usage, err := o.store.Usage(ctx)
	if err != nil {
		return err
	}
	const bytes, limit, rows, dropped, torn = "atoll_telemetry_kept_bytes", "atoll_telemetry_limit_bytes", "atoll_telemetry_kept_rows", "atoll_telemetry_dropped_total", "atoll_telemetry_torn_blocks"
	metrics := o.metrics.Stats()
	m.family(bytes, "gauge", "Bytes that are kept: rows (spans, log records and events), metrics.")
	m.sample(bytes, float64(usage.Bytes), "store", "rows")
	m.sample(bytes, float64(metrics.Bytes), "store", "metrics")
	m.family(limit, "gauge", "Bytes that may be kept.")
	m.sample(limit, float64(usage.Limit), "store", "rows")
	m.sample(limit, float64(metrics.Limit), "store", "metrics")
	services := slices.Sorted(maps.Keys(usage.Services))
	m.family(rows, "gauge", "Spans and log records that are kept of a service.")
	for _, name := range services {
		m.sample(rows, float64(usage.Services[name].Spans), "service", name, "signal", string(telemetry.Spans))
		m.sample(rows, float64(usage.Services[name].Records), "service", name, "signal", string(telemetry.Logs))
	}
	m.family(dropped, "counter", "Spans, log records and samples of a service that were not kept, by cause.")
	for _, name := range services {
		d := usage.Services[name].Dropped
		for _, c := range []struct {
			cause string
			n     int64
		}{{"rate", d.Rate}, {"sampled", d.Sampled}, {"evicted", d.Evicted}} {
			if c.n > 0 {
				m.sample(dropped, float64(c.n), "service", name, "cause", c.cause)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(metrics.Services)) {
		by := metrics.Services[name].Dropped
		for _, cause := range slices.Sorted(maps.Keys(by)) {
			m.sample(dropped, float64(by[cause]), "service", name, "cause", "metrics-"+string(cause))
		}
	}
	if n := o.collector.left(); n > 0 {
		m.sample(dropped, float64(n), "service", scopeName, "cause", "busy")
	}
	m.family(torn, "gauge", "Blocks that were found torn and set aside.")
	m.sample(torn, float64(len(usage.Torn)+len(metrics.Torn)))
	m.otlp(o.receiver.Stats())
	m.forwarding(o)
	return nil
}

// otlp writes what came in by OTLP.
func (m *exposition) otlp(s otlp.ReceiverStats) {
	const requests, items = "atoll_otlp_requests_total", "atoll_otlp_items_total"
	signals := []struct {
		name  string
		stats otlp.SignalStats
	}{{"traces", s.Traces}, {"logs", s.Logs}, {"metrics", s.Metrics}}
	m.family(requests, "counter", "OTLP exports by what became of them.")
	for _, sig := range signals {
		for _, o := range []struct {
			outcome string
			n       int64
		}{
			{"taken", sig.stats.Taken}, {"busy", sig.stats.Busy}, {"malformed", sig.stats.Malformed}, {"gone", sig.stats.Gone}, {"failed", sig.stats.Failed},
		} {
			m.sample(requests, float64(o.n), "signal", sig.name, "outcome", o.outcome)
		}
	}
	m.family(items, "counter", "Spans, log records and points that came by OTLP.")
	for _, sig := range signals {
		m.sample(items, float64(sig.stats.Items), "signal", sig.name, "outcome", "taken")
		m.sample(items, float64(sig.stats.Rejected), "signal", sig.name, "outcome", "rejected")
	}
}

// forwarding writes how far backends have come.
func (m *exposition) forwarding(o *observatory) {
	o.forwards.mu.RLock()
	defer o.forwards.mu.RUnlock()
	if len(o.forwards.list) == 0 {
		return
	}
	const items, queued = "atoll_forward_items_total", "atoll_forward_queue_bytes"
	m.family(items, "counter", "Spans, log records and points for another backend, by what became of them.")
	for i, one := range o.forwards.list {
		st := one.to.Stats()
		for _, c := range []struct {
			outcome string
			n       int64
		}{{"sent", st.SentItems}, {"queue-full", st.Full}, {"refused", st.Refused + st.Rejected}} {
			m.sample(items, float64(c.n), "backend", strconv.Itoa(i), "outcome", c.outcome)
		}
	}
	m.family(queued, "gauge", "Bytes that wait on disk for another backend.")
	for i, one := range o.forwards.list {
		m.sample(queued, float64(one.to.Stats().QueuedBytes), "backend", strconv.Itoa(i))
	}
}
