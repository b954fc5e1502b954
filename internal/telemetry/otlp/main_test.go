package otlp_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kept gathers copies of what a Receiver took.
type kept struct {
	mu      sync.Mutex
	spans   []telemetry.Span
	records []telemetry.Record
	metrics []telemetry.Metric
	err     error // to refuse with
}

func (k *kept) take(_ context.Context, b *telemetry.Batch) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return k.err
	}
	c := clone(b)
	k.spans = append(k.spans, c.Spans...)
	k.records = append(k.records, c.Records...)
	k.metrics = append(k.metrics, c.Metrics...)
	return nil
}

func (k *kept) refuse(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

// clone copies a batch through its own encoding.
func clone(b *telemetry.Batch) telemetry.Batch {
	decode := func(s otlp.Signal, request []byte) *telemetry.Batch {
		got, _, err := otlp.NewDecoder(otlp.Limits{}, nil).Decode(s, request)
		if err != nil {
			panic(err)
		}
		return got
	}
	return telemetry.Batch{
		Spans:   decode(otlp.Traces, otlp.AppendTraces(nil, b.Spans)).Spans,
		Records: decode(otlp.Logs, otlp.AppendLogs(nil, b.Records)).Records,
		Metrics: decode(otlp.Metrics, otlp.AppendMetrics(nil, b.Metrics)).Metrics,
	}
}

// serve runs a server of a Receiver for as long as a test and returns its address.
func serve(t *testing.T, run func(context.Context, net.Listener) error) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the server ended: %v", err)
		}
	})
	return l.Addr().String()
}
