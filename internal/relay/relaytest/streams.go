//nolint:thelper,bodyclose // these are tests, not helpers; bodies end with their connections
package relaytest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/relay"
)

func streamTests() map[string]func(*testing.T, relay.Driver) {
	return map[string]func(*testing.T, relay.Driver){
		"WebSocket echoes, and its fields keep their spelling": testWebSocket,
		"no protocol but WebSocket is tunnelled":               testUpgradeOthers,
		"a service cannot switch protocols unasked":            testUpgradeUnasked,
		"a refused upgrade is an ordinary response":            testUpgradeRefused,
		"events arrive before the stream ends":                 testEvents,
		"a stream in which nothing is said is not cut off":     testQuietStream,
		"a client that goes away ends the request behind":      testClientGone,
		"Drain waits for a WebSocket":                          testDrainWebSocket,
		"Serve ends although a WebSocket stays open":           testServeEnds,
		"Serve lets a tunnel in flight end":                    testServeDrainsTunnel,
		"identity does not pass as a trailer":                  testTrailerIdentity,
		"what claims to be gRPC may not stall elsewhere":       testStallClaim,
		"Serve lets a request in flight end":                   testServeDrains,
		"both ways of a request flow at once":                  testFullDuplex,
	}
}

func asBufio(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

// webSocket accepts a handshake and echoes bytes. It does not know frames: neither does a relay.
func webSocket(t *testing.T, id string, heads chan<- string) relay.Endpoint {
	t.Helper()
	return serveRaw(t, id, func(c net.Conn, r *bufio.Reader) {
		head, err := readHead(r)
		if err != nil {
			return
		}
		heads <- head
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nsec-websocket-accept: yes\r\n\r\n")
		_, _ = io.Copy(c, r)
	})
}

const handshake = "GET /ws HTTP/1.1\r\nHost: x\r\nconnection: keep-alive, Upgrade\r\nUPGRADE: websocket\r\nsec-websocket-key: k\r\nSEC-WEBSOCKET-VERSION: 13\r\n\r\n"

// openWebSocket shakes hands with the rig and exchanges a few bytes.
func openWebSocket(t *testing.T, rig *Rig) (c net.Conn, r *bufio.Reader, head string) {
	t.Helper()
	c, r = rig.send(t, handshake)
	head, err := readHead(r)
	if err != nil || !strings.HasPrefix(head, "HTTP/1.1 101") {
		t.Fatalf("head %q, error %v", head, err)
	}
	buf := make([]byte, 5)
	for _, word := range []string{"hello", "again"} {
		if _, err := io.WriteString(c, word); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, buf); err != nil || string(buf) != word {
			t.Fatalf("echo %q, error %v", buf, err)
		}
	}
	return c, r, head
}

func testWebSocket(t *testing.T, d relay.Driver) {
	heads := make(chan string, 1)
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{webSocket(t, "a", heads)})
	c, r, head := openWebSocket(t, rig)
	behind := <-heads
	for _, want := range []string{"Sec-WebSocket-Key: k\r\n", "Sec-WebSocket-Version: 13\r\n", "Upgrade: websocket\r\n", "Connection: Upgrade\r\n"} {
		if !strings.Contains(behind, want) {
			t.Errorf("the service's head lacks %q:\n%s", want, behind)
		}
	}
	if !strings.Contains(head, "Sec-WebSocket-Accept: yes\r\n") {
		t.Errorf("the client's head:\n%s", head)
	}
	if half, ok := c.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		t.Fatal("no half close")
	}
	if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
		t.Errorf("after the client's end: %q, %v", rest, err)
	}
	rig.stop()
	if hop := rig.Hops()[0]; !hop.Upgraded || hop.Status != 101 || hop.BytesIn != 10 || hop.BytesOut < 10 {
		t.Errorf("hop %+v", hop)
	}
}

func testUpgradeRefused(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{echo(t, "a")})
	_, r := rig.send(t, handshake)
	if head, err := readHead(r); err != nil || !strings.HasPrefix(head, "HTTP/1.1 200") {
		t.Fatalf("head %q, error %v", head, err)
	}
}

