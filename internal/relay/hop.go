package relay

import (
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Kind is where a hop took place.
type Kind string

// The kinds of hops.
const (
	KindGateway Kind = "gateway" // from outside to a service
	KindCall    Kind = "call"    // from service to service
)

// StatusGone is the status of a hop whose client went away before there was an answer. It is never sent.
const StatusGone = 499

// Hop is one request through the relay, told once it has ended.
type Hop struct {
	Kind     Kind
	Start    time.Time
	Duration time.Duration
	Waited   time.Duration // of Duration, for an endpoint to become ready
	Trace    Trace

	Caller   string // the calling service; "" at the gateway
	Service  string // the service called; "" if the request came so far as none
	Endpoint string // the endpoint that answered, or was tried last
	Version  string // of that endpoint
	Route    string // the route's pattern, at the gateway
	Subject  string // who the client proved to be, at the gateway

	Protocol string // "HTTP/1.1", "HTTP/2.0", "tcp"
	Method   string
	Host     string
	Path     string // as it came, without query
	GRPC     bool
	Upgraded bool   // to another protocol, such as WebSocket
	Remote   string // address of the client as the relay believes it

	Status   int        // 0 for tcp
	GRPCCode int        // of GRPC, -1 where none was seen
	Code     fault.Code // of the problem that the relay answered with, or ""
	Err      string     // for operators: what lies behind Code, or how the response broke off
	Tries    int
	BytesIn  int64 // of the request's body, or what came from the client after an upgrade
	BytesOut int64
}
