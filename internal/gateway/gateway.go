package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
)

// Options are settings whose zero values are usable.
type Options struct {
	// Logger takes what operators should know. Nil discards.
	Logger *slog.Logger
	// OnHop is told of each request once it has ended. It must not block. Nil means that of the upstreams.
	OnHop func(relay.Hop)
	// AccessLog takes a record for each request, if the manifest wants it. Nil discards.
	AccessLog *slog.Logger
	// FetchKeys reads an issuer's key set from a file or a URL; it is given a context with a deadline. Nil means the
	// file system and net/http.
	FetchKeys func(ctx context.Context, source string) ([]byte, error)
	// Webhook makes what verifies the requests of a route, from what the manifest says and the value of the secret that it
	// names. An error is a *fault.Error. Nil means that routes with webhook are refused.
	Webhook func(m manifest.Webhook, secret string) (Verifier, error)
	// Publisher takes what arrives on routes that publish. Nil means that such routes are refused.
	Publisher Publisher
	// Starter starts sagas with what arrives on routes that start them. Nil means that such routes are refused.
	Starter Starter
	// LimitKeys is how many counters of limits are kept; 0 means 131,072, some 10 MB.
	LimitKeys int
	// Drain is how long requests in flight may take when Serve ends; 0 means 10 s.
	Drain time.Duration
	// StallTimeout is how long a body may not move, in either direction; 0 means 60 s.
	StallTimeout time.Duration
}

// Gateway is the edge of one application. It is safe for concurrent use.
type Gateway struct {
	up      *relay.Upstreams
	opts    Options
	limiter *limiter
	snap    atomic.Pointer[snapshot]
	fetches sync.WaitGroup // of issuers' keys

	applying sync.Mutex // held by Apply
}

// New returns a gateway that knows no route yet.
func New(up *relay.Upstreams, opts *Options) *Gateway {
	g := &Gateway{up: up}
	if opts != nil {
		g.opts = *opts
	}
	discard := slog.New(slog.DiscardHandler)
	g.opts.Logger = cmp.Or(g.opts.Logger, discard)
	g.opts.AccessLog = cmp.Or(g.opts.AccessLog, discard)
	g.opts.LimitKeys = cmp.Or(g.opts.LimitKeys, 1<<17)
	g.opts.Drain = cmp.Or(g.opts.Drain, 10*time.Second)
	g.opts.StallTimeout = cmp.Or(g.opts.StallTimeout, time.Minute)
	if g.opts.FetchKeys == nil {
		g.opts.FetchKeys = fetchKeys
	}
	if g.opts.OnHop == nil {
		g.opts.OnHop = up.OnHop()
	}
	g.limiter = newLimiter(g.opts.LimitKeys)
	g.snap.Store(&snapshot{router: &Router{any: &node{}}, headers: 64_000, headerTimeout: 10 * time.Second, idleTimeout: 2 * time.Minute})
	return g
}

// Apply compiles a manifest into a snapshot and swaps it in whole. If anything is wrong it returns a fault.List, and
// the old snapshot stays. Counters of limits and keys of issuers survive where their definition did not change.
// Whether TLS is spoken, and the timeouts and sizes of connections, are those that stand when Serve begins; the
// certificate may change.
func (g *Gateway) Apply(ctx context.Context, app *manifest.App, secrets func(name string) (string, bool)) error {
	commit, err := g.Prepare(ctx, app, secrets)
	if err != nil {
		return err
	}
	commit()
	return nil
}

// Prepare does all of Apply that can fail, and changes nothing; commit, which cannot fail, swaps the snapshot. Between
// the two no other Prepare or Apply may come.
func (g *Gateway) Prepare(ctx context.Context, app *manifest.App, secrets func(name string) (string, bool)) (commit func(), err error) {
	g.applying.Lock()
	defer g.applying.Unlock()
	if secrets == nil {
		secrets = func(string) (string, bool) { return "", false }
	}
	c := &compiler{g: g, app: app, secrets: secrets, old: g.snap.Load().keysets}
	next, faults := c.compile(ctx)
	if err := faults.Sorted().Err(); err != nil {
		return nil, err
	}
	return func() { g.snap.Store(next) }, nil
}

// Serve serves a listener until ctx ends, then lets requests in flight end, bounded by Options.Drain, and returns
// nil. It serves HTTP/1.1 and HTTP/2, by prior knowledge or, if the manifest names a certificate, over TLS.
func (g *Gateway) Serve(ctx context.Context, ln net.Listener) error {
	s := g.snap.Load()
	server := &relay.Server{
		Kind: relay.KindGateway, Upstreams: g.up, Policy: g, OnHop: g.onHop, Logger: g.opts.Logger,
		HeaderTimeout: s.headerTimeout, IdleTimeout: s.idleTimeout, StallTimeout: g.opts.StallTimeout,
		MaxHeader: 2 * s.headers, // between the two the refusal is a problem document
		Drain:     g.opts.Drain,
	}
	if s.tls != nil {
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: g.certificate}
	}
	err := g.up.Driver().Serve(ctx, ln, server)
	g.fetches.Wait()
	return err
}

func (g *Gateway) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert := g.snap.Load().tls; cert != nil {
		return cert, nil
	}
	return nil, fault.New(fault.CodeGatewayTLS, "the manifest no longer names a certificate")
}

// onHop writes the access log and passes the hop on.
func (g *Gateway) onHop(h relay.Hop) {
	if g.snap.Load().accessLog {
		g.opts.AccessLog.LogAttrs(context.Background(), slog.LevelInfo, "request", accessAttrs(&h)...)
	}
	g.opts.OnHop(h)
}

// accessAttrs is what the access log says of a request; what there is nothing to say of is left out.
func accessAttrs(h *relay.Hop) []slog.Attr {
	attrs := []slog.Attr{
		slog.String("method", h.Method), slog.String("host", h.Host), slog.String("path", h.Path),
		slog.Int("status", h.Status), slog.Int64("bytes", h.BytesOut),
		slog.Float64("duration_ms", float64(h.Duration.Microseconds())/1000),
		slog.String("client", h.Remote), slog.String("trace_id", h.Trace.ID.String()),
	}
	for _, a := range []slog.Attr{
		slog.String("route", h.Route), slog.String("service", h.Service), slog.String("endpoint", h.Endpoint),
		slog.String("subject", h.Subject), slog.String("code", string(h.Code)),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	if h.Tries > 1 {
		attrs = append(attrs, slog.Int("tries", h.Tries))
	}
	return attrs
}
