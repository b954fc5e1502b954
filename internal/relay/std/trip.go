package std

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/relay"
)

// tripper sends a request to one endpoint after the other until one answers or the Call says stop.
type tripper struct{}

// RoundTrip implements http.RoundTripper.
func (tripper) RoundTrip(out *http.Request) (*http.Response, error) {
	x := exchangeOf(out.Context())
	d := &x.decision
	call, err := x.h.conf.Upstreams.Begin(relay.Order{Service: d.Service, Tries: d.Tries, Idempotent: d.Idempotent})
	if err != nil {
		return nil, err
	}
	x.call = call
	var deadline time.Time
	timer := &timer{}
	if d.Timeout > 0 {
		deadline = time.Now().Add(d.Timeout)
		timer = startTimer(d.Timeout, func() { x.cancel(errTimeout) })
	}
	res, err := x.tries(out, deadline)
	if !timer.stop() && err == nil {
		_ = res.Body.Close()
		return nil, errTimeout
	}
	if err != nil {
		return nil, x.explain(out.Context(), err)
	}
	return res, nil
}

// tries is the loop of tries.
func (x *exchange) tries(out *http.Request, deadline time.Time) (*http.Response, error) {
	for {
		target, err := x.call.Next(out.Context())
		if err != nil {
			return nil, err
		}
		t := x.newTry(out, target, deadline)
		res, err := t.run()
		outcome := t.outcome(res, err, context.Cause(t.out.Context())) //nolint:contextcheck // the try's own context tells how it ended
		if !x.call.Retry(outcome) {
			if err != nil {
				t.cancel(context.Canceled)
			}
			return res, err
		}
		if res != nil {
			_ = res.Body.Close()
		}
		t.cancel(context.Canceled)
	}
}

// try is one request to one endpoint.
type try struct {
	x       *exchange
	pool    *pool
	out     *http.Request
	cancel  context.CancelCauseFunc
	conn    atomic.Pointer[countedConn]
	written int64       // on conn before the try
	h2sent  atomic.Bool // the head was written on a connection that others share
}

// newTry makes the request for one try. Tries before it may still be reading theirs, so nothing is shared but what
// is only read.
func (x *exchange) newTry(out *http.Request, target *relay.Target, deadline time.Time) *try {
	p, ok := target.Pool().(*pool)
	if !ok {
		panic("relay/std: an endpoint with another driver's pool")
	}
	t := &try{x: x, pool: p}
	ctx, cancel := context.WithCancelCause(out.Context())
	t.cancel = cancel
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      t.gotConn,
		WroteHeaders: func() { t.h2sent.Store(true) },
	})
	t.out = out.WithContext(ctx)
	t.out.Header = out.Header.Clone()
	t.out.Trailer = out.Trailer.Clone()
	if !deadline.IsZero() {
		left := max(time.Until(deadline).Milliseconds(), 1)
		t.out.Header.Set(relay.DeadlineHeader, strconv.FormatInt(left, 10))
	}
	if x.body != nil {
		r := x.body.open(t.out)
		t.out.Body = r
		context.AfterFunc(ctx, func() { // the transport would wait for a read that waits for the client
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				r.giveUp()
			}
		})
	} else {
		t.out.Body = nil
	}
	return t
}

// gotConn is told of the connection on which the request will be written. The transport sends some requests again of
// its own accord; after something was written that is for the Call alone to decide, so such a connection is closed
// before it is used. Of HTTP/2 the transport sends again only what the service says that it did not process.
func (t *try) gotConn(info httptrace.GotConnInfo) {
	c, ok := info.Conn.(*countedConn)
	if !ok {
		return
	}
	if t.pool.transport.Protocols.HTTP1() && t.conn.Load() != nil && !t.unsent() {
		t.cancel(errNoAnswer)
		_ = c.Close()
		return
	}
	t.written = c.written.Load()
	t.conn.Store(c)
}

// run sends the request and returns once the response has begun.
func (t *try) run() (*http.Response, error) {
	timer := &timer{}
	if d := t.x.decision.TryTimeout; d > 0 {
		timer = startTimer(d, func() { t.cancel(errTryTimeout) })
	}
	res, err := t.pool.transport.RoundTrip(t.out)
	inTime := timer.stop()
	switch {
	case err != nil && !inTime:
		return nil, errors.Join(errTryTimeout, err)
	case err != nil:
		return nil, err
	case !inTime:
		_ = res.Body.Close()
		return nil, errTryTimeout
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		if !sameUpgrade(t.out.Header, res.Header) {
			_ = res.Body.Close() // the proxy would refuse it and leave the connection open
			return nil, errUnasked
		}
	} else {
		res.Body = &watched{ReadCloser: res.Body}
	}
	return res, nil
}

// outcome says how the try ended, in the relay's terms. The cause is why its context ended, or nil.
func (t *try) outcome(res *http.Response, err, cause error) relay.Outcome {
	body := t.x.body
	if err == nil {
		return relay.Outcome{Status: res.StatusCode, Replayable: body.replayable()}
	}
	o := relay.Outcome{Err: err, Replayable: body.replayable()}
	_, o.Refused = errors.AsType[*errRefused](err)
	o.Unsent = !o.Refused && t.unsent()
	if cause != nil && !errors.Is(cause, errTryTimeout) && !errors.Is(cause, errNoAnswer) {
		o.Refused, o.Unsent, o.Replayable = false, false, false
		o.Gone = !errors.Is(cause, errTimeout)
	}
	o.Gone = o.Gone || body.clientError() != nil
	return o
}

// unsent tells whether nothing of the request went out.
func (t *try) unsent() bool {
	conn := t.conn.Load()
	if conn == nil {
		return true
	}
	if t.pool.transport.Protocols.HTTP1() {
		return conn.written.Load() == t.written
	}
	return !t.h2sent.Load()
}

// explain says why there is no response, by what the exchange knows of it.
func (x *exchange) explain(ctx context.Context, err error) error {
	if e := x.body.clientError(); e != nil {
		if errors.Is(e, errBodyTooLarge) || errors.Is(e, errClientStalls) || errors.Is(e, errClientLate) {
			return e
		}
		if ctx.Err() != nil || errors.Is(e, io.ErrUnexpectedEOF) {
			return errors.Join(errClientGone, e)
		}
		return errors.Join(errClientBody, e)
	}
	_, isFault := errors.AsType[*fault.Error](err)
	switch cause := context.Cause(ctx); {
	case cause == nil, isFault:
		return err
	case errors.Is(cause, errTimeout):
		return errTimeout
	}
	return errors.Join(errClientGone, err)
}

// timer runs a function after a time unless it is stopped. The zero value never runs.
type timer struct{ t *time.Timer }

func startTimer(d time.Duration, f func()) *timer { return &timer{time.AfterFunc(d, f)} }

// stop tells whether it came before the function ran.
func (t *timer) stop() bool { return t.t == nil || t.t.Stop() }
