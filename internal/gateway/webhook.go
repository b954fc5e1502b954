package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
)

// Verifier tells who signed a request. It is safe for concurrent use.
type Verifier interface {
	// Verify tells whether the header proves the body. A refusal is a *fault.Error.
	Verify(h relay.Header, body []byte) error
	// Delivery names a verified delivery: one that is sent again has the same id. The kind is what it tells of, or "".
	Delivery(h relay.Header, body []byte) (id, kind string)
}

// Publisher takes what arrives on routes that publish. It is safe for concurrent use.
type Publisher interface {
	// Publish returns the event's id once the event is durable, or the reply that says why it is not. It is bounded by ctx.
	Publish(ctx context.Context, m Message) (id string, refusal *relay.Reply)
}

// Message is a request that shall become an event.
type Message struct {
	Topic       string
	Source      string // of the event: "/webhooks" or "/routes", and the route's path as the manifest has it
	ID          string // the same for a delivery that is sent again; "" for a request that is not verified, which has none
	Kind        string // what the sender of a webhook says that it tells of, such as invoice.paid, or ""
	ContentType string // of the body, or ""
	Subject     string // who the client proved to be by one of the route's ways, or ""
	Trace       relay.Trace
	Body        []byte // not to be changed
}

// compileWebhook makes the verifier of a route.
func (c *compiler) compileWebhook(m *manifest.Route) Verifier {
	if m.Webhook == nil {
		return nil
	}
	if c.g.opts.Webhook == nil {
		c.fail(m.At, fault.New(fault.CodeGatewayWebhook, "route %s wants a signature, which cannot be verified here", m.Path).
			Fix("take the key webhook away"))
		return nil
	}
	secret, ok := c.secrets(m.Webhook.Secret)
	if !ok {
		c.fail(m.At, fault.New(fault.CodeGatewayWebhook, "route %s: there is no secret %q", m.Path, m.Webhook.Secret).
			Fix("put a line %s=… into .env, or set that environment variable", manifest.SecretVariable(m.Webhook.Secret)))
		return nil
	}
	v, err := c.g.opts.Webhook(*m.Webhook, secret)
	if err != nil {
		c.fail(m.At, asSettings(m, err))
		return nil
	}
	return v
}

// asSettings says what of a route's webhook cannot be.
func asSettings(m *manifest.Route, err error) *fault.Error {
	e := fault.New(fault.CodeGatewayWebhook, "route %s: its signature cannot be verified", m.Path).Because(err)
	if f, ok := errors.AsType[*fault.Error](err); ok {
		e = fault.New(fault.CodeGatewayWebhook, "route %s: %s", m.Path, f.Text).Fix("%s", f.Remedy).Because(f.Cause)
	}
	return e
}

// compilePublish checks that a route may publish.
func (c *compiler) compilePublish(m *manifest.Route) {
	if m.Publish != "" && c.g.opts.Publisher == nil {
		c.fail(m.At, fault.New(fault.CodeGatewayRoute, "route %s publishes, and there is nothing that takes events here", m.Path).
			Fix("let it go to a service: to: NAME"))
	}
}

// methods are those that a route takes: what it publishes must have a body.
func methods(m *manifest.Route) []string {
	if m.To == "" && len(m.Methods) == 0 {
		return []string{http.MethodPost}
	}
	return upper(m.Methods)
}

// takeBody is what the gateway does with the whole body of a request, or nil if it need not see it.
func (v *visit) takeBody() func(ctx context.Context, body []byte) *relay.Reply {
	rt := v.route
	if rt.verifier == nil && rt.publish == "" && rt.start == "" {
		return nil
	}
	return func(ctx context.Context, body []byte) *relay.Reply {
		m := Message{
			Topic: rt.publish, Source: "/routes" + rt.path, ContentType: v.r.Header.Get("Content-Type"),
			Subject: v.who.subject, Trace: v.r.Trace, Body: body,
		}
		if rt.verifier != nil {
			if err := rt.verifier.Verify(v.r.Header, body); err != nil {
				return relay.Refuse(http.StatusUnauthorized, asFault(err), relay.Field{Name: "WWW-Authenticate", Value: "Webhook"})
			}
			m.Source = "/webhooks" + rt.path
			m.ID, m.Kind = rt.verifier.Delivery(v.r.Header, body)
		}
		switch {
		case rt.publish != "":
			return v.publish(ctx, m)
		case rt.start != "":
			return v.start(ctx, m)
		}
		return nil
	}
}

// publish makes an event of a request, and answers it. What comes is the data of an event: whole events, which name
// themselves, are not taken, since the name of an event is not the client's to choose.
func (v *visit) publish(ctx context.Context, m Message) *relay.Reply {
	if strings.HasPrefix(strings.ToLower(strings.TrimSpace(m.ContentType)), "application/cloudevents") {
		return relay.Refuse(http.StatusUnsupportedMediaType,
			fault.New(fault.CodeEventInvalid, "this path makes an event of what it is sent, and takes no %.100s", m.ContentType).
				Fix("send the data of the event alone, with the Content-Type that they have, such as application/json"))
	}
	id, refusal := v.g.opts.Publisher.Publish(ctx, m)
	if refusal != nil {
		return refusal
	}
	body, err := json.Marshal(struct {
		ID string `json:"id"`
	}{cmp.Or(id, m.ID)})
	if err != nil {
		panic("gateway: a string does not marshal: " + err.Error())
	}
	return &relay.Reply{
		Status: http.StatusAccepted, Body: append(body, '\n'),
		Header: []relay.Field{{Name: "Content-Type", Value: "application/json"}, {Name: "Cache-Control", Value: "no-store"}},
	}
}
