package otlp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

func dial(t *testing.T, addr string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(addr, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, c.Close()) })
	return c
}

// zstdCompressor compresses for a client.
type zstdCompressor struct{}

func (zstdCompressor) Type() string { return "zstd" }

func (zstdCompressor) Do(w io.Writer, p []byte) error {
	_, err := w.Write(zstded(p))
	return err
}

func traces(t *testing.T, spans []telemetry.Span) *coltrace.ExportTraceServiceRequest {
	t.Helper()
	q := &coltrace.ExportTraceServiceRequest{}
	if err := proto.Unmarshal(otlp.AppendTraces(nil, spans), q); err != nil {
		t.Fatal(err)
	}
	return q
}

func TestGRPCTakesEveryEncoding(t *testing.T) {
	spans := someSpans(2000)
	want := clone(&telemetry.Batch{Spans: spans}).Spans
	for name, opt := range map[string]grpc.DialOption{
		"identity": grpc.WithUserAgent("test"),
		"gzip":     grpc.WithDefaultCallOptions(grpc.UseCompressor("gzip")),
		"zstd":     grpc.WithCompressor(zstdCompressor{}), //nolint:staticcheck // The other way changes a global.
	} {
		t.Run(name, func(t *testing.T) {
			var k kept
			r := otlp.NewReceiver(k.take, nil)
			c := dial(t, serve(t, r.RunGRPC), opt)
			resp, err := coltrace.NewTraceServiceClient(c).Export(t.Context(), traces(t, spans))
			if err != nil || resp.GetPartialSuccess() != nil {
				t.Fatal(err, resp)
			}
			if !reflect.DeepEqual(k.spans, want) {
				t.Errorf("took %d others", len(k.spans))
			}
			if s := r.Stats(); s.InFlight != 0 || s.Traces.Items != 2000 || s.Traces.Taken != 1 {
				t.Errorf("counted %+v", s)
			}
		})
	}
}

