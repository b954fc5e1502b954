package otlp_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

// someSpans makes n spans of about 450 bytes with 12 attributes, of 4 services.
func someSpans(n int) []telemetry.Span {
	spans := make([]telemetry.Span, n)
	resources := make([]*telemetry.Resource, 4)
	for i := range resources {
		resources[i] = &telemetry.Resource{
			Service: fmt.Sprintf("service-%d", i), Replica: fmt.Sprintf("service-%d-1", i),
			Attrs: []telemetry.Attr{{Key: "host.name", Value: telemetry.String("node")}},
		}
	}
	scope := &telemetry.Scope{Name: "example.com/http", Version: "1.2.3"}
	for i := range spans {
		s := &spans[i]
		binary.BigEndian.PutUint64(s.TraceID[:], uint64(i/8+1)*0x9e3779b97f4a7c15)
		binary.BigEndian.PutUint64(s.SpanID[:], uint64(i+1)*0x9e3779b97f4a7c15)
		s.Resource, s.Scope = resources[i%4], scope
		s.Name, s.Kind = "GET /api/orders/{id}", telemetry.KindServer
		s.Start, s.Duration = 1_700_000_000_000_000_000+int64(i)*1000, int64(i%1000)*1000
		s.Attrs = []telemetry.Attr{
			{Key: "http.request.method", Value: telemetry.String("GET")},
			{Key: "http.route", Value: telemetry.String("/api/orders/{id}")},
			{Key: "url.path", Value: telemetry.String(fmt.Sprintf("/api/orders/%d", i))},
			{Key: "url.scheme", Value: telemetry.String("https")},
			{Key: "server.address", Value: telemetry.String("orders.internal")},
			{Key: "server.port", Value: telemetry.Int(8443)},
			{Key: "http.response.status_code", Value: telemetry.Int(200)},
			{Key: "network.protocol.version", Value: telemetry.String("1.1")},
			{Key: "user_agent.original", Value: telemetry.String("curl/8.5.0")},
			{Key: "client.address", Value: telemetry.String("10.0.0.1")},
			{Key: "cached", Value: telemetry.Bool(i%2 == 0)},
			{Key: "price", Value: telemetry.Float(12.5)},
		}
	}
	return spans
}

func BenchmarkDecode(b *testing.B) {
	const n = 512
	request := otlp.AppendTraces(nil, someSpans(n))
	d := otlp.NewDecoder(otlp.Limits{}, nil)
	b.ReportAllocs()
	b.SetBytes(int64(len(request)))
	for b.Loop() {
		if _, _, err := d.Decode(otlp.Traces, request); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/span")
	b.ReportMetric(float64(len(request))/n, "B/span")
}

func BenchmarkDecodeJSON(b *testing.B) {
	const n = 512
	var e otlp.JSONEncoder
	request, err := e.Append(nil, otlp.Traces, otlp.AppendTraces(nil, someSpans(n)))
	if err != nil {
		b.Fatal(err)
	}
	d := otlp.NewDecoder(otlp.Limits{}, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := d.DecodeJSON(otlp.Traces, request); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/span")
}

func BenchmarkEncode(b *testing.B) {
	spans := someSpans(512)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = otlp.AppendTraces(buf[:0], spans)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/512, "ns/span")
}

// BenchmarkReceive measures a request of 512 spans from a client in the same process, whose share is small: it sends
// bytes that were encoded before.
func BenchmarkReceive(b *testing.B) {
	const n = 512
	request := otlp.AppendTraces(nil, someSpans(n))
	take := func(context.Context, *telemetry.Batch) error { return nil }
	r := otlp.NewReceiver(take, nil)
	run := func(name string, run func(context.Context, net.Listener) error, export func(b *testing.B, addr string) func()) {
		b.Run(name, func(b *testing.B) {
			l, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- run(ctx, l) }()
			call := export(b, l.Addr().String())
			before := cpu(b)
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
			b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N)/n, "cpu-ns/span")
			stop()
			if err := <-ended; err != nil {
				b.Fatal(err)
			}
		})
	}
	run("grpc", r.RunGRPC, func(b *testing.B, addr string) func() {
		b.Helper()
		c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { must(b, c.Close()) })
		return func() {
			var out raw
			err := c.Invoke(b.Context(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export", raw(request), &out,
				grpc.ForceCodec(rawCodec{}))
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	run("http", r.RunHTTP, func(b *testing.B, addr string) func() {
		b.Helper()
		tr := &http.Transport{}
		b.Cleanup(tr.CloseIdleConnections)
		return func() {
			q, _ := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://"+addr+"/v1/traces", bytes.NewReader(request))
			q.Header.Set("Content-Type", "application/x-protobuf")
			resp, err := tr.RoundTrip(q)
			if err != nil || resp.StatusCode != http.StatusOK {
				b.Fatal(resp, err)
			}
			resp.Body.Close()
		}
	})
}

// cpu is the time of processors that this process took.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
