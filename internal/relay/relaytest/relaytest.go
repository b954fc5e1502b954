// Package relaytest is the conformance suite of the relay's drivers: what a driver must do whatever it is made of.
package relaytest

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
)

// Run holds a driver to the suite.
func Run(t *testing.T, open func() relay.Driver) {
	t.Helper()
	for _, part := range []struct {
		name  string
		tests map[string]func(*testing.T, relay.Driver)
	}{
		{"http1", http1Tests()},
		{"refusals", refusalTests()},
		{"bodies", bodyTests()},
		{"streams", streamTests()},
		{"http2", http2Tests()},
		{"failures", failureTests()},
	} {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			for name, test := range part.tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t, open())
				})
			}
		})
	}
}

// patience is how long a test waits for what must happen; it is no measure of anything.
const patience = 20 * time.Second

// service is the name under which a Rig's endpoints stand.
const service = "svc"

// Rig is a driver that serves a listener before endpoints of one service.
type Rig struct {
	Addr string
	Up   *relay.Upstreams
	stop func() // ends Serve and waits for it

	mu   sync.Mutex // guards hops
	hops []relay.Hop
}

// Settings change a Rig from what is usual.
type Settings struct {
	Protocol manifest.Protocol
	Options  relay.Options
	Decide   func(*relay.Request, *relay.Decision)
	Server   func(*relay.Server)
}

// NewRig serves a policy that lets everything through, with an hour for each request.
func NewRig(t *testing.T, d relay.Driver, s Settings) *Rig {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if s.Protocol == "" {
		s.Protocol = manifest.ProtocolHTTP
	}
	up := relay.NewUpstreams(d, &s.Options)
	up.Declare(map[string]manifest.Protocol{service: s.Protocol})
	rig := &Rig{Addr: ln.Addr().String(), Up: up}
	server := &relay.Server{
		Kind: relay.KindGateway, Upstreams: up, Policy: through(s.Decide), Logger: slog.New(slog.DiscardHandler),
		HeaderTimeout: time.Minute, IdleTimeout: time.Minute, StallTimeout: time.Minute, MaxHeader: 1 << 16, Drain: patience,
		OnHop: func(h relay.Hop) {
			rig.mu.Lock()
			defer rig.mu.Unlock()
			rig.hops = append(rig.hops, h)
		},
	}
	if s.Server != nil {
		s.Server(server)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- d.Serve(ctx, ln, server) }()
	rig.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		_ = up.Close()
	})
	t.Cleanup(rig.stop)
	return rig
}

// Hops are the hops told so far.
func (r *Rig) Hops() []relay.Hop {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]relay.Hop(nil), r.hops...)
}

type through func(*relay.Request, *relay.Decision)

// Decide implements relay.Policy.
func (f through) Decide(_ context.Context, r *relay.Request) relay.Decision {
	d := relay.Decision{
		Service: service, Path: r.RawPath, Query: r.Query, Tries: 3, Timeout: time.Hour,
		Idempotent: relay.Idempotent(r.Method, r.Header),
	}
	if f != nil {
		f(r, &d)
	}
	return d
}

// Endpoint is an endpoint at a TCP address.
func Endpoint(id, addr string) relay.Endpoint {
	return relay.Endpoint{ID: id, Service: service, Dial: func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	}}
}

// serveHTTP starts a service on net/http that speaks HTTP/1.1 and h2c, and makes it the rig's endpoint id.
func serveHTTP(t *testing.T, id string, h http.HandlerFunc) relay.Endpoint {
	t.Helper()
	ln := listen(t)
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	return Endpoint(id, ln.Addr().String())
}

// serveRaw starts a service that is given each connection, and makes it the rig's endpoint id.
func serveRaw(t *testing.T, id string, serve func(c net.Conn, r *bufio.Reader)) relay.Endpoint {
	t.Helper()
	ln := listen(t)
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				serve(c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		conns.Wait()
	})
	return Endpoint(id, ln.Addr().String())
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// readHead reads a message's head as it stands on the wire.
func readHead(r *bufio.Reader) (string, error) {
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		head.WriteString(line)
		if err != nil || line == "\r\n" {
			return head.String(), err
		}
	}
}

// dial opens a connection to the rig that gives up after a while.
func (r *Rig) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// send opens a connection and writes raw bytes on it.
func (r *Rig) send(t *testing.T, raw string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := r.dial(t)
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

// client is an HTTP/1.1 client with connections of its own.
func client(t *testing.T, h2 bool) *http.Client {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true, ExpectContinueTimeout: patience}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetUnencryptedHTTP2(h2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// do sends a request and returns the response with its body.
func (r *Rig) do(t *testing.T, c *http.Client, method, path string, body io.Reader) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.Addr+path, body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: read the body: %v", method, path, err)
	}
	return res, string(text)
}