func TestGRPCServesAllSignals(t *testing.T) {
	var k kept
	c := dial(t, serve(t, otlp.NewReceiver(k.take, nil).RunGRPC))
	logs, metrics := &collogs.ExportLogsServiceRequest{}, &colmetrics.ExportMetricsServiceRequest{}
	rs := &telemetry.Resource{Service: "a"}
	must(t, proto.Unmarshal(otlp.AppendLogs(nil, []telemetry.Record{{Resource: rs, Body: telemetry.String("hello")}}), logs))
	must(t, proto.Unmarshal(otlp.AppendMetrics(nil, []telemetry.Metric{{
		Resource: rs, Name: "m", Kind: telemetry.Gauge, Points: []telemetry.Point{{Value: 1.5}},
	}}), metrics))
	if _, err := collogs.NewLogsServiceClient(c).Export(t.Context(), logs); err != nil {
		t.Error(err)
	}
	if _, err := colmetrics.NewMetricsServiceClient(c).Export(t.Context(), metrics); err != nil {
		t.Error(err)
	}
	if len(k.records) != 1 || k.records[0].Body.Str() != "hello" || len(k.metrics) != 1 || k.metrics[0].Points[0].Value != 1.5 {
		t.Errorf("took %+v and %+v", k.records, k.metrics)
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func TestGRPCRefusesWithAStatusThatHelps(t *testing.T) {
	var k kept
	addr := serve(t, otlp.NewReceiver(k.take, &otlp.ReceiverOptions{Limits: otlp.Limits{Request: 1 << 20}}).RunGRPC)
	c := dial(t, addr)
	client := coltrace.NewTraceServiceClient(c)
	check := func(err error, code codes.Code, text string) {
		t.Helper()
		if s := status.Convert(err); s.Code() != code || !strings.Contains(s.Message(), text) {
			t.Errorf("refused with %v", err)
		}
	}
	_, err := grpc_health_v1.NewHealthClient(c).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	check(err, codes.Unimplemented, "TraceService")
	_, err = client.Export(t.Context(), traces(t, someSpans(4000)))
	check(err, codes.ResourceExhausted, "larger")
	big := dial(t, addr, grpc.WithDefaultCallOptions(grpc.UseCompressor("gzip")))
	q := traces(t, someSpans(1))
	q.ResourceSpans[0].SchemaUrl = strings.Repeat("a", 4<<20)
	_, err = coltrace.NewTraceServiceClient(big).Export(t.Context(), q)
	check(err, codes.ResourceExhausted, "larger")

	broken := otlp.AppendTraces(nil, someSpans(1))
	err = c.Invoke(t.Context(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export", raw(broken[:len(broken)-2]),
		new(raw), grpc.ForceCodec(rawCodec{}))
	check(err, codes.InvalidArgument, "truncated")

	k.refuse(&telemetry.Busy{After: 3 * time.Second})
	_, err = client.Export(t.Context(), q2(t))
	check(err, codes.Unavailable, "later")
	var retry *errdetails.RetryInfo
	for _, d := range status.Convert(err).Details() {
		retry, _ = d.(*errdetails.RetryInfo)
	}
	if got := retry.GetRetryDelay().AsDuration(); got != 3*time.Second {
		t.Errorf("asked to retry after %v", got)
	}
	k.refuse(errors.New("the disk /var/x is broken"))
	_, err = client.Export(t.Context(), q2(t))
	check(err, codes.Internal, "could not be kept")
}

func q2(t *testing.T) *coltrace.ExportTraceServiceRequest {
	t.Helper()
	return traces(t, someSpans(1))
}

// TestMessagesOverGRPCAreCountedBeforeTheyAreRead: they are read as a whole, however large they turn out to be.
func TestMessagesOverGRPCAreCountedBeforeTheyAreRead(t *testing.T) {
	const request = 1 << 20
	var k kept
	r := otlp.NewReceiver(k.take, &otlp.ReceiverOptions{Limits: otlp.Limits{Request: request, Decoded: request}, InFlight: 8 * request})
	c := dial(t, serve(t, r.RunGRPC))
	ctx, end := context.WithCancel(t.Context())
	defer end()
	for range 6 { // which say nothing yet
		if _, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, "/opentelemetry.proto.collector.trace.v1.TraceService/Export"); err != nil {
			t.Fatal(err)
		}
	}
	until(t, func() bool { return r.Stats().InFlight == 4*request })
	end()
	until(t, func() bool { return r.Stats().InFlight == 0 })
	if _, err := coltrace.NewTraceServiceClient(c).Export(t.Context(), q2(t)); err != nil || len(k.spans) != 1 {
		t.Errorf("took %d, %v", len(k.spans), err)
	}
}

// raw is a message as its bytes.
type raw []byte

type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) { return bytes.Clone(v.(raw)), nil }

func (rawCodec) Unmarshal(b []byte, v any) error {
	*v.(*raw) = bytes.Clone(b)
	return nil
}

func TestServersEndWhileAnExportHangs(t *testing.T) {
	entered := make(chan struct{}, 2)
	take := func(ctx context.Context, _ *telemetry.Batch) error {
		entered <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	r := otlp.NewReceiver(take, &otlp.ReceiverOptions{Grace: time.Millisecond})
	done := make(chan struct{}, 2)
	t.Run("servers", func(t *testing.T) {
		client := coltrace.NewTraceServiceClient(dial(t, serve(t, r.RunGRPC)))
		url := "http://" + serve(t, r.RunHTTP) + "/v1/traces"
		q := q2(t)
		go func() {
			client.Export(context.Background(), q) //nolint:errcheck // It is cut off.
			done <- struct{}{}
		}()
		go func() {
			hang(url, otlp.AppendTraces(nil, someSpans(1)))
			done <- struct{}{}
		}()
		<-entered
		<-entered
	})
	<-done
	<-done
	if s := r.Stats(); s.InFlight != 0 || s.Traces.Taken != 0 {
		t.Errorf("counted %+v", s)
	}
}

// hang posts and waits until the answer comes or the connection ends.
func hang(url string, body []byte) {
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	q, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	q.Header.Set("Content-Type", "application/x-protobuf")
	if resp, err := tr.RoundTrip(q); err == nil {
		resp.Body.Close()
	}
}
