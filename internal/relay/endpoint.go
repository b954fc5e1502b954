package relay

import (
	"context"
	"math"
	"net"
	"sync/atomic"
	"time"
)

// DialFunc opens a connection to one replica.
type DialFunc func(ctx context.Context) (net.Conn, error)

// Endpoint is one ready replica that requests can go to. The relay reaches it only through Dial, never through a
// host and a port, so that a replica may live in a network namespace, a container or a pod.
type Endpoint struct {
	ID      string // names one process: "orders-1"; a process that replaces it has another ID, or comes in a later Set
	Service string
	Version string
	Weight  int // share of the traffic relative to the others; 0 means 1
	Dial    func(ctx context.Context) (net.Conn, error)
}

// gone is the bit of endpoint.state that says: no new requests.
const gone = math.MinInt64

// endpoint is an Endpoint in use.
type endpoint struct {
	id, service, version string
	weight               atomic.Int64
	dial                 atomic.Pointer[DialFunc]
	pool                 Pool         // nil for protocol tcp
	state                atomic.Int64 // requests in flight, and the bit gone
	dialTimeout          time.Duration
	idle                 chan struct{} // closed once it is gone and nothing is in flight
	health               health
}

func newEndpoint(e Endpoint, dialTimeout time.Duration) *endpoint {
	n := &endpoint{dialTimeout: dialTimeout, id: e.ID, service: e.Service, version: e.Version, idle: make(chan struct{})}
	n.update(e)
	return n
}

// update takes over what may change while the endpoint is in use.
func (e *endpoint) update(to Endpoint) {
	dial := DialFunc(to.Dial)
	e.dial.Store(&dial)
	e.weight.Store(int64(max(to.Weight, 1)))
}

func (e *endpoint) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, e.dialTimeout)
	defer cancel()
	return (*e.dial.Load())(ctx)
}

// inFlight is the number of requests that hold the endpoint.
func (e *endpoint) inFlight() int64 { return e.state.Load() &^ gone }

// acquire takes the endpoint for one request, unless it is gone.
func (e *endpoint) acquire() bool {
	for {
		s := e.state.Load()
		if s&gone != 0 {
			return false
		}
		if e.state.CompareAndSwap(s, s+1) {
			return true
		}
	}
}

// release gives back what acquire took.
func (e *endpoint) release() {
	if e.state.Add(-1) == gone {
		e.end()
	}
}

// retire lets no new request in. It may be called more than once.
func (e *endpoint) retire() {
	for {
		s := e.state.Load()
		if s&gone != 0 {
			return
		}
		if e.state.CompareAndSwap(s, s|gone) {
			if s == 0 {
				e.end()
			}
			return
		}
	}
}

func (e *endpoint) end() {
	if e.pool != nil {
		e.pool.Close()
	}
	close(e.idle)
}
