package relay

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Order is what a Call needs to know of a request.
type Order struct {
	Service    string
	Tries      int  // at most; 0 means 1
	Idempotent bool // the request may reach a replica twice
}

// Call is one request on its way to a service: it says which endpoint is tried next, and whether a try that failed
// may be followed by another. A driver uses it so:
//
//	call, err := upstreams.Begin(order)
//	defer call.End()
//	for {
//		target, err := call.Next(ctx) // waits for an endpoint
//		…                             // try it
//		if !call.Retry(outcome) { break }
//	}
//
// It is not safe for concurrent use.
type Call struct {
	u       *Upstreams
	service *service
	order   Order

	target  Target
	failed  []*endpoint // in this round
	last    *endpoint   // the endpoint of the last failed try
	tries   int
	until   time.Time     // when waiting for an endpoint ends; zero before the first wait
	backoff time.Duration // before endpoints that failed are asked again
	waited  time.Duration
	ended   bool
}

// Target is an endpoint that a Call holds for one try.
type Target struct {
	endpoint *endpoint
	probe    bool
}

// ID is the endpoint's.
func (t *Target) ID() string { return t.endpoint.id }

// Version is the endpoint's.
func (t *Target) Version() string { return t.endpoint.version }

// Pool is what Driver.Open returned for the endpoint.
func (t *Target) Pool() Pool { return t.endpoint.pool }

// Dial opens a connection of the try's own.
func (t *Target) Dial(ctx context.Context) (net.Conn, error) {
	return t.endpoint.connect(ctx)
}

// Outcome is how a try ended.
type Outcome struct {
	// Err says that there was no response, and why. A response has Status instead.
	Err    error
	Status int
	// Refused: no connection could be made, so nothing was sent and no replica had work of it.
	Refused bool
	// Unsent: there was a connection, but nothing of the request went out on it.
	Unsent bool
	// Replayable: the request's body can be sent again from its beginning.
	Replayable bool
	// Gone: the client went away or sent rubbish, which says nothing about the endpoint.
	Gone bool
}

// Begin opens a Call. It is refused with a *fault.Error if there is no such service or it has too many requests in
// flight.
func (u *Upstreams) Begin(o Order) (*Call, error) {
	v := u.view(o.Service)
	if v == nil {
		return nil, unknownService(o.Service)
	}
	if n := v.service.inFlight.Add(1); n > int64(u.opts.MaxInFlight) {
		v.service.inFlight.Add(-1)
		return nil, fault.New(fault.CodeServiceBusy, "service %q has too many requests in flight", o.Service).
			Fix("try again in a moment; if it lasts, run more replicas of %q", o.Service)
	}
	v.service.budget.request(time.Now())
	return &Call{u: u, service: v.service, order: o}, nil
}

// Next returns the endpoint for the next try. It waits for one if none is ready, bounded in time and in number, and
// is refused with a *fault.Error, or ends with ctx's cause; a cause that is context.DeadlineExceeded counts as time
// waited in vain.
func (c *Call) Next(ctx context.Context) (*Target, error) {
	for {
		v := c.u.view(c.order.Service)
		if v == nil {
			return nil, unknownService(c.order.Service)
		}
		if e, probe := c.choose(v); e != nil {
			c.tries++
			c.target = Target{endpoint: e, probe: probe}
			return &c.target, nil
		}
		if err := c.wait(ctx, v); err != nil {
			return nil, err
		}
		c.failed = nil
	}
}

// choose takes an endpoint that has not failed in this round; a new round does not begin with the last that failed
// while another stands.
func (c *Call) choose(v *view) (*endpoint, bool) {
	now := time.Now()
	if len(c.failed) == 0 && c.last != nil && len(v.endpoints) > 1 {
		if e, probe := v.take(now, []*endpoint{c.last}); e != nil {
			return e, probe
		}
	}
	return v.take(now, c.failed)
}

// First and longest wait before endpoints of which each has failed are asked again.
const (
	backoffFirst   = 10 * time.Millisecond
	backoffLongest = 500 * time.Millisecond
)

