//nolint:thelper,bodyclose // these are tests, not helpers; bodies end with their connections
package relaytest

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/relay"
)

func refusalTests() map[string]func(*testing.T, relay.Driver) {
	return map[string]func(*testing.T, relay.Driver){
		"two framings never both reach the service":          testTwoFramings,
		"rubbish on the wire is refused":                     testRubbish,
		"CONNECT is refused and leaves the pool clean":       testConnect,
		"a slow head is cut off":                             testSlowHead,
		"a slow body is cut off":                             testSlowBody,
		"a timeout ends the wait for the client's body":      testTimeoutInBody,
		"a body that trickles holds nothing beyond its time": testTrickle,
		"a body that says it is too large is refused":        testBodyLength,
		"a stream is cut off at the limit":                   testBodyStream,
		"a refusal is a problem document with a trace":       testProblem,
		"a service that is not declared is a bad gateway":    testUnknownService,
		"a client that ends amid its body harms no health":   testClientEndsAmidBody,
	}
}

func echo(t *testing.T, id string) relay.Endpoint {
	t.Helper()
	return serveHTTP(t, id, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Endpoint", id)
		if len(r.TransferEncoding) > 0 && r.Header.Get("Content-Length") != "" {
			w.Header().Set("X-Both", "1")
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(body)
	})
}

func testTwoFramings(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{echo(t, "a")})
	_, r := rig.send(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"+
		"2\r\nhi\r\n0\r\n\r\n")
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(res.Body)
	if res.StatusCode != 400 && (res.StatusCode != 200 || string(text) != "hi" || res.Header.Get("X-Both") != "") {
		t.Fatalf("status %d, body %q", res.StatusCode, text)
	}
}

func testRubbish(t *testing.T, d relay.Driver) {
	reached := make(chan string, 16)
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err == nil {
			reached <- r.RequestURI
		}
	})})
	for name, raw := range map[string]string{
		"bare LF in a chunk size":     "POST /lf HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\nhi\r\n0\r\n\r\n",
		"two Transfer-Encodings":      "POST /te HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"unknown Transfer-Encoding":   "POST /te2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"two lengths":                 "POST /cl HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"length with a sign":          "POST /sign HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na",
		"two hosts":                   "GET /host HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
		"no host":                     "GET /nohost HTTP/1.1\r\n\r\n",
		"blank before the colon":      "GET /blank HTTP/1.1\r\nHost: x\r\nX-A : 1\r\n\r\n",
		"header name with a NUL":      "GET /nul HTTP/1.1\r\nHost: x\r\nX\x00A: 1\r\n\r\n",
		"chunk size past 64 bits":     "POST /big HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
		"a path that does not begin ": "GET noslash HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		_, r := rig.send(t, raw)
		res, err := http.ReadResponse(r, nil)
		if err == nil {
			res.Body.Close()
		}
		if err == nil && res.StatusCode < 400 {
			t.Errorf("%s: status %d", name, res.StatusCode)
		}
	}
	select {
	case path := <-reached:
		t.Errorf("%s reached the service as a whole request", path)
	default:
	}
}

func testConnect(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{echo(t, "a")})
	for range 3 {
		_, r := rig.send(t, "CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if head, _ := readHead(r); !strings.HasPrefix(head, "HTTP/1.1 405") {
			t.Fatalf("head %q", head)
		}
		if _, text := rig.do(t, client(t, false), http.MethodPost, "/", strings.NewReader("mine")); text != "mine" {
			t.Fatalf("the next request got %q", text)
		}
	}
}

func testSlowHead(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Server: func(s *relay.Server) { s.HeaderTimeout = 50 * time.Millisecond }})
	for _, raw := range []string{"GET / HTTP/1.1\r\nHo", "GET / HTTP/1.1\r\nHost: x\r\n", ""} {
		c, r := rig.send(t, raw)
		if _, err := io.Copy(io.Discard, r); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("after %q the connection stays: %v", raw, err)
		}
		c.Close()
	}
}

func testSlowBody(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Server: func(s *relay.Server) { s.StallTimeout = 50 * time.Millisecond }})
	rig.Up.Set(service, []relay.Endpoint{echo(t, "a")})
	_, r := rig.send(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	wantProblem(t, r, 408, fault.CodeClientTooSlow)
}

// slowUploads are requests whose bodies do not come to their end.
func slowUploads() map[string]string {
	return map[string]string{
		"length":  "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab",
		"chunked": "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
	}
}

func testTimeoutInBody(t *testing.T, d relay.Driver) {
	for name, set := range map[string]func(*relay.Request, *relay.Decision){
		"of the request": func(_ *relay.Request, d *relay.Decision) { d.Timeout = 250 * time.Millisecond },
		"of a try":       func(_ *relay.Request, d *relay.Decision) { d.TryTimeout = 250 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			rig := NewRig(t, d, Settings{Server: func(s *relay.Server) { s.StallTimeout = 0 }, Decide: func(r *relay.Request, d *relay.Decision) {
				if r.Method != http.MethodGet {
					set(r, d)
				}
			}})
			rig.Up.Set(service, []relay.Endpoint{echo(t, "a"), echo(t, "b")})
			for range 3 {
				for _, raw := range slowUploads() {
					_, r := rig.send(t, raw)
					wantProblem(t, r, 408, fault.CodeClientTooSlow)
				}
			}
			slowUploadH2(t, rig)
			wantBothServe(t, rig)
		})
	}
}

