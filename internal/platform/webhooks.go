package platform

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/cloudevents"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/webhook"
)

// The limits of one webhook's subscription: there may be a thousand of them.
const (
	hookConcurrency = 8
	hookRoom        = 1000
	hookRoomBytes   = 4 << 20
	noteTimeout     = 5 * time.Second
)

// hooks sends events to parties outside: a subscription of the bus for each endpoint of the registry.
type hooks struct {
	hooksOptions
	registry *webhook.Registry
	sender   *webhook.Sender

	dirty    chan struct{} // holds one: endpoints are others than the bus was told
	stop     context.CancelFunc
	watching sync.WaitGroup
}

// hooksOptions are what hooks are made of. All are needed.
type hooksOptions struct {
	store   webhook.Store
	bus     *bus.Bus
	changed func(ctx context.Context) error // tells the bus of endpoints that are others now
	warn    func(*fault.Error)
	log     *slog.Logger
}

// openHooks reads the endpoints. What it starts ends by close.
func openHooks(ctx context.Context, o hooksOptions) (*hooks, error) {
	h := &hooks{hooksOptions: o, sender: webhook.NewSender(nil), dirty: make(chan struct{}, 1)}
	registry, err := webhook.OpenRegistry(ctx, o.store, &webhook.RegistryOptions{OnChange: func(string) {
		select {
		case h.dirty <- struct{}{}:
		default:
		}
	}})
	if err != nil {
		return nil, err
	}
	h.registry = registry
	ctx, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	h.watching.Go(func() { h.watch(ctx) })
	return h, nil
}

// watch tells the bus of changes until ctx ends: an endpoint may be disabled by its own receiver.
func (h *hooks) watch(ctx context.Context) {
	for {
		select {
		case <-h.dirty:
		case <-ctx.Done():
			return
		}
		if err := h.changed(ctx); err != nil && ctx.Err() == nil {
			h.log.Error("change of webhooks not in force until the next one", "error", err)
		}
	}
}

// close ends the watching. Deliveries go on until the bus ends.
func (h *hooks) close() {
	h.stop()
	h.watching.Wait()
}

// hookPrefix begins the names of webhooks' subscriptions.
const hookPrefix = "webhook/"

// subscriptions is what the bus is told of all endpoints. Those that are disabled keep their place and get nothing.
func (h *hooks) subscriptions(app *manifest.App) []bus.Subscription {
	var out []bus.Subscription
	for _, e := range h.registry.List() {
		sub := bus.Subscription{
			Name: hookPrefix + e.ID, Deliver: receiver{h, e.ID}, Paused: e.State != webhook.StateActive,
			Policy: bus.Policy{Concurrency: hookConcurrency, Room: hookRoom, RoomBytes: hookRoomBytes, Wait: hookWait},
			Filter: func(event *bus.Event) bool { return e.Wants(event.Topic, attributeOf(event)) },
		}
		for _, t := range app.Topics() {
			if (webhook.Endpoint{Topics: e.Topics}).Wants(t.Name, nil) {
				sub.Topics = append(sub.Topics, t.Name)
			}
		}
		out = append(out, sub)
	}
	return out
}

// hookWait is how long a message waits that could not be sent.
func hookWait(failed int, first, now time.Time, asked time.Duration) (wait time.Duration, giveUp bool) {
	at, giveUp := webhook.Next(failed, first, now, asked)
	return at.Sub(now), giveUp
}

// attributeOf finds attributes of CloudEvents by their names.
func attributeOf(e *bus.Event) func(name string) string {
	return func(name string) string {
		switch name {
		case "id":
			return e.ID
		case "source":
			return e.Source
		case "type":
			return e.Type
		case "subject":
			return e.Subject
		case "datacontenttype":
			return e.DataType
		case "dataschema":
			return e.DataSchema
		}
		return e.Extension(name)
	}
}

// receiver is one endpoint as the bus delivers to it.
type receiver struct {
	h  *hooks
	id string
}

// Deliver implements bus.Deliverer.
func (r receiver) Deliver(ctx context.Context, d bus.Delivery) bus.Outcome {
	endpoint, err := r.h.registry.Get(r.id)
	if err != nil || endpoint.State != webhook.StateActive {
		return bus.Outcome{Verdict: bus.Unreachable, Text: "the webhook is disabled"} // and soon paused or gone
	}
	result := r.h.sender.Send(ctx, endpoint, messageOf(d))
	if result.Class == webhook.ClassAborted {
		return bus.Outcome{Verdict: bus.Aborted}
	}
	r.note(context.WithoutCancel(ctx), d, result)
	return outcomeOf(result)
}

