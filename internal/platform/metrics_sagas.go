package platform

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/atollhq/atoll/internal/saga"
)

// sagaCount names what is counted of sagas.
type sagaCount string

// What is counted since the start.
const (
	sagaStarted  sagaCount = "atoll_saga_started_total"
	sagaEnded    sagaCount = "atoll_saga_ended_total"
	sagaParkings sagaCount = "atoll_saga_parked_total"
	sagaAttempts sagaCount = "atoll_saga_attempts_total"
)

// sagaSeries is one series of a count.
type sagaSeries struct {
	count      sagaCount
	name, kind string // of the saga or the service; the state or outcome
}

// sagaCounts counts what sagas do. Its series are bounded by the sagas and services of the manifests. The zero value is ready.
type sagaCounts struct{ series sync.Map } // *atomic.Int64 by sagaSeries

func (c *sagaCounts) add(count sagaCount, name, kind string) {
	key := sagaSeries{count, name, kind}
	n, ok := c.series.Load(key)
	if !ok {
		n, _ = c.series.LoadOrStore(key, new(atomic.Int64))
	}
	n.(*atomic.Int64).Add(1)
}

// sagaSample is a series with its value.
type sagaSample struct {
	sagaSeries
	value int64
}

// of lists the series of a count, by their labels.
func (c *sagaCounts) of(count sagaCount) []sagaSample {
	var out []sagaSample
	c.series.Range(func(key, n any) bool {
		if s := key.(sagaSeries); s.count == count {
			out = append(out, sagaSample{s, n.(*atomic.Int64).Load()})
		}
		return true
	})
	slices.SortFunc(out, func(a, b sagaSample) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.kind, b.kind)) })
	return out
}

// attemptOutcome is what came of an attempt, as it is counted: by its answer, whatever the definition makes of that.
func attemptOutcome(r *saga.Result) string {
	switch status := r.Answer.Status; {
	case r.Verdict != saga.Answered:
		return string(r.Verdict)
	case status >= 200 && status < 300:
		return "ok"
	case saga.RefusedByDefault(status):
		return "refused"
	}
	return "failed"
}

// sagas writes what sagas there are, and what they have done.
func (m *exposition) sagas(ctx context.Context, e *saga.Engine, counts *sagaCounts) error {
	const instances = "atoll_saga_instances"
	by, err := e.Count(ctx)
	if err != nil {
		return err
	}
	inForce, _ := e.Plans()
	for _, plan := range inForce { // a series is there before the first instance
		if by[plan.Name] == nil {
			by[plan.Name] = map[saga.Phase]int{}
		}
	}
	m.family(instances, "gauge", "Instances that are kept, by where they stand.")
	for _, name := range slices.Sorted(maps.Keys(by)) {
		for _, phase := range saga.Phases() {
			m.sample(instances, float64(by[name][phase]), "saga", name, "state", string(phase))
		}
	}
	for _, c := range []struct {
		count      sagaCount
		help       string
		name, kind string
	}{
		{sagaStarted, "Instances that were started, children too.", "saga", ""},
		{sagaEnded, "Instances that have ended.", "saga", "state"},
		{sagaParkings, "How often an instance began to wait for a person.", "saga", ""},
		{sagaAttempts, "Calls of steps, to take or to undo them.", "service", "outcome"},
	} {
		m.family(string(c.count), "counter", c.help)
		for _, s := range counts.of(c.count) {
			labels := []string{c.name, s.name}
			if c.kind != "" {
				labels = append(labels, c.kind, s.kind)
			}
			m.sample(string(c.count), float64(s.value), labels...)
		}
	}
	load := e.Load()
	m.family("atoll_saga_active", "gauge", "Instances in memory: something is under way or due soon.")
	m.sample("atoll_saga_active", float64(load.Active))
	m.family("atoll_saga_queued", "gauge", "Changes that wait to be made durable.")
	m.sample("atoll_saga_queued", float64(load.Queued))
	return nil
}
