package gateway

import (
	"context"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
)

// Starter starts sagas with what arrives on routes that start. It is safe for concurrent use.
type Starter interface {
	// Start returns what the client is answered: once the instance is durable, or once it has ended if the client prefers to wait, or
	// why there is none. It is bounded by ctx.
	Start(ctx context.Context, s Opening) *relay.Reply
}

// Opening is a request that shall start a saga.
type Opening struct {
	Message        // Topic is ""
	Saga    string // which one
	Key     string // the client's Idempotency-Key, or the delivery's of a webhook, or ""
	Prefer  string // the client's header Prefer
}

// compileStart checks that a route may start a saga.
func (c *compiler) compileStart(m *manifest.Route) {
	if c.g.opts.Starter == nil {
		c.fail(m.At, fault.New(fault.CodeGatewayRoute, "route %s starts a saga, and there is nothing that runs sagas here", m.Path).
			Fix("let it go to a service: to: NAME"))
	}
}

// start starts a saga with a request, and answers it.
func (v *visit) start(ctx context.Context, m Message) *relay.Reply {
	o := Opening{Message: m, Saga: v.route.start, Key: v.r.Header.Get("Idempotency-Key"), Prefer: v.r.Header.Get("Prefer")}
	if m.ID != "" {
		o.Key = "webhook " + m.ID // signed, where the header is not
	}
	return v.g.opts.Starter.Start(ctx, o)
}