func testUpgradeOthers(t *testing.T, d relay.Driver) {
	heads := make(chan string, 1)
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveRaw(t, "a", func(c net.Conn, r *bufio.Reader) {
		head, err := readHead(r)
		if err != nil {
			return
		}
		heads <- head
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})})
	for _, request := range []string{
		"GET /x HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
		"GET /x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
		"GET /x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
		"GET /x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
		"POST /x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
		"GET /x HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
	} {
		_, r := rig.send(t, request+"Host: x\r\n\r\n")
		if head, err := readHead(r); err != nil || !strings.Contains(head, " 200 ") {
			t.Fatalf("%q: head %q, error %v", request, head, err)
		}
		if behind := strings.ToLower(<-heads); strings.Contains(behind, "upgrade") || strings.Contains(behind, "http2-settings") {
			t.Errorf("%q reached the service as %q", request, behind)
		}
	}
}

func testUpgradeUnasked(t *testing.T, d relay.Driver) {
	for _, fields := range []string{"", "Connection: Upgrade\r\nUpgrade: h2c\r\n", "Connection: Upgrade\r\nUpgrade: websocket\r\n"} {
		rig := NewRig(t, d, Settings{})
		rig.Up.Set(service, []relay.Endpoint{serveRaw(t, "a", func(c net.Conn, r *bufio.Reader) {
			_, _ = readHead(r)
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n"+fields+"\r\n")
			_, _ = io.Copy(c, r)
		})})
		_, r := rig.send(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		if head, err := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 502") {
			t.Errorf("%q: head %q, error %v", fields, head, err)
		}
	}
}

func testEvents(t *testing.T, d relay.Driver) {
	next := make(chan struct{})
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if r.URL.Path == "/known" {
			w.Header().Set("Content-Length", "12")
			w.Header().Set("Content-Type", "application/octet-stream")
		}
		flush(w)
		for range 3 {
			<-next
			fmt.Fprint(w, "x\n\n\n")
			flush(w)
		}
	})})
	for _, h2 := range []bool{false, true} {
		for _, path := range []string{"/events", "/known"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+rig.Addr+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := client(t, h2).Do(req) // returns although nothing of the body has come
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 4)
			for range 3 {
				next <- struct{}{}
				if _, err := io.ReadFull(res.Body, buf); err != nil {
					t.Fatalf("h2 %v %s: %v", h2, path, err)
				}
			}
			res.Body.Close()
		}
	}
}

func testQuietStream(t *testing.T, d relay.Driver) {
	const stall = 30 * time.Millisecond
	rig := NewRig(t, d, Settings{Server: func(s *relay.Server) { s.StallTimeout = stall }})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "one\n")
		flush(w)
		quiet := time.NewTimer(10 * stall)
		defer quiet.Stop()
		select {
		case <-quiet.C:
			fmt.Fprint(w, "two\n")
		case <-r.Context().Done():
		}
	})})
	for _, h2 := range []bool{false, true} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+rig.Addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client(t, h2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(text) != "one\ntwo\n" {
			t.Errorf("h2 %v: got %q (%v)", h2, text, err)
		}
	}
}

func flush(w http.ResponseWriter) {
	if err := http.NewResponseController(w).Flush(); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func testClientGone(t *testing.T, d relay.Driver) {
	begun, ended := make(chan struct{}), make(chan struct{})
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(_ http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	})})
	for _, h2 := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+rig.Addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		c := client(t, h2)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if res, err := c.Do(req); err == nil {
				res.Body.Close()
			}
		}()
		<-begun
		cancel()
		<-ended
		<-done
	}
	rig.stop()
	for _, hop := range rig.Hops() {
		if hop.Status != relay.StatusGone {
			t.Errorf("hop %+v", hop)
		}
	}
}

