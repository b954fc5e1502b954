//nolint:thelper,bodyclose // these are tests, not helpers; bodies end with their connections
package relaytest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/relay"
)

func bodyTests() map[string]func(*testing.T, relay.Driver) {
	return map[string]func(*testing.T, relay.Driver){
		"a policy sees the whole body before the service sees any": testBodySeenFirst,
		"a body that was seen can be sent again whatever its size": testBodySentAgain,
		"a policy's reply keeps the body from the service":         testBodyReply,
		"a body beyond the limit is shown to no policy":            testBodyNotShown,
		"a body that does not come holds nothing beyond its time":  testBodyNeverComes,
		"the time for the body counts towards that for the answer": testBodyTime,
		"bodies that are held at once are bounded":                 testBodiesHeld,
		"a client that goes amid its body is no refusal":           testBodyClientGone,
	}
}

// seeing is a policy that wants whole bodies.
func seeing(see func(ctx context.Context, body []byte) *relay.Reply) func(*relay.Request, *relay.Decision) {
	return func(_ *relay.Request, d *relay.Decision) { d.Body, d.MaxBody = see, 1<<20 }
}

// chunks is a body whose length is not known before its end.
func chunks(text string) io.Reader { return io.MultiReader(strings.NewReader(text)) }

func testBodySeenFirst(t *testing.T, d relay.Driver) {
	want := strings.Repeat("all of it\x00\xff\r\n", 20_000)
	var seen, reached atomic.Int64
	rig := NewRig(t, d, Settings{Decide: seeing(func(_ context.Context, body []byte) *relay.Reply {
		if string(body) != want || reached.Load() != seen.Load() {
			t.Errorf("the policy was shown %d bytes, with %d requests at the service after %d", len(body), reached.Load(), seen.Load())
		}
		seen.Add(1)
		return nil
	})})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(body)
	})})
	for _, h2 := range []bool{false, true} {
		for _, body := range []io.Reader{strings.NewReader(want), chunks(want)} {
			if res, got := rig.do(t, client(t, h2), http.MethodPost, "/", body); res.StatusCode != 200 || got != want {
				t.Errorf("h2 %v: status %d, %d bytes of %d", h2, res.StatusCode, len(got), len(want))
			}
		}
	}
	if seen.Load() != 4 || reached.Load() != 4 {
		t.Errorf("%d bodies seen, %d requests at the service", seen.Load(), reached.Load())
	}
}

func testBodySentAgain(t *testing.T, d relay.Driver) {
	want := strings.Repeat("x", 500_000)
	rig := NewRig(t, d, Settings{Decide: seeing(func(context.Context, []byte) *relay.Reply { return nil })})
	var asked atomic.Int64
	failFirst := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if asked.Add(1) == 1 || err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(body)
	}
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", failFirst), serveHTTP(t, "b", failFirst)})
	if res, got := rig.do(t, client(t, false), http.MethodPut, "/", chunks(want)); res.StatusCode != 200 || got != want || asked.Load() != 2 {
		t.Errorf("status %d, %d bytes, %d tries", res.StatusCode, len(got), asked.Load())
	}
}

func testBodyReply(t *testing.T, d relay.Driver) {
	var bodies [][]byte
	rig := NewRig(t, d, Settings{Decide: func(r *relay.Request, d *relay.Decision) {
		seeing(func(_ context.Context, body []byte) *relay.Reply {
			bodies = append(bodies, body)
			if r.RawPath == "/refused" {
				return relay.Refuse(401, fault.New(fault.CodeAuthRefused, "no"), relay.Field{Name: "X-Why", Value: "so"})
			}
			return &relay.Reply{Status: 202, Body: []byte("taken")}
		})(r, d)
		d.Service = "" // nobody behind
		d.Response = func(_ int, h relay.Header) { h.Set("X-All", "1") }
	}})
	c := client(t, false)
	if res, text := rig.do(t, c, http.MethodPost, "/taken", strings.NewReader("mine")); res.StatusCode != 202 || text != "taken" || res.Header.Get("X-All") != "1" {
		t.Errorf("status %d, %q, header %v", res.StatusCode, text, res.Header)
	}
	if res, _ := rig.do(t, c, http.MethodPost, "/refused", nil); res.StatusCode != 401 || res.Header.Get("X-Why") != "so" {
		t.Errorf("status %d, header %v", res.StatusCode, res.Header)
	}
	rig.stop()
	if len(bodies) != 2 || !bytes.Equal(bodies[0], []byte("mine")) || len(bodies[1]) != 0 {
		t.Errorf("the policy was shown %q", bodies)
	}
	if hops := rig.Hops(); len(hops) != 2 || hops[0].Status != 202 || hops[0].BytesIn != 4 || hops[1].Code != fault.CodeAuthRefused {
		t.Errorf("hops %+v", hops)
	}
}

