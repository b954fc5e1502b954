package platform

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

// edge is the listener of the gateway. A reload that changes its address opens the new one first.
type edge struct {
	serve func(context.Context, net.Listener) error
	log   *slog.Logger

	mu      sync.Mutex
	now     edgeSettings       // guarded by mu: those in force
	ln      net.Listener       // guarded by mu: served now
	next    net.Listener       // guarded by mu: prepared, not yet served
	pending edgeSettings       // guarded by mu: what next was prepared for
	end     context.CancelFunc // guarded by mu
	done    chan struct{}      // guarded by mu: closed when the present one has drained
}

// edgeSettings are what a listener has for as long as it is served; all else changes with a snapshot of the gateway.
type edgeSettings struct {
	listen                     string
	tls                        bool
	headers                    manifest.Size
	headerTimeout, idleTimeout manifest.Duration
}

// prepare opens a listener where the settings are not those in force. Where the address stays, it is the same socket a
// second time, so that no connection is refused in between.
func (e *edge) prepare(ctx context.Context, g *manifest.Gateway) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	want := edgeSettings{g.Listen, g.TLS != nil, g.Headers, g.HeaderTimeout, g.IdleTimeout}
	if e.next != nil {
		e.next.Close()
		e.next = nil
	}
	if want == e.now {
		return nil
	}
	ln, err := e.open(ctx, want.listen)
	if err != nil {
		return fault.New(fault.CodePortInUse, "the gateway cannot listen on %s", want.listen).
			Fix("end the program that listens there, choose another address (gateway: {listen: …}), or start with --isolated").
			Because(err)
	}
	e.next, e.pending = ln, want
	return nil
}

// open returns a listener at an address. The caller holds mu.
func (e *edge) open(ctx context.Context, listen string) (net.Listener, error) {
	if e.ln == nil || listen != e.now.listen {
		var lc net.ListenConfig
		return lc.Listen(ctx, "tcp", listen)
	}
	file, err := e.ln.(*net.TCPListener).File()
	if err != nil {
		return nil, fmt.Errorf("share socket: %w", err)
	}
	defer file.Close()
	return net.FileListener(file)
}

// commit serves what was prepared and lets the one before drain.
func (e *edge) commit(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.next == nil {
		return
	}
	if e.end != nil {
		e.end()
	}
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	ln, before, done := e.next, e.done, make(chan struct{})
	e.now, e.ln, e.end, e.done, e.next = e.pending, ln, end, done, nil
	go func() {
		defer close(done)
		if err := e.serve(serving, ln); err != nil {
			e.log.Error("gateway ends", "error", err)
		}
		if before != nil {
			<-before
		}
	}()
}

// close drains the gateway and waits for it, as long as the gateway itself allows.
func (e *edge) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.next != nil {
		e.next.Close()
	}
	if e.end != nil {
		e.end()
		<-e.done
	}
}

// address is where the gateway listens, or "".
func (e *edge) address() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ln == nil {
		return ""
	}
	return e.ln.Addr().String()
}
