package otlp

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
)

// gate lets some in at once. The others wait, but not too many and not for too long.
type gate struct {
	in       chan struct{}
	waiting  *atomic.Int64
	limit    int64
	patience time.Duration
}

func newGate(in, waiting int, patience time.Duration) gate {
	return gate{in: make(chan struct{}, in), waiting: new(atomic.Int64), limit: int64(waiting), patience: patience}
}

// enter waits to be let in. It returns *telemetry.Busy if too many wait or it took too long, or ctx's error.
func (g *gate) enter(ctx context.Context) error {
	select {
	case g.in <- struct{}{}:
		return nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.limit {
		return &telemetry.Busy{After: time.Second}
	}
	timer := time.NewTimer(g.patience)
	defer timer.Stop()
	select {
	case g.in <- struct{}{}:
		return nil
	case <-timer.C:
		return &telemetry.Busy{After: time.Second}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *gate) leave() { <-g.in }

// meter bounds memory.
type meter struct {
	used  atomic.Int64
	limit int64
}

// lease is what one request takes of a meter.
type lease struct {
	m *meter
	n int64
}

// more takes n bytes more, or returns *telemetry.Busy.
func (l *lease) more(n int64) error {
	if l.m.used.Add(n) > l.m.limit {
		l.m.used.Add(-n)
		return &telemetry.Busy{After: time.Second}
	}
	l.n += n
	return nil
}

// keep gives back what is more than n bytes.
func (l *lease) keep(n int64) {
	if more := l.n - n; more > 0 {
		l.m.used.Add(-more)
		l.n = n
	}
}

// end gives all back.
func (l *lease) end() {
	l.m.used.Add(-l.n)
	l.n = 0
}
