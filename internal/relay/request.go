package relay

import (
	"context"
	"crypto/tls"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

// Header is the header of a message, as its driver holds it. Names are matched without regard to case. It is not
// safe for concurrent use.
type Header interface {
	Get(name string) string // the first value, or ""
	Values(name string) []string
	Set(name, value string)
	Add(name, value string)
	Del(name string)
	// All yields each field as it is spelled. Del may be called meanwhile.
	All() iter.Seq2[string, string]
}

// Field is one field of a header.
type Field struct{ Name, Value string }

// Request is the one form in which policies see a request, whatever the driver and the protocol.
type Request struct {
	Method    string
	Authority string // Host or :authority as it came
	RawPath   string // escaped, as it came
	Query     string // raw, without "?"
	Header    Header
	Peer      netip.Addr // other end of the connection
	TLS       bool
	Length    int64 // of the body; -1 if not known
	GRPC      bool
	Trace     Trace
}

// Policy decides on requests. It is safe for concurrent use.
type Policy interface {
	// Decide says what to do with a request. It may change the request's header.
	Decide(ctx context.Context, r *Request) Decision
}

// Decision is what a policy wants done with a request: an answer at once, or a way to a service.
type Decision struct {
	Reply *Reply // sent instead of asking a service, if not nil

	Service string
	Path    string // escaped, as the service shall see it
	Query   string // raw
	// Upstream is set on the request that the service sees. It is applied last, after the hop-by-hop fields are gone:
	// nothing that the client names in Connection can take it away.
	Upstream []Field
	// Untrusted tells which names must not reach the service in the request's trailers either, besides what is Reserved.
	// Nil means none.
	Untrusted  func(name string) bool
	Idempotent bool // the request may reach a replica twice
	Tries      int
	Timeout    time.Duration // until the response begins, waiting and tries included; 0 means no limit
	TryTimeout time.Duration // the same for one try
	MaxBody    int64         // bytes of the request's body; 0 means no limit

	// Body, if not nil, is given the whole body of the request, of at most MaxBody bytes, before anything goes to a service;
	// nil if there is none. Its reply, if not nil, is sent in place of asking the service. Else the request goes on with the
	// very same bytes, which Body must not change. Waiting for the body counts towards Timeout, which is ctx's deadline; how
	// much of all such bodies is held at once is bounded by Server.MaxHeld.
	Body func(ctx context.Context, body []byte) *Reply

	// Response, if not nil, may change the header of the response, whether it comes from a service or from the relay.
	Response func(status int, h Header)

	// For the Hop.
	Caller, Route, Subject, Remote string
}

// Reply is a response of the relay's own: a problem, or a status with a body.
type Reply struct {
	Status  int
	Header  []Field
	Body    []byte
	Problem *fault.Error // its problem document is the body
}

// Refuse is a reply that tells of a fault.
func Refuse(status int, e *fault.Error, header ...Field) *Reply {
	return &Reply{Status: status, Problem: e, Header: header}
}

// Server is what a driver needs to know to serve a listener.
type Server struct {
	Kind      Kind
	Upstreams *Upstreams
	Policy    Policy
	OnHop     func(Hop)    // must not block
	Logger    *slog.Logger // for operators
	TLS       *tls.Config  // nil for plain text; with HTTP/2 by ALPN where it is not

	HeaderTimeout time.Duration // to read a request's head
	IdleTimeout   time.Duration // of a connection without a request
	StallTimeout  time.Duration // of a body that does not move, in either direction; 0 means no limit. Not of services that speak gRPC, nor of upgrades.
	MaxHeader     int           // bytes of a request's head, refused beyond without asking the policy
	MaxHeld       int64         // bytes of bodies that are held for Decision.Body at once, refused beyond with 503; 0 means DefaultMaxHeld
	Drain         time.Duration // how long requests in flight may take when the server ends
}

// DefaultMaxHeld is a Server's MaxHeld if it sets none.
const DefaultMaxHeld = 64 << 20

// Driver carries requests over a wire format and the connections under it.
type Driver interface {
	// Serve serves the listener until ctx ends, then lets the requests in flight end for at most s.Drain, and returns
	// nil once no goroutine of its own is left. It closes the listener. It returns an error if the listener fails.
	Serve(ctx context.Context, ln net.Listener, s *Server) error
	// Open returns a pool of connections to one endpoint. It opens none before it must.
	Open(dial DialFunc, protocol manifest.Protocol) Pool
}

// Pool is a driver's connections to one endpoint.
type Pool interface {
	// Close closes the connections. No request is in flight on them.
	Close()
}

// Idempotent tells whether a request with this method and header may be sent twice (RFC 9110, 9.2.2), or says so
// itself by an Idempotency-Key.
func Idempotent(method string, h Header) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return h.Get("Idempotency-Key") != ""
}

// DeadlineHeader tells a service how long its response may take to begin, in milliseconds.
const DeadlineHeader = "Atoll-Deadline"

// Headers that speak of identity. The relay alone sets them.
const (
	CallerHeader  = "Atoll-Caller"  // the service that calls
	SubjectHeader = "Atoll-Subject" // who the client at the gateway proved to be
	AuthHeader    = "Atoll-Auth"    // the entry of gateway.auth by which the client proved it
)
