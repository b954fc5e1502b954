package platform

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/replica"
)

// maxRequestSeries is how many kinds of requests are counted apart; the others are one for each service.
const maxRequestSeries = 5000

// metricRequests is the histogram of requests.
const metricRequests = "http_server_request_duration_seconds"

// requestKey is a kind of requests.
type requestKey struct {
	kind, service, route, method string
	status                       int
	errorType, code              string
}

// requestBounds are the upper bounds of durations, in seconds, that OpenTelemetry's conventions for HTTP metrics advise.
func requestBounds() [14]float64 {
	return [14]float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
}

// requestCount is what is counted of a kind.
type requestCount struct {
	buckets [15]atomic.Int64
	sum     atomic.Int64 // nanoseconds
}

// requestMetrics counts requests. It is safe for concurrent use.
type requestMetrics struct {
	mu sync.RWMutex
	by map[requestKey]*requestCount // guarded by mu
}

func newRequestMetrics() *requestMetrics {
	return &requestMetrics{by: map[requestKey]*requestCount{}}
}

func (m *requestMetrics) add(k requestKey, took time.Duration) {
	k.method = knownMethod(k.method)
	m.mu.RLock()
	c := m.by[k]
	m.mu.RUnlock()
	if c == nil {
		c = m.insert(k)
	}
	at := 0
	for at < 14 && took.Seconds() > requestBounds()[at] {
		at++
	}
	c.buckets[at].Add(1)
	c.sum.Add(int64(took))
}

func (m *requestMetrics) insert(k requestKey) *requestCount {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.by) >= maxRequestSeries {
		k = requestKey{kind: k.kind, service: k.service, status: k.status, method: "_OTHER"}
	}
	c := m.by[k]
	if c == nil {
		c = &requestCount{}
		m.by[k] = c
	}
	return c
}

// knownMethod is a method, or what the conventions put in the place of one that a client made up.
func knownMethod(method string) string {
	switch method {
	case "", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "NATS":
		return method
	}
	return "_OTHER"
}

// keys lists what was counted.
func (m *requestMetrics) keys() []requestKey {
	m.mu.RLock()
	defer m.mu.RUnlock()
	keys := make([]requestKey, 0, len(m.by))
	for k := range m.by {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b requestKey) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.kind, b.kind), cmp.Compare(a.route, b.route),
			cmp.Compare(a.method, b.method), cmp.Compare(a.status, b.status), cmp.Compare(a.errorType, b.errorType), cmp.Compare(a.code, b.code))
	})
	return keys
}

// requests writes the histogram of requests.
func (m *exposition) requests(counts *requestMetrics) {
	const name = metricRequests
	m.family(name, "histogram", "How long services took to answer, as Atoll sees it: requests from outside, calls, deliveries of events, steps of sagas.")
	for _, k := range counts.keys() {
		counts.mu.RLock()
		c := counts.by[k]
		counts.mu.RUnlock()
		labels := []string{"service", k.service, "atoll_kind", k.kind}
		for _, l := range []struct{ name, value string }{
			{"http_route", k.route}, {"http_request_method", k.method}, {"error_type", k.errorType}, {"atoll_code", k.code},
		} {
			if l.value != "" {
				labels = append(labels, l.name, l.value)
			}
		}
		if k.status != 0 {
			labels = append(labels, "http_response_status_code", strconv.Itoa(k.status))
		}
		var sum int64
		for i := range c.buckets {
			sum += c.buckets[i].Load()
			le := "+Inf"
			if bounds := requestBounds(); i < len(bounds) {
				le = strconv.FormatFloat(bounds[i], 'g', -1, 64)
			}
			m.sample(name+"_bucket", float64(sum), append(slices.Clip(labels), "le", le)...)
		}
		m.sample(name+"_sum", time.Duration(c.sum.Load()).Seconds(), labels...)
		m.sample(name+"_count", float64(sum), labels...)
	}
}

// replicaCounts knows how replicas fare over time. It is safe for concurrent use.
type replicaCounts struct {
	mu       sync.Mutex
	restarts map[[2]string]int64 // guarded by mu: by service and replica
	hopeless map[[2]string]bool  // guarded by mu: those that are not tried again
}

func newReplicaCounts() *replicaCounts {
	return &replicaCounts{restarts: map[[2]string]int64{}, hopeless: map[[2]string]bool{}}
}

func (c *replicaCounts) change(ch *replica.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := [2]string{ch.Service, ch.Replica}
	if ch.To == replica.Crashed {
		c.restarts[key]++
	}
	if delete(c.hopeless, key); ch.To == replica.Crashed && ch.Final {
		c.hopeless[key] = true
	}
}

// replicas writes how replicas fare, and what they take.
func (m *exposition) replicas(counts *replicaCounts, list []replica.Status) {
	const restarts, loop, state, cpu, memory = "atoll_replica_restarts_total", "atoll_replica_crash_loop", "atoll_replicas", "process_cpu_seconds_total", "process_resident_memory_bytes"
	counts.mu.Lock()
	defer counts.mu.Unlock()
	m.family(restarts, "counter", "How often a replica ended unasked.")
	for _, s := range list {
		m.sample(restarts, float64(counts.restarts[[2]string{s.Service, s.Replica}]), "service", s.Service, "replica", s.Replica)
	}
	m.family(loop, "gauge", "1 where the replicas of a service end again and again right after their start.")
	states := map[[2]string]int{}
	services, loops := map[string]bool{}, map[string]bool{}
	for i := range list {
		s := &list[i]
		states[[2]string{s.Service, s.State.String()}]++
		services[s.Service] = true
		if s.Looping || counts.hopeless[[2]string{s.Service, s.Replica}] {
			loops[s.Service] = true
		}
	}
	for _, service := range sortedKeys(services) {
		value := 0.0
		if loops[service] {
			value = 1
		}
		m.sample(loop, value, "service", service)
	}
	m.family(state, "gauge", "Replicas of a service by state.")
	for _, k := range sortedPairs(states) {
		m.sample(state, float64(states[k]), "service", k[0], "state", k[1])
	}
	m.family(cpu, "counter", "Time that the processes of a replica have kept processors busy.")
	for _, s := range list {
		m.sample(cpu, s.CPU.Seconds(), "service", s.Service, "replica", s.Replica)
	}
	m.family(memory, "gauge", "Resident memory of the processes of a replica.")
	for _, s := range list {
		m.sample(memory, float64(s.MemoryBytes), "service", s.Service, "replica", s.Replica)
	}
}

func sortedKeys(set map[string]bool) []string {
	out := make([]string, 0, len(set))
	for k := range set {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func sortedPairs(set map[[2]string]int) [][2]string {
	out := make([][2]string, 0, len(set))
	for k := range set {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b [2]string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	return out
}
