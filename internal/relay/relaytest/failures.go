//nolint:thelper,bodyclose // these are tests, not helpers; bodies end with their connections
package relaytest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/relay"
)

func failureTests() map[string]func(*testing.T, relay.Driver) {
	return map[string]func(*testing.T, relay.Driver){
		"a response that breaks off is not taken for whole":    testDiesAmidBody,
		"a replica that refuses connections costs no request":  testRefused,
		"a GET goes on elsewhere when its replica dies":        testResetGET,
		"a warm pool makes no more tries than were asked for":  testWarmPool,
		"a POST that may have arrived is not sent twice":       testResetPOST,
		"a PUT is sent again with its whole body":              testReplayBody,
		"a request waits for a replica to become ready":        testWaitsForReady,
		"waiting in vain ends with 503 and Retry-After":        testWaitsInVain,
		"the queue is bounded":                                 testQueueBounded,
		"a response that does not begin in time is given up":   testTimeout,
		"a try that does not begin in time goes on elsewhere":  testTryTimeout,
		"swapping endpoints under load fails no request":       testSwapUnderLoad,
		"killing a replica under load fails no GET":            testKillUnderLoad,
		"a restart of the only replica fails no request":       testRestartOfTheOnly,
		"a retry does not go to the replica that answered 503": testUnavailable,
	}
}

func refusing(id string) relay.Endpoint {
	return relay.Endpoint{ID: id, Service: service, Dial: func(context.Context) (net.Conn, error) {
		return nil, errors.New("connection refused")
	}}
}

// dying reads the head of each request and drops the connection.
func dying(t *testing.T, id string, hits *atomic.Int64) relay.Endpoint {
	t.Helper()
	return serveRaw(t, id, func(_ net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err == nil {
			hits.Add(1)
		}
	})
}

func testDiesAmidBody(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveRaw(t, "a", func(c net.Conn, r *bufio.Reader) {
		head, _ := readHead(r)
		if strings.HasPrefix(head, "GET /chunked") {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
		} else {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		}
	})})
	for _, h2 := range []bool{false, true} {
		for _, path := range []string{"/chunked", "/length"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+rig.Addr+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := client(t, h2).Do(req)
			if err != nil {
				continue // broken before the head came is broken too
			}
			if text, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("h2 %v %s: %q passes for a whole body", h2, path, text)
			}
			res.Body.Close()
		}
	}
}

func testRefused(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{refusing("dead"), echo(t, "alive")})
	c := client(t, false)
	for range 100 {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if res, text := rig.do(t, c, method, "/", strings.NewReader("body")); res.StatusCode != 200 || text != "body" {
				t.Fatalf("%s: %d %s", method, res.StatusCode, text)
			}
		}
	}
}

func testResetGET(t *testing.T, d relay.Driver) {
	var hits atomic.Int64
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{dying(t, "dying", &hits), echo(t, "alive")})
	c := client(t, false)
	for i := range 60 {
		if res, text := rig.do(t, c, http.MethodGet, "/", nil); res.StatusCode != 200 {
			t.Fatalf("request %d: %d %s", i, res.StatusCode, text)
		}
	}
	if n := hits.Load(); n == 0 || n > 20 {
		t.Errorf("the dying replica was asked %d times; it should be left out after a few", n)
	}
}

func testWarmPool(t *testing.T, d relay.Driver) {
	const warm = 20
	var hits atomic.Int64
	begun, answer := make(chan struct{}, warm), make(chan struct{})
	rig := NewRig(t, d, Settings{Decide: func(r *relay.Request, d *relay.Decision) { d.Tries = len(r.Query) }})
	rig.Up.Set(service, []relay.Endpoint{serveRaw(t, "a", func(c net.Conn, r *bufio.Reader) {
		for {
			head, err := readHead(r)
			switch {
			case err != nil:
				return
			case strings.Contains(head, " /poison"):
				hits.Add(1)
				return
			}
			begun <- struct{}{}
			<-answer
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})})
	var clients []*bufio.Reader
	for range warm {
		_, r := rig.send(t, "GET /warm?1 HTTP/1.1\r\nHost: x\r\n\r\n")
		clients = append(clients, r)
		<-begun
	}
	close(answer)
	for _, r := range clients {
		if head, err := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 200") {
			t.Fatalf("head %q, error %v", head, err)
		}
	}
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "TRACE"} {
		for tries := range 3 {
			hits.Store(0)
			_, r := rig.send(t, method+" /poison?"+strings.Repeat("x", tries+1)+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
			if head, err := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 502") {
				t.Fatalf("%s: head %q, error %v", method, head, err)
			}
			if n := hits.Load(); n != int64(tries+1) {
				t.Errorf("%s with %d tries reached the replica %d times", method, tries+1, n)
			}
		}
	}
}

