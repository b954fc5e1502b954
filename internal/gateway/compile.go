package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

// snapshot is a compiled manifest. It is never changed.
type snapshot struct {
	router    *Router
	routes    map[*Entry]*route
	proxies   proxies
	cors      *cors // of requests that no route takes
	security  bool
	accessLog bool
	headers   int
	tls       *tls.Certificate

	headerTimeout, idleTimeout time.Duration
	keysets                    map[string]*keyset
}

// route is a compiled manifest.Route.
type route struct {
	name        string
	to          string
	strip       string // decoded, without a last slash
	rewrite     string // escaped, without a last slash
	auth        []authenticator
	early, late []limit // before and after the proof of identity
	cors        *cors
	timeout     time.Duration
	tryTimeout  time.Duration
	tries       int
	body        int64
	path        string   // as the manifest has it
	verifier    Verifier // nil if requests need no signature
	publish     string   // the topic, or "" if requests go to a service
	start       string   // the saga, or "" if requests start none
}

// compiler turns a manifest into a snapshot and collects what is wrong on the way.
type compiler struct {
	g       *Gateway
	app     *manifest.App
	secrets func(name string) (string, bool)
	old     map[string]*keyset
	snap    *snapshot
	auth    map[string]authenticator
	faults  fault.List
}

func (c *compiler) fail(at fault.Position, err *fault.Error) {
	if err == nil {
		return
	}
	if err.File == "" {
		err = err.At(at, "")
	}
	c.faults = append(c.faults, err)
}

func (c *compiler) compile(ctx context.Context) (*snapshot, fault.List) {
	m := &c.app.Gateway
	c.snap = &snapshot{
		routes: map[*Entry]*route{}, keysets: map[string]*keyset{}, headers: int(cmp.Or(m.Headers, 64_000)),
		headerTimeout: cmp.Or(m.HeaderTimeout.Std(), 10*time.Second), idleTimeout: cmp.Or(m.IdleTimeout.Std(), 120*time.Second),
		security: m.Security == nil || *m.Security, accessLog: m.AccessLog == nil || *m.AccessLog,
	}
	var faults fault.List
	c.snap.proxies, faults = parseProxies(m.TrustedProxies)
	c.faults = append(c.faults, faults...)
	if m.TLS != nil {
		cert, err := tls.LoadX509KeyPair(c.file(m.TLS.Cert), c.file(m.TLS.Key))
		if err != nil {
			c.fail(fault.Position{}, fault.New(fault.CodeGatewayTLS, "the certificate %s cannot be used", m.TLS.Cert).
				Fix("check that tls.cert and tls.key are PEM files that belong together").Because(err))
		}
		c.snap.tls = &cert
	}
	var err *fault.Error
	c.snap.cors, err = newCORS(m.CORS)
	c.fail(fault.Position{}, err)
	c.compileAuth(ctx)
	c.compileRoutes()
	return c.snap, c.faults
}

// file is a path that the manifest names, relative to it.
func (c *compiler) file(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.app.Dir, name)
}

func (c *compiler) compileAuth(ctx context.Context) {
	c.auth = map[string]authenticator{}
	for _, name := range slices.Sorted(maps.Keys(c.app.Gateway.Auth)) {
		way, err := c.way(ctx, name, c.app.Gateway.Auth[name])
		if err != nil {
			c.fail(fault.Position{}, err)
		}
		c.auth[name] = way // also a faulty one, so that routes that name it are not blamed
	}
}

func (c *compiler) way(ctx context.Context, name string, m manifest.Auth) (authenticator, *fault.Error) {
	switch {
	case m.JWT != nil:
		keys, err := c.keyset(ctx, name, m.JWT.JWKS)
		if err != nil {
			return nil, err
		}
		return newTokenAuth(name, m.JWT, keys)
	case m.APIKey != nil:
		secret, ok := c.secrets(m.APIKey.Keys)
		if !ok {
			return nil, fault.New(fault.CodeGatewaySecret, "auth %q: there is no secret %q", name, m.APIKey.Keys).
				Fix("set the secret to its keys, each as NAME:KEY or NAME:sha256:HEX")
		}
		return newKeyAuth(name, m.APIKey, secret)
	}
	return nil, fault.New(fault.CodeGatewayAuth, "auth %q says not how", name).Fix("set jwt or apiKey")
}

