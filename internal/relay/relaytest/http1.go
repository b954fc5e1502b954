//nolint:thelper,bodyclose // these are tests, not helpers; bodies end with their connections
package relaytest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/relay"
)

func http1Tests() map[string]func(*testing.T, relay.Driver) {
	return map[string]func(*testing.T, relay.Driver){
		"HEAD does not wait for a body":                           testHead,
		"a POST without a length has no body":                     testNoLength,
		"an upload answered early gets its answer":                testEarlyAnswer,
		"a refused Expect is answered before the body":            testExpectRefused,
		"an accepted Expect lets the body through":                testExpectAccepted,
		"trailers go both ways":                                   testTrailers,
		"large bodies arrive whole both ways":                     testLargeBodies,
		"fields of the policy survive any Connection lines":       testConnectionLines,
		"a connection that the service closed idle costs nothing": testStaleConnection,
		"the path arrives as the policy wrote it":                 testPath,
		"a trace is continued and the deadline passed on":         testTraceAndDeadline,
	}
}

func testHead(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5000")
	})})
	_, r := rig.send(t, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\nHEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	for range 2 {
		head, err := readHead(r)
		if err != nil || !strings.HasPrefix(head, "HTTP/1.1 200") || !strings.Contains(head, "Content-Length: 5000") {
			t.Fatalf("head %q, error %v", head, err)
		}
	}
}

func testNoLength(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d %v %q", r.ContentLength, r.TransferEncoding, body)
	})})
	_, r := rig.send(t, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := io.ReadAll(res.Body); string(text) != `0 [] ""` {
		t.Fatalf("the service saw %s", text)
	}
}

func testEarlyAnswer(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveRaw(t, "a", func(c net.Conn, r *bufio.Reader) {
		_, _ = readHead(r)
		_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		_, _ = io.Copy(io.Discard, r)
	})})
	// The client sends a part of its body and waits: whoever wants all of it first waits for ever.
	for _, framing := range []string{"Content-Length: 1000000", "Transfer-Encoding: chunked"} {
		_, r := rig.send(t, "POST / HTTP/1.1\r\nHost: x\r\n"+framing+"\r\n\r\n5\r\nhello\r\n")
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%s: %v", framing, err)
		}
		if text, err := io.ReadAll(res.Body); res.StatusCode != 403 || string(text) != "no" {
			t.Fatalf("%s: status %d, body %q, error %v", framing, res.StatusCode, text, err)
		}
	}
}

func testExpectRefused(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusExpectationFailed)
	})})
	_, r := rig.send(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if head, err := readHead(r); err != nil || !strings.HasPrefix(head, "HTTP/1.1 417") {
		t.Fatalf("head %q, error %v", head, err)
	}
}

func testExpectAccepted(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})})
	c, r := rig.send(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
	if head, err := readHead(r); err != nil || !strings.HasPrefix(head, "HTTP/1.1 100") {
		t.Fatalf("head %q, error %v", head, err)
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(res.Body); string(text) != "hello" {
		t.Fatalf("status %d, body %q, error %v", res.StatusCode, text, err)
	}
}

func testTrailers(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
		w.Header().Set("X-Sum", r.Trailer.Get("X-Sum")+" seen")
		w.Header().Set(http.TrailerPrefix+"X-Late", "unannounced")
	})})
	for _, h2 := range []bool{false, true} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+rig.Addr+"/", io.MultiReader(strings.NewReader("body")))
		if err != nil {
			t.Fatal(err)
		}
		req.Trailer = http.Header{"X-Sum": {"42"}}
		res, err := client(t, h2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(text) != "body" || res.Trailer.Get("X-Sum") != "42 seen" || res.Trailer.Get("X-Late") != "unannounced" {
			t.Fatalf("h2 %v: body %q, trailer %v, error %v", h2, text, res.Trailer, err)
		}
	}
}

func testLargeBodies(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
	})})
	random := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{1, 4095, 4097, 64 << 10, 64<<10 + 1, 3 << 20} {
		body := make([]byte, size)
		_, _ = random.Read(body)
		for _, h2 := range []bool{false, true} {
			_, text := rig.do(t, client(t, h2), http.MethodPost, "/", io.MultiReader(bytes.NewReader(body)))
			if sha256.Sum256([]byte(text)) != sha256.Sum256(body) {
				t.Fatalf("h2 %v: %d bytes came back as %d others", h2, size, len(text))
			}
		}
	}
}

func testConnectionLines(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Decide: func(_ *relay.Request, d *relay.Decision) {
		d.Upstream = []relay.Field{{Name: "Atoll-Subject", Value: "u1"}, {Name: "X-Forwarded-For", Value: "9.9.9.9"}}
	}})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Atoll-Subject"), r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Own"), r.Header.Get("Keep-Alive"))
	})})
	_, r := rig.send(t, "GET / HTTP/1.1\r\nHost: x\r\nX-Own: 1\r\nKeep-Alive: 5\r\nConnection: atoll-subject, X-Own\r\n"+
		"Connection: x-forwarded-for\r\nConnection: close\r\n\r\n")
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := io.ReadAll(res.Body); string(text) != "u19.9.9.9" {
		t.Fatalf("the service saw %q", text)
	}
}

func testStaleConnection(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveRaw(t, "a", func(c net.Conn, r *bufio.Reader) {
		_, _ = readHead(r)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") // keep-alive, it says, and closes
	})})
	c := client(t, false)
	for i := range 200 {
		if res, text := rig.do(t, c, http.MethodGet, "/", nil); res.StatusCode != 200 || text != "ok" {
			t.Fatalf("request %d: %d %s", i, res.StatusCode, text)
		}
	}
}

func testPath(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveRaw(t, "a", func(c net.Conn, r *bufio.Reader) {
		head, _ := readHead(r)
		line, _, _ := strings.Cut(head, "\r\n")
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%s", line)
	})})
	for _, target := range []string{"/a%2Fb", "/a%40b/@", "/a//b", "/%E2%82%AC", "/a;b=c", "/a?x=1;y=%zz&&+", "/a?", "/a%20b"} {
		_, r := rig.send(t, "GET "+target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := "GET " + strings.TrimSuffix(target, "?") + " HTTP/1.1"
		if text, _ := io.ReadAll(res.Body); string(text) != want {
			t.Errorf("the service saw %q, want %q", text, want)
		}
	}
}

func testTraceAndDeadline(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Traceparent"), " ", r.Header.Get("Tracestate"), " ", r.Header.Get(relay.DeadlineHeader) != "")
	})})
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+rig.Addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Traceparent", "00-"+id+"-00f067aa0ba902b7-01")
	req.Header.Set("Tracestate", "a=1")
	res, err := client(t, false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	rig.stop()
	hop := rig.Hops()[0]
	want := "00-" + id + "-" + hop.Trace.Span.String() + "-01 a=1 true"
	if string(text) != want || hop.Trace.Parent.String() != "00f067aa0ba902b7" {
		t.Fatalf("the service saw %q, want %q; parent %s", text, want, hop.Trace.Parent)
	}
}