// slowUploadH2 is a slow upload over HTTP/2.
func slowUploadH2(t *testing.T, rig *Rig) {
	pr, pw := io.Pipe()
	defer func() { _ = pw.Close() }()
	go func() { _, _ = io.WriteString(pw, "ab") }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+rig.Addr+"/", pr)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client(t, true).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 408 {
		t.Errorf("h2: status %d", res.StatusCode)
	}
}

func testTrickle(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Decide: func(_ *relay.Request, d *relay.Decision) { d.Timeout = 100 * time.Millisecond }})
	rig.Up.Set(service, []relay.Endpoint{echo(t, "a")})
	r := rig.trickle(t)
	head, err := readHead(r)
	if err != nil || !strings.HasPrefix(head, "HTTP/1.1 408") && !strings.HasPrefix(head, "HTTP/1.1 504") {
		t.Errorf("head %q, error %v", head, err)
	}
}

// trickle sends a body byte by byte until the connection ends.
func (r *Rig) trickle(t *testing.T) *bufio.Reader {
	c, answer := r.send(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := io.WriteString(c, "x"); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		c.Close()
		<-sent
	})
	return answer
}

func testBodyLength(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Decide: func(_ *relay.Request, d *relay.Decision) { d.MaxBody = 3 }})
	rig.Up.Set(service, []relay.Endpoint{echo(t, "a")})
	_, r := rig.send(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	wantProblem(t, r, 413, fault.CodeBodyTooLarge)
	if _, text := rig.do(t, client(t, false), http.MethodPost, "/", strings.NewReader("abc")); text != "abc" {
		t.Fatalf("a body at the limit: %q", text)
	}
}

func testBodyStream(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Decide: func(_ *relay.Request, d *relay.Decision) { d.MaxBody = 3 }})
	rig.Up.Set(service, []relay.Endpoint{echo(t, "a")})
	_, r := rig.send(t, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n")
	wantProblem(t, r, 413, fault.CodeBodyTooLarge)
}

func testProblem(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Decide: func(_ *relay.Request, d *relay.Decision) {
		d.Reply = relay.Refuse(403, fault.New(fault.CodeCallUndeclared, "no").Fix("yes"), relay.Field{Name: "X-Why", Value: "so"})
		d.Response = func(_ int, h relay.Header) { h.Set("X-All", "1") }
	}})
	_, r := rig.send(t, "GET /here HTTP/1.1\r\nHost: x\r\n\r\n")
	res, p := wantProblem(t, r, 403, fault.CodeCallUndeclared)
	if len(p.TraceID) != 32 || p.Instance != "/here" || p.Remedy != "yes" || res.Header.Get("X-Why") != "so" || res.Header.Get("X-All") != "1" {
		t.Errorf("problem %+v, header %v", p, res.Header)
	}
	rig.stop()
	if hop := rig.Hops()[0]; hop.Code != fault.CodeCallUndeclared || hop.Status != 403 || hop.Trace.ID.String() != p.TraceID {
		t.Errorf("hop %+v", hop)
	}
}

func testUnknownService(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Decide: func(_ *relay.Request, d *relay.Decision) { d.Service = "nobody" }})
	_, r := rig.send(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	wantProblem(t, r, 502, fault.CodeServiceUnknown)
}

func testClientEndsAmidBody(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{})
	rig.Up.Set(service, []relay.Endpoint{echo(t, "a"), echo(t, "b")})
	for range 20 {
		c, _ := rig.send(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
		c.Close()
	}
	wantBothServe(t, rig)
}

// wantBothServe says that neither of a rig's endpoints a and b is left out.
func wantBothServe(t *testing.T, rig *Rig) {
	t.Helper()
	seen := map[string]bool{}
	c := client(t, false)
	for range 200 {
		res, _ := rig.do(t, c, http.MethodGet, "/", nil)
		seen[res.Header.Get("X-Endpoint")] = true
	}
	if len(seen) != 2 {
		t.Errorf("only %v still serves", seen)
	}
}

// wantProblem reads a response that must be a problem document.
func wantProblem(t *testing.T, r io.Reader, status int, code fault.Code) (*http.Response, fault.Problem) {
	t.Helper()
	res, err := http.ReadResponse(asBufio(r), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var p fault.Problem
	err = json.NewDecoder(res.Body).Decode(&p)
	if err != nil || res.StatusCode != status || p.Code != code || p.Status != status || res.Header.Get("Content-Type") != fault.ProblemType {
		t.Fatalf("status %d, problem %+v, error %v, header %v; want %d %s", res.StatusCode, p, err, res.Header, status, code)
	}
	return res, p
}
