package platform

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/cloudevents"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/gateway"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/webhook"
)

// verifier verifies the webhooks of one route.
type verifier struct{ *webhook.Keys }

// newVerifier makes what verifies the webhooks of a route.
func newVerifier(m manifest.Webhook, secret string) (gateway.Verifier, error) {
	keys, err := webhook.NewKeys(webhook.Settings{
		Scheme: webhook.Scheme(m.Scheme), Secret: secret, Tolerance: m.Tolerance.Std(), Header: m.Header, Prefix: m.Prefix,
		Encoding: webhook.Encoding(m.Encoding),
	})
	if err != nil {
		return nil, err
	}
	return verifier{keys}, nil
}

// Verify implements gateway.Verifier.
func (v verifier) Verify(h relay.Header, body []byte) error {
	return v.Keys.Verify(time.Now(), h, body)
}

// Delivery implements gateway.Verifier.
func (v verifier) Delivery(h relay.Header, body []byte) (id, kind string) {
	return v.Keys.Delivery(h, body)
}

// inbound makes events of what arrives on routes that publish.
type inbound struct {
	bus *eventBus
	log *slog.Logger
}

// origin stands in the place of a publishing service.
const origin = "gateway"

// Publish implements gateway.Publisher.
func (i inbound) Publish(ctx context.Context, m gateway.Message) (string, *relay.Reply) {
	e := &bus.Event{
		Topic: m.Topic, ID: m.ID, Source: m.Source, Type: cmp.Or(m.Kind, m.Topic), Subject: m.Subject, Time: time.Now().UTC(), DataType: m.ContentType, Data: m.Body,
	}
	if e.ID == "" {
		e.ID = bus.NewID()
	}
	e.SetExtension(bus.AttributeTrace, m.Trace.Traceparent())
	b := i.bus.current()
	if b == nil {
		return "", relay.Refuse(503, fault.New(fault.CodeBusBusy, "the event bus is not there yet").Fix("try again in a moment"))
	}
	_, err := b.PublishFrom(ctx, origin, m.Topic, []*bus.Event{e})
	if err == nil {
		return e.ID, nil
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return "", relay.Refuse(cloudevents.StatusOf(f.Code), f)
	}
	i.log.Error("event of a route not published", "topic", m.Topic, "error", err)
	return "", relay.Refuse(503, fault.New(fault.CodeBusUnsure, "it is not known whether the event was kept").Fix("send it again: it keeps its id"))
}