// messageOf is what a party outside is told: the event without what Atoll has noted on it for itself.
func messageOf(d bus.Delivery) webhook.Message {
	e := d.Event.Clone()
	for _, a := range d.Event.Extensions {
		if strings.HasPrefix(a.Name, "atoll") {
			e.SetExtension(a.Name, "")
		}
	}
	return webhook.Message{
		ID: webhook.MessageID(e.Source, e.ID), Timestamp: time.Now(), Body: cloudevents.Marshal(e), Topic: e.Topic, Attempt: d.Attempt,
	}
}

// outcomeOf is what a try means for the event.
func outcomeOf(r webhook.Result) bus.Outcome {
	o := bus.Outcome{Status: r.Status, Text: resultText(r), After: r.RetryAfter}
	switch webhook.Judge(r) {
	case webhook.VerdictDone:
		o.Verdict = bus.Accepted
	case webhook.VerdictGone:
		o.Verdict = bus.Unreachable // the endpoint is disabled now, and the event waits for it
	case webhook.VerdictRetry:
		o.Verdict = bus.Failed
	}
	return o
}

// resultText is what came of a try in a few words that may be shown to whoever made the webhook.
func resultText(r webhook.Result) string {
	switch r.Class {
	case webhook.ClassNone:
		return ""
	case webhook.ClassStatus:
		return firstLine(r.Answer)
	case webhook.ClassTimeout:
		return "no answer in time"
	case webhook.ClassAddress:
		return "the host has no address that webhooks go to"
	case webhook.ClassDNS:
		return "the host's name could not be resolved"
	case webhook.ClassConnect:
		return "no connection"
	case webhook.ClassTLS:
		return "the host could not prove who it is"
	case webhook.ClassBroken:
		return "the connection ended without an answer"
	case webhook.ClassInvalid, webhook.ClassAborted:
	}
	return "it could not be sent"
}

// deliveryDoc is what is kept of one try.
type deliveryDoc struct {
	Message string        `json:"message"`
	Origin  bus.Offset    `json:"origin"` // in the stream of events
	EventID string        `json:"event_id"`
	Topic   string        `json:"topic"`
	Attempt int           `json:"attempt"`
	Status  int           `json:"status,omitempty"`
	Took    time.Duration `json:"took"`
	Class   string        `json:"class,omitempty"`
	Text    string        `json:"text,omitempty"`
	Answer  string        `json:"answer,omitempty"`
}

const deliveryType = "atoll.webhook.delivery"

// note keeps what came of a try, and disables the endpoint if that is what it means.
func (r receiver) note(ctx context.Context, d bus.Delivery, result webhook.Result) {
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	doc, err := json.Marshal(deliveryDoc{
		Message: webhook.MessageID(d.Event.Source, d.Event.ID), Origin: d.Offset, EventID: d.Event.ID, Topic: d.Event.Topic, Attempt: d.Attempt,
		Status: result.Status, Took: result.Duration, Class: string(result.Class), Text: resultText(result),
		Answer: strings.ToValidUTF8(string(result.Answer), "\uFFFD"),
	})
	if err == nil {
		err = r.h.bus.NoteDelivery(ctx, &bus.Event{
			Topic: hookPrefix + r.id, ID: bus.NewID(), Source: "/webhooks/" + r.id, Type: deliveryType, Time: result.At.UTC(),
			DataType: "application/json", Data: doc,
		})
	}
	if err != nil {
		r.h.log.Error("delivery to webhook not noted", "webhook", r.id, "error", err)
	}
	if result.Err != nil {
		r.h.log.Info("webhook not delivered", "webhook", r.id, "class", result.Class, "error", result.Err)
	}
	notice, err := r.h.registry.Record(ctx, r.id, result)
	if err != nil {
		r.h.log.Error("state of webhook not kept", "webhook", r.id, "error", err)
	}
	if notice != nil {
		r.h.warn(notice)
	}
}

// checkTopics refuses a topic that does not exist; patterns may stand for those to come.
func checkTopics(app *manifest.App, topics []string) error {
	var known []string
	for _, t := range app.Topics() {
		known = append(known, t.Name)
	}
	for _, topic := range topics {
		if strings.Contains(topic, "*") || slices.Contains(known, topic) {
			continue
		}
		return fault.New(fault.CodeTopicUnknown, "there is no topic %q", topic).
			Fix("the topics are %s", cmp.Or(strings.Join(known, ", "), "none"))
	}
	return nil
}

// readDelivery is a record of the stream of deliveries.
func readDelivery(r bus.Record) (deliveryDoc, error) {
	var doc deliveryDoc
	if err := json.Unmarshal(r.Event.Data, &doc); err != nil {
		return doc, fmt.Errorf("read delivery %d: %w", r.Offset, err)
	}
	return doc, nil
}
