package platform

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/atollhq/atoll/internal/manifest"
)

// pair is a caller and a service that it calls.
type pair struct{ caller, callee string }

// callListeners holds the listener of each pair, by which the caller is known. A pair keeps its listener, and so its
// address, as long as both services are there: when the call is no longer declared, who still makes it is told which line
// to add, in place of finding nobody.
type callListeners struct {
	listen func(ctx context.Context, caller string) (net.Listener, error)
	serve  func(ctx context.Context, ln net.Listener, caller, callee string, protocol manifest.Protocol) error
	log    *slog.Logger

	mu   sync.Mutex
	open map[pair]*callListener // guarded by mu
	wait sync.WaitGroup         // for the goroutines that serve
}

type callListener struct {
	addr     string
	protocol manifest.Protocol // of the callee; tcp is served in another way
	end      context.CancelFunc
}

// apply opens listeners for the pairs that app declares and have none. It returns what ends those of services that are
// gone, to be called when nobody is told their address any more.
func (c *callListeners) apply(ctx context.Context, app *manifest.App) (drop func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range app.Services {
		for _, call := range s.Calls {
			p, protocol := pair{s.Name, call.Service}, app.Service(call.Service).Protocol
			if l := c.open[p]; l != nil {
				if (l.protocol == manifest.ProtocolTCP) == (protocol == manifest.ProtocolTCP) {
					continue
				}
				l.end()
			}
			if err := c.start(ctx, p, protocol); err != nil {
				return nil, err
			}
		}
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for p, l := range c.open {
			if app.Service(p.caller) == nil || app.Service(p.callee) == nil {
				l.end()
				delete(c.open, p)
			}
		}
	}, nil
}

func speaksTCP(app *manifest.App, service string) bool {
	s := app.Service(service)
	return s != nil && s.Protocol == manifest.ProtocolTCP
}

// start opens one listener and serves it. The caller holds mu.
func (c *callListeners) start(ctx context.Context, p pair, protocol manifest.Protocol) error {
	ln, err := c.listen(ctx, p.caller)
	if err != nil {
		return fmt.Errorf("listen for calls of %s to %s: %w", p.caller, p.callee, err)
	}
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	c.open[p] = &callListener{addr: ln.Addr().String(), protocol: protocol, end: end}
	c.wait.Go(func() {
		if err := c.serve(serving, ln, p.caller, p.callee, protocol); err != nil {
			c.log.Error("calls end", "caller", p.caller, "callee", p.callee, "error", err)
		}
	})
	return nil
}

// addr is where a caller finds a service: host:port, or "" where that is not declared.
func (c *callListeners) addr(caller, callee string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.open[pair{caller, callee}]; l != nil {
		return l.addr
	}
	return ""
}

// close ends all and waits until calls in flight have ended, which the mesh bounds.
func (c *callListeners) close() {
	c.mu.Lock()
	for p, l := range c.open {
		l.end()
		delete(c.open, p)
	}
	c.mu.Unlock()
	c.wait.Wait()
}
