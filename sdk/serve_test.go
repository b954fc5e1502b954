package sdk_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/sdk"
)

// pipes is a listener in memory, so that a bubble's clock stands still while a request is on its way.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// running is a service in a bubble.
type running struct {
	client *http.Client
	log    *bytes.Buffer
	stop   context.CancelFunc
	ended  chan error
}

func serve(t *testing.T, h http.Handler, opts sdk.Options) *running {
	t.Helper()
	p := newPipes()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{log: &bytes.Buffer{}, stop: cancel, ended: make(chan error, 1)}
	env := map[string]string{"ATOLL_SERVICE": "orders", "ATOLL_REPLICA": "1"}
	opts.Listener = p
	opts.Logger = sdk.NewLogger(r.log, func(k string) string { return env[k] })
	transport := &http.Transport{DialContext: p.dial, DisableKeepAlives: true}
	r.client = &http.Client{Transport: transport}
	go func() { r.ended <- sdk.Serve(ctx, h, &opts) }()
	return r
}

func (r *running) get(t *testing.T, path string, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://orders"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

func (r *running) end(t *testing.T) error {
	t.Helper()
	r.stop()
	return <-r.ended
}

func TestARequestInFlightFinishesWhenTheServiceIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			<-time.After(5 * time.Second)
			_, _ = io.WriteString(w, "whole")
		})
		r := serve(t, h, sdk.Options{Grace: 10 * time.Second})
		time.AfterFunc(time.Second, r.stop)
		if code, _, body := r.get(t, "/slow"); code != 200 || body != "whole" {
			t.Errorf("got %d %q", code, body)
		}
		if err := r.end(t); err != nil {
			t.Errorf("a complete drain is no error: %v", err)
		}
	})
}

func TestTheDrainIsBoundedAndSaysWhatItCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })
		r := serve(t, h, sdk.Options{Grace: 3 * time.Second})
		cut := make(chan error, 1)
		go func() {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://orders/", nil)
			resp, err := r.client.Do(req)
			if err == nil {
				resp.Body.Close()
			}
			cut <- err
		}()
		synctest.Wait()
		began := time.Now()
		err := r.end(t)
		if err == nil || !strings.Contains(err.Error(), "1 requests were cut off after 3s") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("drain took %s, grace is 3s", took)
		}
		close(release)
		if <-cut == nil {
			t.Error("a request that was cut off looks like an answered one")
		}
	})
}

func TestAnEndlessStreamLearnsThatTheServiceStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.WriteString(w, "data: 1\n\n")
			_ = http.NewResponseController(w).Flush()
			<-sdk.Stopping(req.Context())
		})
		r := serve(t, h, sdk.Options{})
		time.AfterFunc(time.Minute, r.stop)
		began := time.Now()
		if _, _, body := r.get(t, "/events"); body != "data: 1\n\n" {
			t.Errorf("got %q", body)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("the stream ended after %s", took)
		}
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

func TestHealthSaysNotReadyWithoutTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken error
		r := serve(t, http.NotFoundHandler(), sdk.Options{Ready: func(context.Context) error { return broken }})
		if code, _, body := r.get(t, "/healthz"); code != 200 || body != "ok\n" {
			t.Errorf("got %d %q", code, body)
		}
		broken = errors.New("disk /secret is full")
		code, _, body := r.get(t, "/healthz")
		if code != 503 || strings.Contains(body, "secret") {
			t.Errorf("got %d %q", code, body)
		}
		if !strings.Contains(r.log.String(), "disk /secret is full") {
			t.Error("the log does not have the reason")
		}
		_ = r.end(t)
	})
}

func TestAPanicBecomesAProblemAndALogRecordWithTraceAndStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("inner secret") }), sdk.Options{})
		const id = "0af7651916cd43dd8448eb211c80319c"
		code, header, body := r.get(t, "/boom", "Traceparent", "00-"+id+"-b7ad6b7169203331-01")
		_ = r.end(t)
		var p sdk.Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Fatal(err)
		}
		if code != 500 || header.Get("Content-Type") != fault.ProblemType || p.TraceID != id || p.Instance != "/boom" {
			t.Errorf("got %d %s %+v", code, header.Get("Content-Type"), p)
		}
		if strings.Contains(body, "secret") {
			t.Errorf("the caller sees what the panic said: %s", body)
		}
		record := logRecord(t, r.log, "handler panicked")
		if record["panic"] != "inner secret" || record["trace_id"] != id || record["service"] != "orders" ||
			!strings.Contains(record["stack"].(string), "serve_test.go") {
			t.Errorf("got %v", record)
		}
	})
}

func TestADeadlineOfTheCallerEndsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			<-req.Context().Done()
			_, _ = io.WriteString(w, context.Cause(req.Context()).Error())
		})
		r := serve(t, h, sdk.Options{})
		began := time.Now()
		_, _, body := r.get(t, "/", "Atoll-Deadline", "250")
		if took := time.Since(began); took != 250*time.Millisecond || !strings.Contains(body, "deadline") {
			t.Errorf("after %s: %s", took, body)
		}
		_ = r.end(t)
	})
}

func TestAnErrorAfterTheFirstByteCutsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, sdk.Handler(func(w http.ResponseWriter, _ *http.Request) error {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			return errors.New("lost the rest")
		}), sdk.Options{})
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://orders/", nil)
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("half an answer was taken for a whole one")
		}
		_ = r.end(t)
	})
}

func TestWithoutAPortServeSaysWhatToDo(t *testing.T) {
	err := sdk.Serve(t.Context(), http.NotFoundHandler(), &sdk.Options{
		Logger: slog.New(slog.DiscardHandler), Getenv: func(string) string { return "" },
	})
	if fault.CodeOf(err) != sdk.CodeNoPort {
		t.Errorf("got %v", err)
	}
}

func logRecord(t *testing.T, log *bytes.Buffer, message string) map[string]any {
	t.Helper()
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var record map[string]any
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			t.Fatalf("the log has a line that is not JSON: %s", lines.Text())
		}
		if record["msg"] == message {
			return record
		}
	}
	t.Fatalf("no record %q", message)
	return nil
}

func TestAHandlerCanFlushAndHijack(t *testing.T) {
	srv := httptest.NewServer(sdk.Handler(func(w http.ResponseWriter, r *http.Request) error {
		if r.URL.Path == "/flush" {
			w.(http.Flusher).Flush()
			<-r.Context().Done() // the client sees the head before the end
			return nil
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		_, err = conn.Write([]byte("HTTP/1.1 204 No Content\r\nX-Raw: yes\r\n\r\n"))
		return err
	}))
	t.Cleanup(srv.Close)
	for path, status := range map[string]int{"/flush": 200, "/hijack": 204} {
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if resp.StatusCode != status {
			t.Errorf("%s: got %s", path, resp.Status)
		}
		cancel()
		_ = resp.Body.Close()
	}
}
