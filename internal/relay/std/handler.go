package std

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
)

// handler serves one relay.Server.
type handler struct {
	conf    *relay.Server
	proxy   *httputil.ReverseProxy
	held    budget         // of bodies that policies see whole
	running sync.WaitGroup // requests
}

// flushAfter is how long a response with a length may be held back.
const flushAfter = 50 * time.Millisecond

func newHandler(s *relay.Server) *handler {
	h := &handler{conf: s, held: budget{max: cmp.Or(s.MaxHeld, relay.DefaultMaxHeld)}}
	h.proxy = &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      tripper{},
		FlushInterval:  flushAfter,
		ErrorLog:       slog.NewLogLogger(s.Logger.Handler(), slog.LevelDebug),
		BufferPool:     &buffers{},
		ModifyResponse: modifyResponse,
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			exchangeOf(r.Context()).fail(err)
		},
	}
	return h
}

// buffers lends the buffers with which bodies are copied.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

// exchange is one request on its way through the driver.
type exchange struct {
	h        *handler
	w        *writer
	body     *body // nil if the request has none
	req      relay.Request
	decision relay.Decision
	call     *relay.Call
	cancel   context.CancelCauseFunc
	hop      relay.Hop
	held     int64 // of the handler's budget
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	x, ok := ctx.Value(exchangeKey{}).(*exchange)
	if !ok {
		panic("relay/std: a request without its exchange")
	}
	return x
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.running.Add(1)
	defer h.running.Done()
	x := &exchange{h: h, w: &writer{ResponseWriter: w, control: http.NewResponseController(w)}}
	x.begin(r)
	ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), exchangeKey{}, x))
	x.cancel = cancel
	defer x.end()
	x.decide(ctx)
	out := r.WithContext(ctx)
	if d := &x.decision; d.Reply == nil && d.Body != nil && !x.showBody(out) {
		return
	}
	if d := &x.decision; d.Reply != nil {
		x.reply(d.Reply)
		return
	}
	if x.body != nil {
		out.Body = x.body.src
	}
	h.proxy.ServeHTTP(x.w, out)
}

// begin reads the request into the one form.
func (x *exchange) begin(r *http.Request) {
	conf := x.h.conf
	dropUpgrade(r)
	grpc := r.ProtoMajor == 2 && isGRPC(r.Header.Get("Content-Type"))
	peer, _ := netip.ParseAddrPort(r.RemoteAddr) // what is no address is the zero value
	x.req = relay.Request{
		Method: r.Method, Authority: r.Host, RawPath: rawPath(r), Query: r.URL.RawQuery, Header: header{r.Header},
		Peer: peer.Addr().Unmap(), TLS: r.TLS != nil, Length: r.ContentLength, GRPC: grpc,
	}
	x.req.Trace = relay.ContinueTrace(x.req.Header)
	x.hop = relay.Hop{
		Kind: conf.Kind, Start: time.Now(), Trace: x.req.Trace, Protocol: r.Proto, Method: r.Method, Host: r.Host,
		Path: x.req.RawPath, GRPC: grpc, GRPCCode: -1, Remote: x.req.Peer.String(),
	}
	x.w.stall = conf.StallTimeout
	if r.ContentLength == 0 || r.Body == nil {
		return
	}
	x.body = &body{src: r.Body, in: r, control: x.w.control, keep: maxReplay}
	if r.ProtoMajor == 1 {
		// Without it the server would read the body before it sends a response that came early.
		_ = x.w.control.EnableFullDuplex() // HTTP/1 supports it
	}
}

// rawPath is the path as the client sent it.
func rawPath(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		return path
	}
	return r.URL.EscapedPath()
}

