package mesh_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/mesh"
	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/relay/std"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func app(calls ...manifest.Call) *manifest.App {
	return &manifest.App{Dir: "/app", Services: []*manifest.Service{
		{Name: "orders", Calls: calls, At: fault.Position{File: "/app/services/orders/service.yaml", Line: 1}},
		{Name: "stock"},
		{Name: "cache", Protocol: manifest.ProtocolTCP},
	}}
}

// pair serves the listener of orders calling callee, which stands at addr.
func pair(t *testing.T, o *mesh.Options, callee, addr string) (m *mesh.Mesh, caller string, stop func()) {
	t.Helper()
	up := relay.NewUpstreams(std.New(), nil)
	protocols := map[string]manifest.Protocol{"orders": "", "stock": "", "cache": manifest.ProtocolTCP}
	up.Declare(protocols)
	up.Set(callee, []relay.Endpoint{{ID: callee + "-1", Service: callee, Dial: func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	}}})
	m = mesh.New(up, o)
	ln := listen(t)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, ln, "orders", callee, protocols[callee]) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		_ = up.Close()
	}
	t.Cleanup(stop)
	return m, ln.Addr().String(), stop
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// stock answers with the fields that the relay speaks through.
func stock(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.Header {
			if relay.Reserved(name) && name != relay.DeadlineHeader {
				fmt.Fprint(w, name, "=", strings.Join(values, ","), ";")
			}
		}
		fmt.Fprint(w, r.RequestURI)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func call(t *testing.T, url string, fields map[string][]string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = fields
	c := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
	defer c.CloseIdleConnections()
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func TestTheCalleeIsToldTheCallerAndNothingThatTheCallerMakesUp(t *testing.T) {
	m, addr, _ := pair(t, nil, "stock", stock(t))
	m.Apply(app(manifest.Call{Service: "stock"}))
	status, text := call(t, "http://"+addr+"/a%2Fb//c?d", map[string][]string{
		"Atoll-Caller": {"admin"}, "atoll_caller": {"admin"}, "Atoll_Subject": {"root"}, "Connection": {"Atoll-Caller"},
	})
	if status != 200 || text != "Atoll-Caller=orders;/a%2Fb//c?d" {
		t.Errorf("%d: the callee saw %s", status, text)
	}
	if _, text = call(t, "http://"+addr+"/", map[string][]string{"Atoll-Subject": {"u1"}}); !strings.Contains(text, "Atoll-Subject=u1") {
		t.Errorf("the client for whom the caller works is lost: %s", text)
	}
}

func TestAnUndeclaredCallIsRefusedWithTheLineThatAllowsIt(t *testing.T) {
	hops := make(chan relay.Hop, 4)
	m, addr, _ := pair(t, &mesh.Options{OnHop: func(h relay.Hop) { hops <- h }}, "stock", stock(t))
	m.Apply(app(manifest.Call{Service: "cache"}))
	status, text := call(t, "http://"+addr+"/", nil)
	if status != 403 || !strings.Contains(text, "write `calls: [cache, stock]` in services/orders/service.yaml") {
		t.Errorf("%d %s", status, text)
	}
	if hop := <-hops; hop.Kind != relay.KindCall || hop.Caller != "orders" || hop.Service != "stock" || hop.Code != fault.CodeCallUndeclared {
		t.Errorf("hop %+v", hop)
	}
	m.Apply(app(manifest.Call{Service: "stock"}))
	if status, text := call(t, "http://"+addr+"/", nil); status != 200 {
		t.Errorf("declared: %d %s", status, text)
	}
	m.Apply(&manifest.App{})
	if status, text := call(t, "http://"+addr+"/", nil); status != 403 || !strings.Contains(text, "no longer part") {
		t.Errorf("the caller is gone: %d %s", status, text)
	}
}

func TestACallersDeadlineShortensTheTimeout(t *testing.T) {
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(hang)
	m, addr, _ := pair(t, nil, "stock", s.Listener.Addr().String())
	m.Apply(app(manifest.Call{Service: "stock", Timeout: manifest.Duration(time.Hour)}))
	if status, text := call(t, "http://"+addr+"/", map[string][]string{relay.DeadlineHeader: {"20"}}); status != 504 {
		t.Errorf("%d %s", status, text)
	}
}

func TestACallerThatStopsAmidItsBodyIsCutOff(t *testing.T) {
	m, addr, _ := pair(t, &mesh.Options{StallTimeout: 20 * time.Millisecond}, "stock", stock(t))
	m.Apply(app(manifest.Call{Service: "stock"}))
	body, end := io.Pipe()
	defer func() { _ = end.Close() }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/", body)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
	defer c.CloseIdleConnections()
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 408 {
		t.Errorf("status %d", res.StatusCode)
	}
}

// echoing copies each connection back to itself, and says goodbye at its end.
func echoing(t *testing.T) string {
	t.Helper()
	ln := listen(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			_, _ = io.WriteString(c, "bye")
			c.Close()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return ln.Addr().String()
}

func TestBytesAreRelayedToAServiceThatSpeaksTCP(t *testing.T) {
	hops := make(chan relay.Hop, 4)
	m, addr, _ := pair(t, &mesh.Options{OnHop: func(h relay.Hop) { hops <- h }}, "cache", echoing(t))
	dial := func() *net.TCPConn {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			t.Fatalf("%T", c)
		}
		return tcp
	}
	refused := dial()
	if text, _ := io.ReadAll(refused); len(text) != 0 {
		t.Errorf("undeclared: %q", text)
	}
	_ = refused.Close()
	if hop := <-hops; hop.Code != fault.CodeCallUndeclared {
		t.Errorf("hop %+v", hop)
	}
	m.Apply(app(manifest.Call{Service: "cache", Timeout: manifest.Duration(time.Minute)}))
	c := dial()
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(c); string(text) != "hellobye" {
		t.Errorf("%q, %v", text, err)
	}
	if hop := <-hops; hop.Protocol != "tcp" || hop.Endpoint != "cache-1" || hop.BytesIn != 5 || hop.BytesOut != 8 || hop.Code != "" {
		t.Errorf("hop %+v", hop)
	}
}

func TestServeEndsAlthoughAConnectionStaysOpen(t *testing.T) {
	m, addr, stop := pair(t, &mesh.Options{Drain: time.Millisecond}, "cache", echoing(t))
	m.Apply(app(manifest.Call{Service: "cache"}))
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 2)
	if _, err := io.WriteString(c, "hi"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, buf); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := c.Read(buf); err == nil {
		t.Error("the connection outlives Serve")
	}
}
