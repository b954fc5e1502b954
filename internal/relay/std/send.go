package std

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/atollhq/atoll/internal/relay"
)

// Answer is a service's answer to a request of Atoll's own.
type Answer struct {
	Status   int
	Header   http.Header
	Body     []byte // its beginning, at most what was asked for
	Endpoint string // the replica that answered, or was tried last
}

// Send sends a request of Atoll's own to one replica of a service, once, and reads the answer. With an error, sent tells whether
// the service may have seen the request.
func Send(ctx context.Context, up *relay.Upstreams, service string, req *http.Request, maxBody int64) (a Answer, sent bool, err error) {
	call, err := up.Begin(relay.Order{Service: service, Tries: 1})
	if err != nil {
		return a, false, err
	}
	defer call.End()
	target, err := call.Next(ctx)
	if err != nil {
		return a, false, err
	}
	a.Endpoint = target.ID()
	p, ok := target.Pool().(*pool)
	if !ok {
		panic("relay/std: an endpoint with another driver's pool")
	}
	// The transport sends a request again by itself that broke on a connection that was kept, if it has no body or an Idempotency-Key.
	// That nobody is there for the second says nothing about the first.
	var wrote atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }})
	res, err := p.transport.RoundTrip(req.WithContext(traced))
	if err != nil {
		_, refused := errors.AsType[*errRefused](err)
		refused = refused && !wrote.Load()
		call.Retry(relay.Outcome{Err: err, Refused: refused, Gone: errors.Is(context.Cause(ctx), context.Canceled)})
		return a, !refused, err
	}
	defer res.Body.Close()
	call.Retry(relay.Outcome{Status: res.StatusCode})
	a.Status, a.Header = res.StatusCode, res.Header
	a.Body, err = io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err == nil && int64(len(a.Body)) == maxBody {
		return a, true, nil // the rest is of no interest; closing the body ends the connection
	}
	return a, true, err
}