// decide asks the policy, after what the driver itself refuses.
func (x *exchange) decide(ctx context.Context) {
	if x.req.Method == http.MethodConnect {
		x.decision.Reply = relay.Refuse(http.StatusMethodNotAllowed,
			fault.New(fault.CodeRequestRefused, "CONNECT is not served here"))
		return
	}
	x.decision = x.h.conf.Policy.Decide(ctx, &x.req)
	d := &x.decision
	x.hop.Caller, x.hop.Route, x.hop.Subject, x.hop.Service = d.Caller, d.Route, d.Subject, d.Service
	if d.Remote != "" {
		x.hop.Remote = d.Remote
	}
	if d.Reply == nil && d.MaxBody > 0 && x.req.Length > d.MaxBody {
		d.Reply = tooLarge(d.MaxBody)
	}
	if protocol, _ := x.h.conf.Upstreams.Protocol(d.Service); d.Reply == nil && protocol == manifest.ProtocolGRPC {
		x.w.stall = 0
	}
	if x.body != nil {
		x.body.max, x.body.stall = d.MaxBody, x.w.stall
	}
}

func tooLarge(limit int64) *relay.Reply {
	return relay.Refuse(http.StatusRequestEntityTooLarge,
		fault.New(fault.CodeBodyTooLarge, "the request's body is larger than the %d bytes that are allowed here", limit).
			Fix("send less at once, or let the operator raise `body` of the route"))
}

// rewrite makes the request that the service sees. The hop-by-hop fields are gone already.
func rewrite(p *httputil.ProxyRequest) {
	x := exchangeOf(p.In.Context())
	d := &x.decision
	out := p.Out
	out.URL.Scheme, out.URL.Host = "http", "endpoint"
	setPath(out, d.Path)
	out.URL.RawQuery, out.URL.ForceQuery = d.Query, false
	out.Host = p.In.Host
	for name := range out.Trailer {
		if relay.Reserved(name) || d.Untrusted != nil && d.Untrusted(name) {
			delete(out.Trailer, name)
		}
	}
	h := header{out.Header}
	h.Set("Traceparent", x.req.Trace.Traceparent())
	for _, f := range d.Upstream {
		h.Set(f.Name, f.Value)
	}
	if out.Header.Get("Upgrade") != "" {
		spellWebSocket(out.Header)
	}
}

// setPath makes the request's line hold exactly the escaped path.
func setPath(r *http.Request, escaped string) {
	r.URL.Opaque = ""
	r.URL.RawPath = escaped
	r.URL.Path = unescape(escaped)
}

// modifyResponse is told of the response that will be sent.
func modifyResponse(res *http.Response) error {
	x := exchangeOf(res.Request.Context())
	if f := x.decision.Response; f != nil {
		f(res.StatusCode, header{res.Header})
	}
	x.w.res = res
	if res.StatusCode == http.StatusSwitchingProtocols {
		x.hop.Upgraded, x.hop.Status = true, res.StatusCode
		moveWebSocket(res.Header, x.w.Header())
	}
	return nil
}

// end tells of the exchange once all is over.
func (x *exchange) end() {
	aborted := recover()
	if x.body != nil {
		if !x.w.taken {
			x.body.close()
		}
		x.hop.BytesIn += x.body.length.Load()
	}
	x.h.held.giveBack(x.held)
	x.w.extend() // what the server still has to send
	x.finishCall()
	x.cancel(context.Canceled)
	x.hop.Duration = time.Since(x.hop.Start)
	if x.w.status != 0 {
		x.hop.Status = x.w.status
	}
	x.hop.BytesIn += x.w.in.Load()
	x.hop.BytesOut += x.w.out.Load()
	x.grpcStatus()
	x.h.conf.OnHop(x.hop)
	if aborted != nil {
		panic(aborted) // http.ErrAbortHandler, by which the server drops the connection
	}
}

func (x *exchange) finishCall() {
	if x.call == nil {
		return
	}
	x.hop.Tries, x.hop.Waited = x.call.Tries(), x.call.Waited()
	x.hop.Endpoint, x.hop.Version = x.call.Endpoint()
	if err := x.w.broken(); err != nil && x.body.clientError() == nil {
		x.hop.Err = err.Error()
		x.call.Broken(err)
	}
	x.call.End()
}

// grpcStatus reads what the service said in its trailers.
func (x *exchange) grpcStatus() {
	res := x.w.res
	if !x.hop.GRPC || res == nil {
		return
	}
	for _, h := range []http.Header{res.Trailer, res.Header} {
		if code, err := strconv.Atoi(h.Get("Grpc-Status")); err == nil {
			x.hop.GRPCCode = code
			return
		}
	}
}