func testDrainWebSocket(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{webSocket(t, "a", make(chan string, 2)), webSocket(t, "b", make(chan string, 2))})
	c, _, _ := openWebSocket(t, rig)
	short, cancel := context.WithCancel(t.Context())
	cancel()
	// One of the two is idle, the other is held by the WebSocket.
	errA, errB := rig.Up.Drain(short, service, "a"), rig.Up.Drain(short, service, "b")
	if (errA == nil) == (errB == nil) {
		t.Fatalf("draining a: %v, b: %v; want one of them to wait", errA, errB)
	}
	c.Close()
	for _, id := range []string{"a", "b"} {
		if err := rig.Up.Drain(t.Context(), service, id); err != nil {
			t.Fatal(err)
		}
	}
}

func testServeEnds(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Server: func(s *relay.Server) { s.Drain = 1 }})
	rig.Up.Set(service, []relay.Endpoint{webSocket(t, "a", make(chan string, 1))})
	_, r, _ := openWebSocket(t, rig)
	rig.stop()
	if _, err := r.ReadByte(); err == nil {
		t.Error("the WebSocket outlives Serve")
	}
}

func testServeDrainsTunnel(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{webSocket(t, "a", make(chan string, 1))})
	c, r, _ := openWebSocket(t, rig)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		rig.stop()
	}()
	for { // until the listener is closed
		late, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", rig.Addr)
		if err != nil {
			break
		}
		late.Close()
	}
	for range 50 {
		if _, err := io.WriteString(c, "x"); err != nil {
			t.Fatal(err)
		}
		if _, err := r.ReadByte(); err != nil {
			t.Fatalf("the tunnel broke while Serve drains: %v", err)
		}
		select {
		case <-stopped:
			t.Fatal("Serve returned before the tunnel ended")
		case <-time.After(time.Millisecond):
		}
	}
	c.Close()
	<-stopped
}

func testTrailerIdentity(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Decide: func(_ *relay.Request, d *relay.Decision) {
		d.Untrusted = func(name string) bool { return relay.FoldedPrefix(name, "x-forwarded-") }
	}})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, len(r.Trailer), r.Trailer.Get("X-Sum"))
	})})
	_, r := rig.send(t, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"+
		"Trailer: Atoll-Subject, atoll_caller, X-Forwarded-For, X-Sum\r\n\r\n1\r\na\r\n0\r\n"+
		"Atoll-Subject: root\r\natoll_caller: admin\r\nX-Forwarded-For: ::1\r\nX-Sum: s\r\n\r\n")
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := io.ReadAll(res.Body); string(text) != "1 s" && string(text) != "1s" {
		t.Errorf("the service saw the trailers %s", text)
	}
}

func testStallClaim(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Server: func(s *relay.Server) { s.StallTimeout = 50 * time.Millisecond }})
	rig.Up.Set(service, []relay.Endpoint{echo(t, "a")})
	pr, pw := io.Pipe()
	defer func() { _ = pw.Close() }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+rig.Addr+"/", pr)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	res, err := client(t, true).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if code := res.Header.Get("Grpc-Status"); code != "4" {
		t.Errorf("status %d, grpc-status %q", res.StatusCode, code)
	}
}

func testServeDrains(t *testing.T, d relay.Driver) {
	begun, finish := make(chan struct{}), make(chan struct{})
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		fmt.Fprint(w, "done")
	})})
	_, r := rig.send(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-begun
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		rig.stop()
	}()
	for { // until the listener is closed
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", rig.Addr)
		if err != nil {
			break
		}
		c.Close()
	}
	close(finish)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(res.Body); err != nil || string(text) != "done" {
		t.Errorf("body %q, error %v", text, err)
	}
	<-stopped
}

func testFullDuplex(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		buf := make([]byte, 1)
		for {
			if _, err := r.Body.Read(buf); err != nil {
				return
			}
			_, _ = w.Write(buf)
			flush(w)
		}
	})})
	for _, h2 := range []bool{false, true} {
		pr, pw := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+rig.Addr+"/", pr)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.WriteString(pw, "a") }()
		res, err := client(t, h2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1)
		for _, b := range "abcd" {
			if b != 'a' {
				if _, err := pw.Write([]byte(string(b))); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := io.ReadFull(res.Body, buf); err != nil || buf[0] != byte(b) {
				t.Fatalf("h2 %v: %q, error %v; want %q", h2, buf, err, b)
			}
		}
		_ = pw.Close()
		res.Body.Close()
	}
}
