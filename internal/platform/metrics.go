package platform

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/bus"
)

// hookGroup stands in the metrics for all webhooks together, since there may be a thousand of them.
const hookGroup = "webhook/*"

// Metrics is all that is counted, in the text format of Prometheus. The names are those of OpenTelemetry's conventions for
// messaging where these have one. A series stands for a topic, a subscription, a saga or a service of the manifests; webhooks are one.
func (p *Platform) Metrics(ctx context.Context) ([]byte, error) {
	m := &exposition{}
	m.requests(p.telemetry.requests)
	m.replicas(p.telemetry.replicas, p.supervisor.Status())
	if err := m.telemetry(ctx, p.telemetry); err != nil {
		return nil, err
	}
	if b := p.bus.current(); b != nil {
		m.topics(b.Topics())
		groups := joinHooks(b.Subscriptions())
		m.attempts(groups)
		m.backlog(groups)
		if err := m.log(ctx, b); err != nil {
			return nil, err
		}
	}
	if e := p.sagas.current(); e != nil {
		if err := m.sagas(ctx, e, &p.sagas.counts); err != nil {
			return nil, err
		}
	}
	return m.out.Bytes(), nil
}

// joinHooks makes one of all webhooks.
func joinHooks(list []bus.SubscriptionInfo) []bus.SubscriptionInfo {
	var out []bus.SubscriptionInfo
	all := bus.SubscriptionInfo{Name: hookGroup}
	hooks := 0
	for _, s := range list {
		if !strings.HasPrefix(s.Name, hookPrefix) {
			out = append(out, s)
			continue
		}
		hooks++
		all.Waiting, all.Flying, all.Failing = all.Waiting+s.Waiting, all.Flying+s.Flying, all.Failing+s.Failing
		all.Accepted, all.Failed, all.Dead = all.Accepted+s.Accepted, all.Failed+s.Failed, all.Dead+s.Dead
		if all.Oldest.IsZero() || !s.Oldest.IsZero() && s.Oldest.Before(all.Oldest) {
			all.Oldest = s.Oldest
		}
		all.Durations.Count, all.Durations.Sum = all.Durations.Count+s.Durations.Count, all.Durations.Sum+s.Durations.Sum
		for i, n := range s.Durations.Buckets {
			all.Durations.Buckets[i] += n
		}
	}
	if hooks > 0 {
		out = append(out, all)
	}
	return out
}

// exposition writes the text format of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4).
type exposition struct{ out bytes.Buffer }

// family begins a metric.
func (m *exposition) family(name, kind, help string) {
	fmt.Fprintf(&m.out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// sample writes a value. The labels are names and values in turn.
func (m *exposition) sample(name string, value float64, labels ...string) {
	m.out.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		m.out.WriteByte("{,"[min(i, 1)])
		fmt.Fprintf(&m.out, `%s="%s"`, labels[i], strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(labels[i+1]))
	}
	if len(labels) > 0 {
		m.out.WriteByte('}')
	}
	m.out.WriteString(" " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
}

// The labels, after OpenTelemetry.
const (
	labelSystem = "messaging_system"
	labelTopic  = "messaging_destination_name"
	labelGroup  = "messaging_consumer_group_name"
	labelError  = "error_type"
	system      = "atoll"
)

func (m *exposition) topics(topics []bus.TopicInfo) {
	const name = "messaging_client_sent_messages_total"
	m.family(name, "counter", "Events that were published and are durable.")
	for _, t := range topics {
		m.sample(name, float64(t.Published), labelSystem, system, labelTopic, t.Name)
	}
}

// attempts writes what came of attempts to deliver, and how long they took.
func (m *exposition) attempts(groups []bus.SubscriptionInfo) {
	const consumed, dead, took = "messaging_client_consumed_messages_total", "atoll_events_dead_letters_total", "messaging_process_duration_seconds"
	m.family(consumed, "counter", "Attempts to deliver an event; those that failed have an error_type.")
	for _, s := range groups {
		m.sample(consumed, float64(s.Accepted), labelSystem, system, labelGroup, s.Name, labelError, "")
		m.sample(consumed, float64(s.Failed), labelSystem, system, labelGroup, s.Name, labelError, "failed")
	}
	m.family(dead, "counter", "Events that a subscription has given up.")
	for _, s := range groups {
		m.sample(dead, float64(s.Dead), labelGroup, s.Name)
	}
	m.family(took, "histogram", "How long attempts to deliver an event took.")
	for _, s := range groups {
		m.histogram(took, s.Durations, labelSystem, system, labelGroup, s.Name)
	}
}

func (m *exposition) histogram(name string, d bus.Durations, labels ...string) {
	var sum uint64
	bounds := bus.DurationBounds()
	for i, n := range d.Buckets {
		sum += n
		le := "+Inf"
		if i < len(bounds) {
			le = strconv.FormatFloat(bounds[i].Seconds(), 'g', -1, 64)
		}
		m.sample(name+"_bucket", float64(sum), append(slices.Clip(labels), "le", le)...)
	}
	m.sample(name+"_sum", d.Sum.Seconds(), labels...)
	m.sample(name+"_count", float64(d.Count), labels...)
}

// backlog writes what subscriptions have before them.
func (m *exposition) backlog(groups []bus.SubscriptionInfo) {
	now := time.Now()
	for _, g := range []struct {
		name, help string
		value      func(bus.SubscriptionInfo) float64
	}{
		{"atoll_events_waiting", "Events that a subscription has not settled.", func(s bus.SubscriptionInfo) float64 { return float64(s.Waiting) }},
		{"atoll_events_in_flight", "Attempts to deliver that are under way.", func(s bus.SubscriptionInfo) float64 { return float64(s.Flying) }},
		{"atoll_events_failing", "Events that have failed and are tried again.", func(s bus.SubscriptionInfo) float64 { return float64(s.Failing) }},
		{"atoll_events_oldest_seconds", "Age of the oldest event that is not settled; 0 for none.", func(s bus.SubscriptionInfo) float64 {
			if s.Oldest.IsZero() {
				return 0
			}
			return now.Sub(s.Oldest).Seconds()
		}},
	} {
		m.family(g.name, "gauge", g.help)
		for _, s := range groups {
			m.sample(g.name, g.value(s), labelGroup, s.Name)
		}
	}
}

// log writes how much is kept.
func (m *exposition) log(ctx context.Context, b *bus.Bus) error {
	const records, size = "atoll_events_kept", "atoll_events_kept_bytes"
	kept := map[bus.Stream]bus.Bounds{}
	for _, stream := range bus.Streams() {
		bounds, err := b.Bounds(ctx, stream)
		if err != nil {
			return err
		}
		kept[stream] = bounds
	}
	m.family(records, "gauge", "Records that are kept: events, delayed ones, dead letters, deliveries to webhooks.")
	for _, stream := range bus.Streams() {
		m.sample(records, float64(kept[stream].Records), "stream", string(stream))
	}
	m.family(size, "gauge", "Bytes that they take.")
	for _, stream := range bus.Streams() {
		m.sample(size, float64(kept[stream].Bytes), "stream", string(stream))
	}
	return nil
}