func testResetPOST(t *testing.T, d relay.Driver) {
	var hits atomic.Int64
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{dying(t, "a", &hits), dying(t, "b", &hits)})
	_, r := rig.send(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
	wantProblem(t, r, 502, fault.CodeServiceFailed)
	if hits.Load() != 1 {
		t.Errorf("sent %d times", hits.Load())
	}
	_, r = rig.send(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nIdempotency-Key: k\r\n\r\nhi")
	wantProblem(t, r, 502, fault.CodeServiceFailed)
	if hits.Load() != 4 {
		t.Errorf("with a key it was sent %d times, want 3", hits.Load()-1)
	}
}

func testReplayBody(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	var hits atomic.Int64
	half := serveRaw(t, "half", func(_ net.Conn, r *bufio.Reader) { // dies when it has read half of the body
		if _, err := readHead(r); err == nil {
			hits.Add(1)
			_, _ = io.CopyN(io.Discard, r, 20_000)
		}
	})
	body := strings.Repeat("0123456789", 4000)
	for range 8 {
		rig.Up.Set(service, []relay.Endpoint{half, echo(t, "alive")})
		if res, text := rig.do(t, client(t, false), http.MethodPut, "/", strings.NewReader(body)); res.StatusCode != 200 || text != body {
			t.Fatalf("status %d, %d bytes", res.StatusCode, len(text))
		}
		rig.Up.Set(service, nil)
	}
	if hits.Load() == 0 {
		t.Skip("the dying replica was never drawn") // 1 in 256
	}
}

func testWaitsForReady(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	got := make(chan string, 2)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		go func() {
			req, err := http.NewRequestWithContext(t.Context(), method, "http://"+rig.Addr+"/", strings.NewReader("body"))
			if err != nil {
				got <- err.Error()
				return
			}
			res, err := client(t, false).Do(req)
			if err != nil {
				got <- err.Error()
				return
			}
			defer res.Body.Close()
			text, _ := io.ReadAll(res.Body)
			got <- string(text)
		}()
	}
	rig.Up.Set(service, []relay.Endpoint{echo(t, "a")})
	for range 2 {
		if text := <-got; text != "body" {
			t.Errorf("got %q", text)
		}
	}
}

func testWaitsInVain(t *testing.T, d relay.Driver) {
	for name, s := range map[string]Settings{
		"by itself":            {Options: relay.Options{WaitReady: 250 * time.Millisecond}},
		"by the request's own": {Decide: func(_ *relay.Request, d *relay.Decision) { d.Timeout = 250 * time.Millisecond }},
	} {
		for _, endpoints := range [][]relay.Endpoint{nil, {refusing("a")}} {
			rig := NewRig(t, d, s)
			rig.Up.Set(service, endpoints)
			_, r := rig.send(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			if res, _ := wantProblem(t, r, 503, fault.CodeServiceNotReady); res.Header.Get("Retry-After") == "" {
				t.Errorf("%s: no Retry-After", name)
			}
		}
	}
}

func testQueueBounded(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Options: relay.Options{MaxWaiting: 2, WaitReady: time.Hour}})
	var answered sync.WaitGroup
	busy := make(chan *bufio.Reader, 3)
	for range 3 {
		_, r := rig.send(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		answered.Go(func() {
			if _, err := r.Peek(1); err == nil {
				busy <- r
			}
		})
	}
	wantProblem(t, <-busy, 503, fault.CodeServiceBusy)
	rig.Up.Set(service, []relay.Endpoint{echo(t, "a")})
	answered.Wait()
	for range 2 {
		if head, err := readHead(<-busy); !strings.HasPrefix(head, "HTTP/1.1 200") {
			t.Errorf("head %q, error %v", head, err)
		}
	}
}

func hanging(t *testing.T, id string) relay.Endpoint {
	t.Helper()
	return serveHTTP(t, id, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
}

func testTimeout(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Decide: func(_ *relay.Request, d *relay.Decision) { d.Timeout = 20 * time.Millisecond }})
	rig.Up.Set(service, []relay.Endpoint{hanging(t, "a")})
	_, r := rig.send(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	wantProblem(t, r, 504, fault.CodeServiceTimeout)
}

func testTryTimeout(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Decide: func(r *relay.Request, d *relay.Decision) {
		if r.RawPath == "/slow" {
			d.TryTimeout = 20 * time.Millisecond
		}
	}})
	a, b := hanging(t, "a"), echo(t, "b")
	for range 5 {
		rig.Up.Set(service, []relay.Endpoint{a, b})
		if res, text := rig.do(t, client(t, false), http.MethodGet, "/slow", nil); res.StatusCode != 200 {
			t.Fatalf("status %d %s", res.StatusCode, text)
		}
	}
	rig.Up.Set(service, []relay.Endpoint{a})
	_, r := rig.send(t, "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
	wantProblem(t, r, 504, fault.CodeServiceTimeout)
}

