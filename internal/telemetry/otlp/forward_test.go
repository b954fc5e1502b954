package otlp_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

// backend answers requests of a Forwarder without a network.
type backend struct {
	mu     sync.Mutex
	answer func(n int, q *http.Request) *http.Response // to the n-th request
	times  []time.Time
	names  []string // of the spans that it took
}

func (b *backend) RoundTrip(q *http.Request) (*http.Response, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.times = append(b.times, time.Now())
	resp := answerOf(200, nil)
	if b.answer != nil {
		resp = b.answer(len(b.times)-1, q)
	}
	if resp == nil {
		return nil, io.ErrUnexpectedEOF
	}
	if resp.StatusCode == http.StatusOK {
		z, err := gzip.NewReader(q.Body)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(z)
		if err != nil {
			return nil, err
		}
		got, _, err := otlp.NewDecoder(otlp.Limits{}, nil).Decode(otlp.Traces, body)
		if err != nil {
			return nil, err
		}
		for i := range got.Spans {
			b.names = append(b.names, strings.Clone(got.Spans[i].Name))
		}
	}
	return resp, nil
}

func answerOf(code int, body []byte, headers ...string) *http.Response {
	h := http.Header{}
	for _, line := range headers {
		k, v, _ := strings.Cut(line, ": ")
		h.Set(k, v)
	}
	return &http.Response{
		StatusCode: code, Status: fmt.Sprint(code, " ", http.StatusText(code)), Header: h,
		Body: io.NopCloser(bytes.NewReader(body)),
	}
}

func named(name string) *telemetry.Batch {
	spans := someSpans(1)
	spans[0].Name = name
	return &telemetry.Batch{Spans: spans}
}

func open(t *testing.T, dir string, b *backend, opts otlp.ForwarderOptions) *otlp.Forwarder {
	t.Helper()
	opts.Transport = b
	f, err := otlp.OpenForwarder(dir, "http://backend.example:4318", &opts)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// run runs a Forwarder in a bubble until it has nothing left to do but to wait for time to pass, for d.
func run(t *testing.T, f *otlp.Forwarder, d time.Duration) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), d)
	defer stop()
	if err := f.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func closeForwarder(t *testing.T, f *otlp.Forwarder) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestForwarderTriesAgainAsTheBackendAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(n int, _ *http.Request) *http.Response {
			switch n {
			case 0:
				return nil // The connection broke.
			case 1:
				return answerOf(503, nil, "Retry-After: 30")
			case 2:
				return answerOf(429, nil)
			}
			return answerOf(200, nil)
		}}
		f := open(t, t.TempDir(), b, otlp.ForwarderOptions{})
		defer closeForwarder(t, f)
		for _, name := range []string{"a", "b"} {
			must(t, f.Enqueue(named(name)))
		}
		run(t, f, time.Minute)
		if !reflect.DeepEqual(b.names, []string{"a", "b"}) {
			t.Errorf("sent %v", b.names)
		}
		if first := b.times[1].Sub(b.times[0]); first < time.Second/2 || first > time.Second {
			t.Errorf("tried again after %v", first)
		}
		if asked := b.times[2].Sub(b.times[1]); asked != 30*time.Second {
			t.Errorf("asked for 30 s, tried again after %v", asked)
		}
		if s := f.Stats(); s.Sent != 2 || s.SentItems != 2 || s.Retries != 3 || s.Queued != 0 || s.LastError != "" {
			t.Errorf("counted %+v", s)
		}
	})
}

func TestForwarderDropsWhatIsRefusedForGoodAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(n int, q *http.Request) *http.Response {
			if q.Header.Get("X-Key") != "secret" || q.URL.Path != "/v1/traces" {
				return answerOf(404, nil)
			}
			switch n {
			case 0:
				return answerOf(400, []byte("\x12\x03bad"))
			case 1:
				return answerOf(302, nil, "Location: http://elsewhere.example/")
			}
			return answerOf(200, []byte{1<<3 | 2, 2, 1 << 3, 1}) // One is rejected.
		}}
		f := open(t, t.TempDir(), b, otlp.ForwarderOptions{Headers: map[string]string{"X-Key": "secret"}})
		defer closeForwarder(t, f)
		for _, name := range []string{"a", "b", "c"} {
			must(t, f.Enqueue(named(name)))
		}
		run(t, f, time.Minute)
		if !reflect.DeepEqual(b.names, []string{"c"}) || len(b.times) != 3 {
			t.Errorf("sent %v in %d requests", b.names, len(b.times))
		}
		if s := f.Stats(); s.Refused != 2 || s.Sent != 1 || s.Rejected != 1 || s.SentItems != 0 || s.Retries != 0 {
			t.Errorf("counted %+v", s)
		}
	})
}

