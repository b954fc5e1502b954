package otel_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
	"github.com/atollhq/atoll/test/otel"
)

// collector is a backend of OTLP that remembers.
type collector struct {
	grpc, http string // URLs

	mu      sync.Mutex // guards what follows
	spans   []telemetry.Span
	records []telemetry.Record
	metrics []telemetry.Metric
}

// collect runs a collector for as long as a test.
func collect(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	r := otlp.NewReceiver(c.take, nil)
	c.grpc, c.http = serve(t, r.RunGRPC), serve(t, r.RunHTTP)
	return c
}

func serve(t *testing.T, run func(context.Context, net.Listener) error) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the collector ended: %v", err)
		}
	})
	return "http://" + l.Addr().String()
}

// take keeps copies: through requests, whose bytes stay as they are.
func (c *collector) take(_ context.Context, b *telemetry.Batch) error {
	spans, _, err := otlp.NewDecoder(otlp.Limits{}, nil).Decode(otlp.Traces, otlp.AppendTraces(nil, b.Spans))
	if err != nil {
		return err
	}
	records, _, err := otlp.NewDecoder(otlp.Limits{}, nil).Decode(otlp.Logs, otlp.AppendLogs(nil, b.Records))
	if err != nil {
		return err
	}
	metrics, _, err := otlp.NewDecoder(otlp.Limits{}, nil).Decode(otlp.Metrics, otlp.AppendMetrics(nil, b.Metrics))
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spans = append(c.spans, spans.Spans...)
	c.records = append(c.records, records.Records...)
	c.metrics = append(c.metrics, metrics.Metrics...)
	return nil
}

func (c *collector) check(t *testing.T, service string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, wrong := range otel.Check(service, c.spans, c.records, c.metrics) {
		t.Error(wrong)
	}
}
