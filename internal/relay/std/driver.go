package std

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
)

// Driver carries requests with net/http. Its zero value is ready.
type Driver struct{}

var _ relay.Driver = Driver{}

// New returns a driver.
func New() Driver { return Driver{} }

// The transports' settings.
const (
	// Below the 5 s after which Node closes an idle connection, so that we are the first to close: a request that
	// meets a connection in the moment of its closing could not be sent again if it is a POST.
	idleUpstream      = 4 * time.Second
	maxIdleUpstream   = 1024
	maxResponseHeader = 1 << 20
	expectContinue    = time.Second
	pingUpstream      = 15 * time.Second
)

// errRefused marks that a connection could not be made.
type errRefused struct{ err error }

func (e *errRefused) Error() string { return "dial: " + e.err.Error() }
func (e *errRefused) Unwrap() error { return e.err }

// pool is the connections to one endpoint.
type pool struct{ transport *http.Transport }

// Open implements relay.Driver.
func (Driver) Open(dial relay.DialFunc, protocol manifest.Protocol) relay.Pool {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := dial(ctx)
			if err != nil {
				return nil, &errRefused{err}
			}
			return &countedConn{Conn: conn}, nil
		},
		DisableCompression:     true,
		MaxIdleConns:           maxIdleUpstream,
		MaxIdleConnsPerHost:    maxIdleUpstream,
		IdleConnTimeout:        idleUpstream,
		MaxResponseHeaderBytes: maxResponseHeader,
		ExpectContinueTimeout:  expectContinue,
		Protocols:              new(http.Protocols),
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingUpstream},
	}
	if protocol == manifest.ProtocolGRPC {
		t.Protocols.SetUnencryptedHTTP2(true)
	} else {
		t.Protocols.SetHTTP1(true)
	}
	return &pool{transport: t}
}

// Close implements relay.Pool.
func (p *pool) Close() { p.transport.CloseIdleConnections() }

// Serve implements relay.Driver.
func (Driver) Serve(ctx context.Context, ln net.Listener, s *relay.Server) error {
	// Requests outlive ctx while they drain; what ends them is the end of base.
	base, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	h := newHandler(s)
	srv := &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: s.HeaderTimeout,
		IdleTimeout:       s.IdleTimeout,
		MaxHeaderBytes:    s.MaxHeader,
		ErrorLog:          slog.NewLogLogger(s.Logger.Handler(), slog.LevelDebug),
		Protocols:         new(http.Protocols),
		TLSConfig:         s.TLS,
	}
	srv.Protocols.SetHTTP1(true)
	if s.TLS == nil {
		srv.Protocols.SetUnencryptedHTTP2(true)
	} else {
		srv.Protocols.SetHTTP2(true)
	}
	var served sync.WaitGroup
	failed := make(chan error, 1)
	served.Go(func() { failed <- serve(srv, ln) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	shutdown(base, srv, h, s.Drain, abort)
	served.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func serve(srv *http.Server, ln net.Listener) error {
	if srv.TLSConfig != nil {
		return srv.ServeTLS(ln, "", "")
	}
	return srv.Serve(ln)
}

// shutdown lets requests in flight end, at most for drain, then aborts the rest, and returns when all have ended.
func shutdown(ctx context.Context, srv *http.Server, h *handler, drain time.Duration, abort func()) {
	ctx, cancel := context.WithTimeout(ctx, drain)
	defer cancel()
	_ = srv.Shutdown(ctx) // an error means that time ran out, which Close sees to
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.running.Wait()
	}()
	select { // requests on connections that were taken over (WebSocket) are not Shutdown's
	case <-ended:
	case <-ctx.Done():
	}
	abort()
	_ = srv.Close()
	<-ended
}