// wait waits for another view, or, if there are endpoints and each has failed, for a moment.
func (c *Call) wait(ctx context.Context, v *view) error {
	start := time.Now()
	if c.until.IsZero() {
		c.until = start.Add(c.u.opts.WaitReady)
	}
	left := c.until.Sub(start)
	if left <= 0 {
		return c.notReady()
	}
	if n := c.service.waiting.Add(1); n > int64(c.u.opts.MaxWaiting) {
		c.service.waiting.Add(-1)
		return fault.New(fault.CodeServiceBusy, "too many requests wait for service %q to become ready", c.order.Service).
			Fix("try again in a moment; `atoll ps` and `atoll logs %s` say why it is not ready", c.order.Service)
	}
	defer c.service.waiting.Add(-1)
	if len(v.endpoints) > 0 {
		c.backoff = min(max(2*c.backoff, backoffFirst), backoffLongest)
		left = min(left, c.backoff)
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	defer func() { c.waited += time.Since(start) }()
	select {
	case <-v.changed:
	case <-timer.C:
	case <-ctx.Done():
		if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
			return cause
		}
		return c.notReady()
	}
	return nil
}

func (c *Call) notReady() *fault.Error {
	return fault.New(fault.CodeServiceNotReady, "service %q has no replica that is ready", c.order.Service).
		Fix("try again in a moment; `atoll ps` and `atoll logs %s` say why", c.order.Service)
}

// Retry takes the outcome of a try and tells whether there shall be another, for which Next is asked. Without a
// response the endpoint is given back; with one it is held until End, or given back if there shall be another try.
func (c *Call) Retry(o Outcome) bool {
	again := c.judge(o)
	c.endProbe()
	if again {
		if len(c.failed) < 64 {
			c.failed = append(slices.Clip(c.failed), c.target.endpoint)
		}
		c.last = c.target.endpoint
	}
	if again || o.Err != nil {
		c.giveBack()
	}
	return again
}

// judge counts the outcome for the endpoint's health and decides on another try.
func (c *Call) judge(o Outcome) bool {
	if o.Gone {
		return false
	}
	now := time.Now()
	unavailable := o.Status >= 502 && o.Status <= 504
	if o.Err == nil && !unavailable {
		c.target.endpoint.health.succeed(now)
		return false
	}
	c.countFailure(now, o)
	switch {
	case !o.Replayable:
		return false
	case o.Refused: // Next bounds these in time; they put no load on anybody
		c.tries--
		return true
	case c.tries >= c.order.Tries:
		return false
	case o.Unsent:
		return true
	case !c.order.Idempotent:
		return false
	case unavailable && !c.anotherStands(now):
		return false // the same replica would answer the same
	}
	return c.service.budget.spend(now, c.u.opts.RetryRatio, c.u.opts.RetryFloor)
}

func (c *Call) anotherStands(now time.Time) bool {
	v := c.u.view(c.order.Service)
	return v != nil && v.others(now, append(slices.Clip(c.failed), c.target.endpoint))
}

// countFailure opens the endpoint's breaker if it is time to.
func (c *Call) countFailure(now time.Time, o Outcome) {
	e, v := c.target.endpoint, c.u.view(c.order.Service)
	c.service.opening.Lock()
	opened := e.health.fail(now, func() bool { return v != nil && v.mayOpen(now, e) })
	c.service.opening.Unlock()
	if opened {
		c.u.opts.Logger.Warn("endpoint left out for a while", slog.String("service", e.service),
			slog.String("endpoint", e.id), slog.Int("status", o.Status), slog.Any("error", o.Err))
	}
}

// Broken says that the response of the try that Retry accepted ended before its end.
func (c *Call) Broken(err error) {
	if c.target.endpoint != nil {
		c.countFailure(time.Now(), Outcome{Err: err})
	}
}

// Tries is how many tries there were, without those that could not connect.
func (c *Call) Tries() int { return c.tries }

// Waited is how long the call waited for an endpoint.
func (c *Call) Waited() time.Duration { return c.waited }

// End gives back what the call holds. It may be called more than once.
func (c *Call) End() {
	c.giveBack()
	if !c.ended {
		c.ended = true
		c.service.inFlight.Add(-1)
	}
}

func (c *Call) giveBack() {
	e := c.target.endpoint
	if e == nil {
		return
	}
	c.endProbe()
	c.target = Target{}
	e.release()
}

func (c *Call) endProbe() {
	if c.target.probe {
		c.target.probe = false
		c.target.endpoint.health.probing.Store(false)
	}
}