func testBodyNotShown(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Decide: func(_ *relay.Request, d *relay.Decision) {
		d.MaxBody = 3
		d.Body = func(_ context.Context, body []byte) *relay.Reply {
			t.Errorf("the policy was shown %q", body)
			return nil
		}
	}})
	rig.Up.Set(service, []relay.Endpoint{echo(t, "a")})
	for _, raw := range []string{
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
	} {
		_, r := rig.send(t, raw)
		wantProblem(t, r, 413, fault.CodeBodyTooLarge)
	}
}

func testBodyNeverComes(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Decide: func(_ *relay.Request, d *relay.Decision) {
		d.MaxBody, d.Timeout = 1<<20, 50*time.Millisecond
		d.Body = func(_ context.Context, body []byte) *relay.Reply {
			t.Errorf("the policy was shown %q", body)
			return nil
		}
	}})
	rig.Up.Set(service, []relay.Endpoint{echo(t, "a")})
	for _, raw := range slowUploads() {
		_, r := rig.send(t, raw)
		wantProblem(t, r, 408, fault.CodeClientTooSlow)
	}
	slowUploadH2(t, rig)
	r := rig.trickle(t)
	wantProblem(t, r, 408, fault.CodeClientTooSlow)
}

func testBodyTime(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Decide: func(_ *relay.Request, d *relay.Decision) {
		d.MaxBody, d.Timeout = 1<<20, 100*time.Millisecond
		d.Body = func(ctx context.Context, _ []byte) *relay.Reply {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("the policy has no deadline")
			}
			<-ctx.Done()
			return nil
		}
	}})
	release := make(chan struct{})
	rig.Up.Set(service, []relay.Endpoint{serveHTTP(t, "a", func(http.ResponseWriter, *http.Request) { <-release })})
	defer close(release)
	_, r := rig.send(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")
	wantProblem(t, r, 504, fault.CodeServiceTimeout)
}

func testBodiesHeld(t *testing.T, d relay.Driver) {
	entered, release := make(chan struct{}, 1), make(chan struct{})
	rig := NewRig(t, d, Settings{
		Server: func(s *relay.Server) { s.MaxHeld = 10 },
		Decide: seeing(func(context.Context, []byte) *relay.Reply {
			entered <- struct{}{}
			<-release
			return &relay.Reply{Status: 202}
		}),
	})
	_, first := rig.send(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n12345678")
	<-entered
	_, r := rig.send(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n12345678")
	wantProblem(t, r, 503, fault.CodeServiceBusy)
	close(release)
	if head, err := readHead(asBufio(first)); !strings.HasPrefix(head, "HTTP/1.1 202") {
		t.Errorf("the one that held: %q, %v", head, err)
	}
	rig.waitHops(t, 2)
	if res, _ := rig.do(t, client(t, false), http.MethodPost, "/", strings.NewReader("12345678")); res.StatusCode != 202 {
		t.Errorf("what was held is not given back: status %d", res.StatusCode)
	}
}

func testBodyClientGone(t *testing.T, d relay.Driver) {
	rig := NewRig(t, d, Settings{Decide: seeing(func(_ context.Context, body []byte) *relay.Reply {
		t.Errorf("the policy was shown %q", body)
		return nil
	})})
	c, _ := rig.send(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	c.Close()
	rig.waitHops(t, 1)
	if hop := rig.Hops()[0]; hop.Status != relay.StatusGone || hop.Code != "" {
		t.Errorf("hop %+v", hop)
	}
}

// waitHops waits until n hops were told.
func (r *Rig) waitHops(t *testing.T, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for len(r.Hops()) < n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d hops of %d", len(r.Hops()), n)
		}
	}
}