func testUnavailable(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	down := serveHTTP(t, "down", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	rig.Up.Set(service, []relay.Endpoint{down, echo(t, "up")})
	c := client(t, false)
	for range 50 {
		if res, _ := rig.do(t, c, http.MethodGet, "/", nil); res.StatusCode != 200 {
			t.Fatalf("status %d", res.StatusCode)
		}
	}
	rig.Up.Set(service, []relay.Endpoint{down})
	if res, _ := rig.do(t, c, http.MethodGet, "/", nil); res.StatusCode != 503 || res.Header.Get("Content-Type") == fault.ProblemType {
		t.Errorf("the service's own answer became %d %v", res.StatusCode, res.Header)
	}
}

// load sends requests side by side until stop is closed, and counts those that fail.
func load(t *testing.T, rig *Rig, methods []string, stop <-chan struct{}) (sent *atomic.Int64, wait func()) {
	t.Helper()
	sent = &atomic.Int64{}
	var workers sync.WaitGroup
	for i := range 8 {
		c := client(t, i%4 == 3)
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				n := sent.Add(1)
				method := methods[int(n)%len(methods)]
				body := fmt.Sprint("request ", n)
				req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, "http://"+rig.Addr+"/", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				res, err := c.Do(req)
				if err != nil {
					t.Errorf("%s: %v", method, err)
					return
				}
				text, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != 200 || string(text) != body {
					t.Errorf("%s: status %d, body %q, error %v", method, res.StatusCode, text, err)
					return
				}
			}
		})
	}
	return sent, workers.Wait
}

func testSwapUnderLoad(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{echo(t, "a-0"), echo(t, "b-0")})
	stop := make(chan struct{})
	sent, wait := load(t, rig, []string{http.MethodGet, http.MethodPost, http.MethodPut}, stop)
	a, b := echo(t, "a"), echo(t, "b")
	for i := range 300 {
		was := sent.Load()
		a.ID, b.ID = fmt.Sprint("a-", i), fmt.Sprint("b-", i)
		switch i % 3 {
		case 0:
			rig.Up.Set(service, []relay.Endpoint{a, b})
		case 1:
			rig.Up.Set(service, []relay.Endpoint{b})
		case 2:
			old := fmt.Sprint("b-", i-1)
			rig.Up.Set(service, []relay.Endpoint{a, {ID: old, Service: service, Dial: b.Dial}})
			if err := rig.Up.Drain(t.Context(), service, old); err != nil {
				t.Error(err)
			}
		}
		awaitMore(t, sent, was+4)
	}
	close(stop)
	wait()
	t.Logf("%d requests over 300 swaps", sent.Load())
}

// awaitMore waits until so many requests were sent.
func awaitMore(t *testing.T, sent *atomic.Int64, n int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); sent.Load() < n && !t.Failed(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("the load came to a halt at %d", sent.Load())
		}
	}
}

// killable is a service that can die as a process does: listener and connections are gone at once.
type killable struct {
	relay.Endpoint
	kill func()
}

func newKillable(t *testing.T, id string) killable {
	t.Helper()
	ln := listen(t)
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln)
	}()
	kill := sync.OnceFunc(func() {
		_ = srv.Close()
		<-done
	})
	t.Cleanup(kill)
	return killable{Endpoint(id, ln.Addr().String()), kill}
}

func testKillUnderLoad(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	stays := newKillable(t, "stays")
	stop := make(chan struct{})
	rig.Up.Set(service, []relay.Endpoint{stays.Endpoint})
	sent, wait := load(t, rig, []string{http.MethodGet, http.MethodPut}, stop)
	for i := range 10 {
		victim := newKillable(t, fmt.Sprint("victim-", i))
		rig.Up.Set(service, []relay.Endpoint{stays.Endpoint, victim.Endpoint})
		awaitMore(t, sent, sent.Load()+100)
		victim.kill() // and nobody tells the relay
		awaitMore(t, sent, sent.Load()+100)
	}
	close(stop)
	wait()
	t.Logf("%d requests over 10 kills", sent.Load())
}

func testRestartOfTheOnly(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	stop := make(chan struct{})
	only := newKillable(t, "only-0")
	rig.Up.Set(service, []relay.Endpoint{only.Endpoint})
	sent, wait := load(t, rig, []string{http.MethodGet, http.MethodPut}, stop)
	for i := range 10 {
		awaitMore(t, sent, sent.Load()+50)
		only.kill()
		next := newKillable(t, fmt.Sprint("only-", i+1))
		rig.Up.Set(service, nil)
		rig.Up.Set(service, []relay.Endpoint{next.Endpoint})
		only = next
	}
	close(stop)
	wait()
	t.Logf("%d requests over 10 restarts", sent.Load())
}