// keyset is the keys of a source: those that are there already, or new ones. A file must be readable now; a URL may
// be reached later.
func (c *compiler) keyset(ctx context.Context, name, source string) (*keyset, *fault.Error) {
	remote := isRemote(source)
	if !remote {
		source = c.file(source)
	}
	s := c.snap.keysets[source]
	if s == nil {
		s = c.old[source]
	}
	if s == nil {
		s = &keyset{source: source, fetch: c.g.opts.FetchKeys, logger: c.g.opts.Logger, owner: &c.g.fetches}
	}
	c.snap.keysets[source] = s
	if remote {
		if err := checkSource(source); err != nil {
			return nil, fault.New(fault.CodeGatewayAuth, "auth %q: keys are not taken from %s", name, source).
				Fix("use https").Because(err)
		}
		s.refresh(ctx, time.Now())
		return s, nil
	}
	if err := s.load(ctx); err != nil {
		return nil, fault.New(fault.CodeGatewayAuth, "auth %q: the keys in %s cannot be read", name, source).
			Fix("check that the file is a JSON Web Key Set with public keys").Because(err)
	}
	return s, nil
}

func (c *compiler) compileRoutes() {
	protocols := map[string]manifest.Protocol{}
	for _, s := range c.app.Services {
		protocols[s.Name] = s.Protocol
	}
	entries := make([]*Entry, len(c.app.Gateway.Routes))
	for i := range c.app.Gateway.Routes {
		m := &c.app.Gateway.Routes[i]
		protocol, known := protocols[m.To]
		switch {
		case m.Publish != "":
			c.compilePublish(m)
		case m.Start != "":
			c.compileStart(m)
		case !known:
			c.fail(m.At, fault.New(fault.CodeGatewayRoute, "route %s goes to service %q, which does not exist", m.Path, m.To).
				Fix("name a service of this application"))
		case protocol == manifest.ProtocolTCP:
			c.fail(m.At, fault.New(fault.CodeGatewayRoute, "route %s goes to service %q, which speaks tcp", m.Path, m.To).
				Fix("services with protocol: tcp can be called, but not be routed to"))
		}
		e := &Entry{Host: m.Host, Path: m.Path, Methods: methods(m), Header: m.Header, Query: m.Query, Index: i}
		entries[i] = e
		c.snap.routes[e] = c.route(m, e)
	}
	var faults map[*Entry]*fault.Error
	c.snap.router, faults = NewRouter(entries)
	for i, e := range entries {
		c.fail(c.app.Gateway.Routes[i].At, faults[e])
	}
}

func (c *compiler) route(m *manifest.Route, e *Entry) *route {
	g := &c.app.Gateway
	r := &route{
		name: e.pattern(), to: m.To, strip: strings.TrimSuffix(m.Strip, "/"), rewrite: strings.TrimSuffix(m.Rewrite, "/"),
		timeout: g.Timeout.Std(), tryTimeout: m.TryTimeout.Std(), tries: cmp.Or(m.Tries, 3),
		body: int64(cmp.Or(m.Body, g.Body, 10_000_000)), cors: c.snap.cors,
		path: m.Path, verifier: c.compileWebhook(m), publish: m.Publish, start: m.Start,
	}
	if m.Timeout != nil {
		r.timeout = m.Timeout.Std()
	}
	if m.CORS != nil {
		var err *fault.Error
		r.cors, err = newCORS(m.CORS)
		c.fail(m.At, err)
	}
	for _, prefix := range []string{r.strip, r.rewrite} {
		if prefix != "" && !plainPrefix(prefix) {
			c.fail(m.At, fault.New(fault.CodeGatewayRoute, "prefix %q of route %s is refused", prefix, m.Path).
				Fix("write a path of plain segments that begins with /"))
		}
	}
	for _, name := range m.Auth {
		way, known := c.auth[name]
		if !known {
			c.fail(m.At, fault.New(fault.CodeGatewayRoute, "route %s wants auth %q, which is not there", m.Path, name).
				Fix("add it under gateway.auth, or name one that stands there"))
		}
		r.auth = append(r.auth, way)
	}
	definition := fmt.Sprint(e.Host, " ", e.Path, " ", e.Methods, " ", e.Header, " ", e.Query)
	for _, l := range m.Limit {
		if l.Count <= 0 || l.Per <= 0 {
			c.fail(m.At, fault.New(fault.CodeGatewayRoute, "a limit of route %s is not a rate", m.Path).
				Fix("write a limit such as 50/s per subject"))
			continue
		}
		lim := newLimit(definition, countBy(r, l.By), l)
		if lim.By == manifest.LimitBySubject || lim.By == manifest.LimitByKey {
			r.late = append(r.late, lim)
		} else {
			r.early = append(r.early, lim)
		}
	}
	return r
}

// countBy is how many limits of one kind a route has already.
func countBy(r *route, by manifest.LimitBy) int {
	n := 0
	for _, l := range slices.Concat(r.early, r.late) {
		if l.By == cmp.Or(by, manifest.LimitByAddress) {
			n++
		}
	}
	return n
}

func upper(methods []string) []string {
	out := make([]string, len(methods))
	for i, m := range methods {
		out[i] = strings.ToUpper(m)
	}
	return out
}
