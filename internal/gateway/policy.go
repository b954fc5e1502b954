package gateway

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
)

var _ relay.Policy = (*Gateway)(nil)

// visit is one request under decision.
type visit struct {
	g      *Gateway
	s      *snapshot
	r      *relay.Request
	route  *route
	path   relay.Path
	client client
	who    identity
	taken  []allowance

	preflight bool // that the route's CORS policy answers
}

// Decide implements relay.Policy.
func (g *Gateway) Decide(ctx context.Context, r *relay.Request) relay.Decision {
	v := &visit{g: g, s: g.snap.Load(), r: r}
	v.client = v.s.proxies.clientOf(r)
	d := relay.Decision{Remote: v.client.addr.String()}
	origin := r.Header.Get("Origin")
	d.Reply = v.find()
	if d.Reply == nil {
		d.Route, d.Service = v.route.name, v.route.to
		d.Reply = v.admit(ctx)
		d.Subject = v.who.subject
	}
	d.Response = v.response(origin)
	if d.Reply != nil {
		return d
	}
	v.send(&d)
	return d
}

// find finds the route, or says why there is none.
func (v *visit) find() *relay.Reply {
	r := v.r
	if headSize(r) > v.s.headers {
		return relay.Refuse(431, fault.New(fault.CodeHeaderTooLarge, "the request's head is larger than the %d bytes that are allowed", v.s.headers).
			Fix("send fewer or smaller fields, or let the operator raise gateway.headers"))
	}
	host, ok := CleanHost(r.Authority)
	if !ok {
		return relay.Refuse(400, fault.New(fault.CodeRequestRefused, "the request's host is not a name").
			Fix("send the name that the application is served under"))
	}
	path, err := relay.CleanPath(r.RawPath)
	if err != nil {
		return relay.Refuse(400, asFault(err))
	}
	v.path = path
	q := Question{Method: r.Method, Host: host, Path: path.Decoded, Query: r.Query, Header: r.Header}
	if v.findPreflight(q) {
		return nil
	}
	a := v.s.router.Find(&q)
	switch {
	case a.Entry != nil:
		v.route = v.s.routes[a.Entry]
		return nil
	case len(a.Allow) > 0:
		slices.Sort(a.Allow)
		allow := strings.Join(slices.Compact(a.Allow), ", ")
		return relay.Refuse(405, fault.New(fault.CodeMethodRefused, "%s is not served here, but %s", r.Method, allow).
			Fix("use one of the methods that Allow names"), relay.Field{Name: "Allow", Value: allow})
	}
	return relay.Refuse(404, fault.New(fault.CodeRouteNotFound, "no route leads to %s", r.RawPath).
		Fix("check the address; the operator finds the routes in atoll.yaml under gateway.routes"))
}

// findPreflight finds the route that a preflight asks for, if its CORS policy shall answer. What it does not answer is
// a request like others, under the rules for its own method.
func (v *visit) findPreflight(q Question) bool {
	if !isPreflight(v.r) {
		return false
	}
	q.Method = v.r.Header.Get("Access-Control-Request-Method")
	if a := v.s.router.Find(&q); a.Entry != nil && v.s.routes[a.Entry].cors != nil {
		v.route, v.preflight = v.s.routes[a.Entry], true
	}
	return v.preflight
}

func asFault(err error) *fault.Error {
	if f, ok := err.(*fault.Error); ok { //nolint:errorlint // CleanPath returns it as it is
		return f
	}
	return fault.New(fault.CodeInternal, "the request was refused").Because(err)
}

func headSize(r *relay.Request) int {
	n := len(r.Method) + len(r.RawPath) + len(r.Query) + len(r.Authority) + 32
	for name, value := range r.Header.All() {
		n += len(name) + len(value) + 4
	}
	return n
}

// admit asks everything that may refuse a request for which there is a route.
func (v *visit) admit(ctx context.Context) *relay.Reply {
	if v.preflight {
		return v.route.cors.preflight(v.r)
	}
	if reply := v.limit(v.route.early); reply != nil {
		return reply
	}
	if len(v.route.auth) > 0 {
		who, reply := authenticate(ctx, v.route.auth, v.r.Header)
		if reply != nil {
			return reply
		}
		v.who = who
	}
	return v.limit(v.route.late)
}