func TestForwarderDropsTheOldestWhenItsQueueIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		f := open(t, t.TempDir(), b, otlp.ForwarderOptions{MaxBytes: 8 << 10, Segment: 2 << 10})
		defer closeForwarder(t, f)
		for i := range 50 {
			must(t, f.Enqueue(named(fmt.Sprint(i))))
		}
		s := f.Stats()
		if s.QueuedBytes > 8<<10 || s.Full == 0 || s.Full+s.QueuedItems != 50 {
			t.Errorf("counted %+v", s)
		}
		run(t, f, time.Minute)
		if len(b.names) != int(s.Queued) || b.names[len(b.names)-1] != "49" {
			t.Errorf("sent %v", b.names)
		}
		if s := f.Stats(); s.Queued != 0 || s.QueuedBytes > 2<<10 {
			t.Errorf("counted %+v in the end", s)
		}
	})
}

func TestForwarderGoesOnWhereItWasAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := &backend{answer: func(n int, _ *http.Request) *http.Response {
			if n >= 5 {
				return answerOf(503, nil)
			}
			return answerOf(200, nil)
		}}
		f := open(t, dir, b, otlp.ForwarderOptions{MaxBytes: 64 << 10, Segment: 2 << 10})
		for i := range 10 {
			must(t, f.Enqueue(named(fmt.Sprint(i))))
		}
		run(t, f, 10*time.Second)
		closeForwarder(t, f)
		b.answer = nil
		f = open(t, dir, b, otlp.ForwarderOptions{MaxBytes: 64 << 10, Segment: 2 << 10})
		defer closeForwarder(t, f)
		if s := f.Stats(); s.Queued != 5 || s.QueuedItems != 5 {
			t.Errorf("counted %+v after the restart", s)
		}
		must(t, f.Enqueue(named("10")))
		run(t, f, time.Minute)
		if got := strings.Join(b.names, " "); got != "0 1 2 3 4 5 6 7 8 9 10" {
			t.Errorf("sent %s", got)
		}
	})
}

// A process that is killed leaves any prefix of what it wrote last, and a position that is behind.
func TestForwarderSurvivesATornSegment(t *testing.T) {
	master := t.TempDir()
	f := open(t, master, &backend{}, otlp.ForwarderOptions{})
	for _, name := range []string{"a", "b", "c"} {
		must(t, f.Enqueue(named(name)))
	}
	closeForwarder(t, f)
	files, err := filepath.Glob(filepath.Join(master, "*.seg"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	whole, err := os.ReadFile(files[0])
	must(t, err)
	each := len(whole) / 3
	for cut := 0; cut <= len(whole); cut += 37 {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.WriteFile(filepath.Join(dir, filepath.Base(files[0])), whole[:cut], 0o600))
			b := &backend{}
			f := open(t, dir, b, otlp.ForwarderOptions{})
			defer closeForwarder(t, f)
			must(t, f.Enqueue(named("d")))
			run(t, f, time.Minute)
			want := "abc"[:cut/each] + "d"
			if got := strings.Join(b.names, ""); got != want {
				t.Errorf("cut at %d: sent %q, want %q", cut, got, want)
			}
			if s := f.Stats(); (s.Damaged != 0) != (cut%each != 0) {
				t.Errorf("cut at %d: counted %+v", cut, s)
			}
		})
	}
}

// TestATornTailLeavesThePositionWhereItIs: the position is one of the first segment, and the tail is the last.
func TestATornTailLeavesThePositionWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		opts := otlp.ForwarderOptions{MaxBytes: 64 << 10, Segment: 1300}
		from := &backend{answer: func(n int, _ *http.Request) *http.Response {
			if n == 0 {
				return answerOf(200, nil)
			}
			return answerOf(503, nil, "Retry-After: 300")
		}}
		f := open(t, dir, from, opts)
		for _, name := range []string{strings.Repeat("a", 150), "b", "c", "d"} {
			must(t, f.Enqueue(named(name)))
		}
		run(t, f, time.Second)
		closeForwarder(t, f)
		files, err := filepath.Glob(filepath.Join(dir, "*.seg"))
		if err != nil || len(files) != 2 || len(from.names) != 1 {
			t.Fatal(files, from.names, err)
		}
		info, err := os.Stat(files[1])
		must(t, err)
		must(t, os.Truncate(files[1], info.Size()-1))
		passesOver(t, dir, opts, "bc")
	})
}

