package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // for the exports that are compressed
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

// way is how exports are sent.
type way string

// Ways of OTLP.
const (
	overGRPC     way = "gRPC"
	overGRPCGzip way = "gRPC, gzip"
	overHTTP     way = "HTTP"
	overHTTPGzip way = "HTTP, gzip"
)

// sender sends exports on one connection, one at a time, as an SDK does.
type sender interface {
	// send returns when the export was acknowledged. errBusy says that it should be sent again.
	send(ctx context.Context, e *export) error
	close()
}

var errBusy = errors.New("busy")

// dial makes a sender to where OTLP is listened for: a host and port.
func dial(w way, grpcAddr, httpAddr string) (sender, error) {
	switch w {
	case overHTTP, overHTTPGzip:
		return &httpSender{addr: httpAddr, gzip: w == overHTTPGzip, client: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1, DisableCompression: true}}}, nil
	case overGRPC, overGRPCGzip:
	}
	options := []grpc.CallOption{grpc.ForceCodecV2(encoded{})}
	if w == overGRPCGzip {
		options = append(options, grpc.UseCompressor("gzip"))
	}
	conn, err := grpc.NewClient("passthrough:///"+grpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(options...))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &grpcSender{conn}, nil
}

// encoded hands over what was encoded before.
type encoded struct{}

func (encoded) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (encoded) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func (encoded) Name() string { return "proto" }

type grpcSender struct{ conn *grpc.ClientConn }

func (s *grpcSender) close() { _ = s.conn.Close() } // nothing is in flight

func (s *grpcSender) send(ctx context.Context, e *export) error {
	method := map[otlp.Signal]string{
		otlp.Traces:  "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
		otlp.Logs:    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
		otlp.Metrics: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
	}[e.signal]
	var answer []byte
	err := s.conn.Invoke(ctx, method, e.body, &answer)
	if status.Code(err) == codes.Unavailable || status.Code(err) == codes.ResourceExhausted {
		return fmt.Errorf("%w: %w", errBusy, err)
	}
	if err != nil {
		return fmt.Errorf("export over gRPC: %w", err)
	}
	if inPart(answer) {
		return fmt.Errorf("an export was taken in part only: %q", answer)
	}
	return nil
}

// inPart tells whether an answer says more than that all was taken, which it may say by an empty message.
func inPart(answer []byte) bool { return len(answer) > 0 && string(answer) != "\n\x00" }

type httpSender struct {
	client *http.Client
	addr   string
	gzip   bool // bodies are compressed already
}

func (s *httpSender) close() { s.client.CloseIdleConnections() }

func (s *httpSender) send(ctx context.Context, e *export) error {
	path := map[otlp.Signal]string{otlp.Traces: "/v1/traces", otlp.Logs: "/v1/logs", otlp.Metrics: "/v1/metrics"}[e.signal]
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.addr+path, bytes.NewReader(e.body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	if s.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	res, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("export over HTTP: %w", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return fmt.Errorf("export over HTTP: %w", err)
	case res.StatusCode == http.StatusServiceUnavailable || res.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("%w: %s", errBusy, res.Status)
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("export over HTTP: %s: %.200s", res.Status, answer)
	case inPart(answer):
		return fmt.Errorf("an export was taken in part only: %q", answer)
	}
	return nil
}

// compressed returns exports for a way that wants them so. Over gRPC that is done on sending.
func compressed(w way, list []export) ([]export, error) {
	if w != overHTTPGzip {
		return list, nil
	}
	out := make([]export, len(list))
	for i, e := range list {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err := z.Write(e.body)
		if err := errors.Join(err, z.Close()); err != nil {
			return nil, fmt.Errorf("compress export: %w", err)
		}
		out[i] = export{e.signal, b.Bytes(), e.items}
	}
	return out, nil
}

// sent is what was sent and acknowledged.
type sent struct {
	items, exports int
	bytes          int64 // of the exports as encoded
	busy           int   // exports that had to be sent again
	took           time.Duration
}

const (
	again    = 50 * time.Millisecond
	attempts = 1200 // of one export, when the other side is busy: a minute
)

// pump sends what next gives on all connections until that ends.
func pump(ctx context.Context, senders []sender, next func() (export, bool)) (sent, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	feed := make(chan export, 2*len(senders))
	var items, exports, busy atomic.Int64
	var octets atomic.Int64
	began := time.Now()
	var wait sync.WaitGroup
	for _, s := range senders {
		wait.Go(func() {
			for e := range feed {
				n, err := deliver(ctx, s, &e)
				busy.Add(int64(n))
				if err != nil {
					cancel(err)
					return
				}
				items.Add(int64(e.items))
				exports.Add(1)
				octets.Add(int64(len(e.body)))
			}
		})
	}
	for {
		e, ok := next()
		if !ok {
			break
		}
		select {
		case feed <- e:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(feed)
	wait.Wait()
	return sent{int(items.Load()), int(exports.Load()), octets.Load(), int(busy.Load()), time.Since(began)}, context.Cause(ctx)
}

// deliver sends an export until it was acknowledged, and returns how often that was refused.
func deliver(ctx context.Context, s sender, e *export) (int, error) {
	for n := 0; ; n++ {
		err := s.send(ctx, e)
		if !errors.Is(err, errBusy) || n == attempts {
			return n, err
		}
		if err := pause(ctx, again); err != nil {
			return n, err
		}
	}
}

// listed gives exports out of a list.
func listed(list []export) func() (export, bool) {
	return func() (e export, ok bool) {
		if len(list) == 0 {
			return e, false
		}
		e, list = list[0], list[1:]
		return e, true
	}
}

// merged gives exports of streams, each of which runs by itself until ctx ends.
func merged(ctx context.Context, streams ...*stream) func() (export, bool) {
	out := make(chan export, 4*len(streams))
	var wait sync.WaitGroup
	for _, s := range streams {
		wait.Go(func() {
			for e, ok := s.next(); ok; e, ok = s.next() {
				select {
				case out <- e:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	go func() {
		wait.Wait()
		close(out)
	}()
	return func() (export, bool) {
		e, ok := <-out
		return e, ok
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
