package relay

import (
	"context"
	"net"
)

// Connect opens a connection to an endpoint of a service, for protocols of which the relay knows nothing. It waits
// for an endpoint as a request does. The connection counts as a request in flight until the Call's End.
func (u *Upstreams) Connect(ctx context.Context, service string) (net.Conn, *Call, error) {
	call, err := u.Begin(Order{Service: service})
	if err != nil {
		return nil, nil, err
	}
	for {
		target, err := call.Next(ctx)
		if err != nil {
			call.End()
			return nil, nil, err
		}
		conn, err := target.Dial(ctx)
		if err == nil {
			call.Retry(Outcome{Status: 200})
			return conn, call, nil
		}
		call.Retry(Outcome{Err: err, Refused: true, Replayable: true})
	}
}

// Endpoint is the endpoint that the call holds, or tried last.
func (c *Call) Endpoint() (id, version string) {
	switch {
	case c.target.endpoint != nil:
		return c.target.endpoint.id, c.target.endpoint.version
	case c.last != nil:
		return c.last.id, c.last.version
	}
	return "", ""
}
