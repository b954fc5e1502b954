package relay

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

// Options are settings whose zero values are usable.
type Options struct {
	// Logger takes what operators should know: endpoints left out and taken back. Nil discards.
	Logger *slog.Logger
	// OnHop is told of each request once it has ended. It must not block. A gateway or mesh may have its own.
	OnHop func(Hop)
	// WaitReady is how long a request waits for a ready endpoint; 0 means 10 s.
	WaitReady time.Duration
	// MaxWaiting is how many requests may wait so for one service; 0 means 1,024.
	MaxWaiting int
	// MaxInFlight is how many requests one service may have in flight; more are refused. 0 means 16,384.
	MaxInFlight int
	// RetryRatio is the share of a service's traffic that may be retries; 0 means 0.2.
	RetryRatio float64
	// RetryFloor is how many retries a second are allowed whatever the traffic; 0 means 10.
	RetryFloor int
	// DialTimeout is how long a connection to an endpoint may take; 0 means 3 s.
	DialTimeout time.Duration
}

func (o *Options) withDefaults() Options {
	var d Options
	if o != nil {
		d = *o
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	d.WaitReady = cmp.Or(d.WaitReady, 10*time.Second)
	d.MaxWaiting = cmp.Or(d.MaxWaiting, 1024)
	d.MaxInFlight = cmp.Or(d.MaxInFlight, 16384)
	d.RetryRatio = cmp.Or(d.RetryRatio, 0.2)
	d.RetryFloor = cmp.Or(d.RetryFloor, 10)
	d.DialTimeout = cmp.Or(d.DialTimeout, 3*time.Second)
	return d
}

// Upstreams knows each service's endpoints. It is safe for concurrent use.
type Upstreams struct {
	driver Driver
	opts   Options
	snap   atomic.Pointer[snapshot]

	mu      sync.Mutex // guards closed and leaving, and orders changes of snap
	closed  bool
	leaving map[string][]*endpoint // by service: gone, with requests in flight
}

// snapshot is all services at one time. It and its views are never changed.
type snapshot struct {
	views map[string]*view
}

// view is one service at one time.
type view struct {
	service   *service
	protocol  manifest.Protocol
	endpoints []*endpoint
	changed   chan struct{} // closed when a newer view stands
}

// service is what outlives the views of one service.
type service struct {
	name     string
	waiting  atomic.Int64 // requests that wait for an endpoint
	inFlight atomic.Int64
	budget   budget
	opening  sync.Mutex // held while a breaker of this service decides to open
}

// NewUpstreams returns upstreams without services. The driver carries the requests.
func NewUpstreams(driver Driver, opts *Options) *Upstreams {
	u := &Upstreams{driver: driver, opts: opts.withDefaults(), leaving: map[string][]*endpoint{}}
	u.snap.Store(&snapshot{views: map[string]*view{}})
	return u
}

// Driver is what carries the requests.
func (u *Upstreams) Driver() Driver { return u.driver }

// OnHop is the function given in Options, or one that does nothing.
func (u *Upstreams) OnHop() func(Hop) {
	if u.opts.OnHop == nil {
		return func(Hop) {}
	}
	return u.opts.OnHop
}

// Declare says which services exist and what they speak. A service that is no longer named loses its endpoints; one
// whose protocol changed, too, until the next Set.
func (u *Upstreams) Declare(services map[string]manifest.Protocol) {
	u.mu.Lock()
	defer u.mu.Unlock()
	old := u.snap.Load().views
	next := make(map[string]*view, len(services))
	var dropped []*endpoint
	for name, protocol := range services {
		protocol = cmp.Or(protocol, manifest.ProtocolHTTP)
		was := old[name]
		switch {
		case was == nil:
			next[name] = newView(&service{name: name}, protocol, nil)
		case was.protocol == protocol:
			next[name] = was
		default:
			next[name] = newView(was.service, protocol, nil)
			dropped = append(dropped, was.endpoints...)
		}
	}
	for name, was := range old {
		if next[name] == nil {
			dropped = append(dropped, was.endpoints...)
		}
	}
	u.swap(next, dropped)
}

func newView(s *service, protocol manifest.Protocol, endpoints []*endpoint) *view {
	return &view{service: s, protocol: protocol, endpoints: endpoints, changed: make(chan struct{})}
}

// Set replaces the whole set of ready endpoints of a service. An endpoint whose ID and Version stay keeps its
// connections and its record of failures, and takes the new Dial and Weight; one that is no longer named gets no
// new requests, while those in flight end. Endpoints of a service that is not declared are ignored.
func (u *Upstreams) Set(service string, endpoints []Endpoint) {
	u.mu.Lock()
	defer u.mu.Unlock()
	was := u.snap.Load().views[service]
	if was == nil || u.closed {
		return
	}
	known := make(map[[2]string]*endpoint, len(was.endpoints))
	for _, e := range was.endpoints {
		known[[2]string{e.id, e.version}] = e
	}
	next := make([]*endpoint, 0, len(endpoints))
	for _, e := range endpoints {
		key := [2]string{e.ID, e.Version}
		if old := known[key]; old != nil {
			delete(known, key)
			old.update(e)
			next = append(next, old)
			continue
		}
		n := newEndpoint(e, u.opts.DialTimeout)
		n.service = service
		if was.protocol != manifest.ProtocolTCP {
			n.pool = u.driver.Open(n.connect, was.protocol)
		}
		next = append(next, n)
	}
	dropped := make([]*endpoint, 0, len(known))
	for _, e := range known {
		dropped = append(dropped, e)
	}
	u.replace(was, next, dropped)
}

// replace swaps in a new view of one service. The caller holds mu.
func (u *Upstreams) replace(was *view, endpoints, dropped []*endpoint) {
	views := maps.Clone(u.snap.Load().views)
	views[was.service.name] = newView(was.service, was.protocol, endpoints)
	u.swap(views, dropped)
}

// swap puts the new snapshot in place, wakes who waits for a change, and only then retires what was dropped. The
// caller holds mu.
func (u *Upstreams) swap(views map[string]*view, dropped []*endpoint) {
	old := u.snap.Swap(&snapshot{views: views})
	for name, v := range old.views {
		if views[name] != v {
			close(v.changed)
		}
	}
	for _, e := range dropped {
		e.retire()
		u.leaving[e.service] = append(u.leaving[e.service], e)
	}
	for name, list := range u.leaving {
		if list = stillBusy(list); len(list) == 0 {
			delete(u.leaving, name)
		} else {
			u.leaving[name] = list
		}
	}
}

func stillBusy(list []*endpoint) []*endpoint {
	busy := list[:0]
	for _, e := range list {
		select {
		case <-e.idle:
		default:
			busy = append(busy, e)
		}
	}
	return busy
}

// Drain takes the endpoint out of its service's set and returns when no request is in flight on it, streams and
// WebSockets included, or with ctx's error when ctx ends first. An endpoint that Set has already left out is waited
// for all the same; one that is not known is drained. A later Set that names the ID makes a new endpoint of it.
func (u *Upstreams) Drain(ctx context.Context, service, id string) error {
	for _, e := range u.takeOut(service, id) {
		select {
		case <-e.idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// takeOut removes the endpoint from the current view and returns every endpoint of that ID with requests in flight.
func (u *Upstreams) takeOut(service, id string) []*endpoint {
	u.mu.Lock()
	defer u.mu.Unlock()
	if was := u.snap.Load().views[service]; was != nil {
		var keep, dropped []*endpoint
		for _, e := range was.endpoints {
			if e.id == id {
				dropped = append(dropped, e)
			} else {
				keep = append(keep, e)
			}
		}
		if len(dropped) > 0 {
			u.replace(was, keep, dropped)
		}
	}
	var busy []*endpoint
	for _, e := range u.leaving[service] {
		if e.id == id {
			busy = append(busy, e)
		}
	}
	return busy
}

// Close takes all endpoints out and lets no more in. Requests in flight end by themselves; those that wait for an
// endpoint are refused.
func (u *Upstreams) Close() error {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	u.Declare(nil)
	return nil
}

// view is the present view of a service, or nil if there is no such service.
func (u *Upstreams) view(service string) *view { return u.snap.Load().views[service] }

// Protocol is what a declared service speaks.
func (u *Upstreams) Protocol(service string) (manifest.Protocol, bool) {
	v := u.view(service)
	if v == nil {
		return "", false
	}
	return v.protocol, true
}

func unknownService(name string) *fault.Error {
	return fault.New(fault.CodeServiceUnknown, "there is no service %q in this application", name).
		Fix("check the name, or add the service to atoll.yaml")
}