// limit counts the request against limits. One that is refused counts against none of them.
func (v *visit) limit(limits []limit) *relay.Reply {
	now := time.Now()
	for i := range limits {
		a := v.g.limiter.take(now, &limits[i], v.countedBy(&limits[i]))
		if a.ok {
			v.taken = append(v.taken, a)
			continue
		}
		for _, t := range v.taken {
			v.g.limiter.giveBack(t)
		}
		v.taken = append(v.taken[:0], a)
		wait := max(seconds(a.retry), 1)
		return relay.Refuse(429, fault.New(fault.CodeLimitExceeded, "more than %d requests in %s per %s", limits[i].Count, limits[i].Per, limits[i].By).
			Fix("try again in %d s", wait), relay.Field{Name: "Retry-After", Value: strconv.Itoa(wait)})
	}
	return nil
}

// countedBy is the value that a limit counts the request by. Who has not proved anything is counted by address.
func (v *visit) countedBy(l *limit) string {
	switch l.By {
	case manifest.LimitBySubject:
		if v.who.subject != "" {
			return "s:" + v.who.auth + ":" + v.who.subject
		}
	case manifest.LimitByKey:
		if v.who.key != "" {
			return "k:" + v.who.auth + ":" + v.who.key
		}
	case manifest.LimitByHeader:
		return "h:" + v.r.Header.Get(l.Header)
	case manifest.LimitByRoute:
		return ""
	case manifest.LimitByAddress:
	}
	return "a:" + network(v.client.addr)
}

// network is what counts as one client: an IPv4 address, or an IPv6 network of 64 bits, which one client has whole.
func network(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// send says what goes to the service.
func (v *visit) send(d *relay.Decision) {
	r, rt := v.r, v.route
	d.Path, d.Query = rt.target(v.path), r.Query
	d.Idempotent = relay.Idempotent(r.Method, r.Header)
	d.Tries, d.Timeout, d.TryTimeout, d.MaxBody = rt.tries, rt.timeout, rt.tryTimeout, rt.body
	relay.Scrub(r.Header, untrusted)
	d.Untrusted = untrusted
	d.Body = v.takeBody()
	d.Upstream = v.client.fields(r.Peer)
	if v.who.subject != "" {
		d.Upstream = append(d.Upstream, relay.Field{Name: relay.SubjectHeader, Value: v.who.subject})
	}
	if v.who.auth != "" {
		d.Upstream = append(d.Upstream, relay.Field{Name: relay.AuthHeader, Value: v.who.auth})
	}
}

// response is what the gateway adds to the response.
func (v *visit) response(origin string) func(status int, h relay.Header) {
	policy := v.s.cors
	if v.route != nil {
		policy = v.route.cors
	}
	return func(_ int, h relay.Header) {
		if policy != nil {
			policy.mark(origin, h)
		}
		if len(v.taken) > 0 {
			for _, f := range limitFields(v.taken) {
				h.Set(f.Name, f.Value)
			}
		}
		if v.s.security {
			secure(h, v.client.proto == "https")
		}
	}
}

// secure adds the security headers that the service did not set.
func secure(h relay.Header, overTLS bool) {
	add := func(name, value string) {
		if h.Get(name) == "" {
			h.Set(name, value)
		}
	}
	add("X-Content-Type-Options", "nosniff")
	add("X-Frame-Options", "SAMEORIGIN")
	add("Referrer-Policy", "strict-origin-when-cross-origin")
	if overTLS {
		add("Strict-Transport-Security", "max-age=31536000")
	}
}

// target is the path that the service sees.
func (r *route) target(p relay.Path) string {
	escaped := p.Escaped
	if r.strip != "" {
		if rest, ok := strings.CutPrefix(p.Decoded, r.strip); ok && (rest == "" || rest[0] == '/') {
			escaped = afterSegments(escaped, strings.Count(r.strip, "/"))
		}
	}
	if r.rewrite != "" {
		escaped = r.rewrite + escaped
	}
	return escaped
}

// afterSegments is what stands behind the first n segments of a path, at least "/".
func afterSegments(path string, n int) string {
	for range n {
		i := strings.IndexByte(path[1:], '/')
		if i < 0 {
			return "/"
		}
		path = path[1+i:]
	}
	return path
}

// plainPrefix tells whether a prefix is a path whose two forms are the same.
func plainPrefix(prefix string) bool {
	p, err := relay.CleanPath(prefix)
	return err == nil && p.Decoded == prefix && p.Escaped == prefix
}