// passesOver opens a queue of which one entry is damaged: what is left of it is sent, and the one is counted.
func passesOver(t *testing.T, dir string, opts otlp.ForwarderOptions, want string) {
	t.Helper()
	to := &backend{}
	f := open(t, dir, to, opts)
	defer closeForwarder(t, f)
	run(t, f, time.Minute)
	if got := strings.Join(to.names, ""); got != want {
		t.Errorf("sent %q", got)
	}
	if s := f.Stats(); s.Damaged != 1 || s.Queued != 0 {
		t.Errorf("counted %+v", s)
	}
}

func TestForwarderPassesOverADamagedSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		opts := otlp.ForwarderOptions{MaxBytes: 64 << 10, Segment: 1300}
		f := open(t, dir, &backend{}, opts)
		for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
			must(t, f.Enqueue(named(name)))
		}
		closeForwarder(t, f)
		files, err := filepath.Glob(filepath.Join(dir, "*.seg"))
		if err != nil || len(files) < 3 {
			t.Fatal(files, err)
		}
		b, err := os.ReadFile(files[0])
		must(t, err)
		b[len(b)/2+40] ^= 1
		must(t, os.WriteFile(files[0], b, 0o600))
		passesOver(t, dir, opts, "acdef")
	})
}

func TestForwarderSendsAllSignalsOverHTTPAndGRPC(t *testing.T) {
	for _, scheme := range []string{"http", "grpc"} {
		t.Run(scheme, func(t *testing.T) {
			var k kept
			r := otlp.NewReceiver(k.take, nil)
			serving := r.RunHTTP
			if scheme == "grpc" {
				serving = r.RunGRPC
			}
			f, err := otlp.OpenForwarder(t.TempDir(), scheme+"://"+serve(t, serving), nil)
			must(t, err)
			defer closeForwarder(t, f)
			rs := &telemetry.Resource{Service: "a"}
			batch := telemetry.Batch{
				Spans:   someSpans(5000),
				Records: []telemetry.Record{{Resource: rs, Time: 1, Body: telemetry.String("hello")}},
				Metrics: []telemetry.Metric{{Resource: rs, Name: "m", Kind: telemetry.Gauge, Points: []telemetry.Point{{Time: 1, Value: 2}}}},
			}
			must(t, f.Enqueue(&batch))
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- f.Run(ctx) }()
			until(t, func() bool { return f.Stats().Queued == 0 })
			stop()
			must(t, <-ended)
			if len(k.spans) != 5000 || len(k.records) != 1 || len(k.metrics) != 1 {
				t.Errorf("took %d spans, %d records, %d metrics", len(k.spans), len(k.records), len(k.metrics))
			}
			if s := f.Stats(); s.SentItems != 5002 || s.Sent != 5 {
				t.Errorf("counted %+v", s)
			}
		})
	}
}

// wordy takes spans and has much to say of it.
type wordy struct {
	coltrace.UnimplementedTraceServiceServer
}

func (wordy) Export(context.Context, *coltrace.ExportTraceServiceRequest) (*coltrace.ExportTraceServiceResponse, error) {
	return &coltrace.ExportTraceServiceResponse{PartialSuccess: &coltrace.ExportTracePartialSuccess{
		RejectedSpans: 7, ErrorMessage: strings.Repeat("no room. ", 10_000),
	}}, nil
}

// TestALongAnswerOverGRPCIsRead: it comes in several frames.
func TestALongAnswerOverGRPCIsRead(t *testing.T) {
	addr := serve(t, func(ctx context.Context, l net.Listener) error {
		srv := grpc.NewServer()
		coltrace.RegisterTraceServiceServer(srv, wordy{})
		defer context.AfterFunc(ctx, srv.Stop)()
		return srv.Serve(l)
	})
	f, err := otlp.OpenForwarder(t.TempDir(), "grpc://"+addr, nil)
	must(t, err)
	defer closeForwarder(t, f)
	must(t, f.Enqueue(named("a")))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	until(t, func() bool { return f.Stats().Queued == 0 })
	stop()
	must(t, <-ended)
	if s := f.Stats(); s.Sent != 1 || s.Rejected != 7 {
		t.Errorf("counted %+v", s)
	}
}

// until waits for something that other goroutines bring about.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("the test ended before")
		}
	}
}
