package platform

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/cloudevents"
	"github.com/atollhq/atoll/internal/bus/contract"
	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

// operatorOrigin stands in the place of a publishing service, operatorSource is where such events come from.
const (
	operatorOrigin = "operator"
	operatorSource = "/operator"
)

// countRounds bounds how many events a replay counts beforehand, in thousands.
const countRounds = 100

// needBus is the bus, or why there is none.
func (p *Platform) needBus() (*bus.Bus, error) {
	if b := p.bus.current(); b != nil {
		return b, nil
	}
	return nil, fault.New(fault.CodeTopicUnknown, "the application has no topics").
		Fix("write `publishes: [order.placed]` into a service.yaml")
}

// Bus says how the events between services stand.
func (p *Platform) Bus(ctx context.Context) (api.Bus, error) {
	out := api.Bus{Topics: []api.Topic{}, Subscriptions: []api.Subscription{}}
	b := p.bus.current()
	if b == nil {
		return out, nil
	}
	var err error
	if out.Log, err = eventLog(ctx, b); err != nil {
		return out, err
	}
	dead, err := b.Bounds(ctx, bus.StreamDead)
	if err != nil {
		return out, err
	}
	kept, err := b.DeadKept(ctx)
	if err != nil {
		return out, err
	}
	out.Dead, out.Delayed = dead.Records, b.Delayed()
	out.Topics = topicsOf(b, p.current())
	failing := p.failingHooks()
	for _, s := range b.Subscriptions() {
		sub := subscriptionOf(s, kept[s.Name])
		if failing[s.Name] && sub.State == api.SubscriptionDelivering {
			sub.State = api.SubscriptionFailing
		}
		out.Subscriptions = append(out.Subscriptions, sub)
	}
	return out, nil
}

// failingHooks are the subscriptions of webhooks to which the last try failed.
func (p *Platform) failingHooks() map[string]bool {
	out := map[string]bool{}
	if h := p.bus.webhooks(); h != nil {
		for _, e := range h.registry.List() {
			out[hookPrefix+e.ID] = !e.Failing.IsZero()
		}
	}
	return out
}

func eventLog(ctx context.Context, b *bus.Bus) (api.EventLog, error) {
	bounds, err := b.Bounds(ctx, bus.StreamEvents)
	if err != nil {
		return api.EventLog{}, err
	}
	out := api.EventLog{First: uint64(bounds.First), Next: uint64(bounds.Next), Events: bounds.Records, Bytes: bounds.Bytes}
	first, _, err := b.Find(ctx, bus.StreamEvents, bounds.First, 1, nil)
	if len(first) > 0 {
		out.Oldest = first[0].Stored
	}
	return out, err
}

func topicsOf(b *bus.Bus, app *manifest.App) []api.Topic {
	out := []api.Topic{}
	declared := app.Topics()
	for _, t := range b.Topics() {
		topic := api.Topic{
			Topic: t.Name, Publishers: orEmpty(t.Publishers), Subscribers: []string{}, Schema: t.Contract, Published: t.Published, Rate: t.Rate,
		}
		if i := slices.IndexFunc(declared, func(d manifest.Topic) bool { return d.Name == t.Name }); i >= 0 {
			topic.Summary, topic.Subscribers = declared[i].Summary, orEmpty(declared[i].Subscribers)
			if len(declared[i].Routes) > 0 {
				topic.Publishers = append(topic.Publishers, origin)
			}
		}
		out = append(out, topic)
	}
	return out
}

func subscriptionOf(s bus.SubscriptionInfo, dead uint64) api.Subscription {
	state := api.SubscriptionDelivering
	switch {
	case s.Paused:
		state = api.SubscriptionPaused
	case s.Unreachable:
		state = api.SubscriptionUnreachable
	case s.Full:
		state = api.SubscriptionFull
	}
	return api.Subscription{
		Subscription: s.Name, Topics: orEmpty(s.Topics), State: state, Waiting: s.Waiting, Oldest: s.Oldest, InFlight: s.Flying, Failing: s.Failing,
		Rate: s.Rate, Accepted: s.Accepted, Attempts: s.Accepted + s.Failed, Failed: s.Failed, Died: s.Dead, Dead: dead,
	}
}

// storedEvent is what the API says of a record.
func storedEvent(r bus.Record) api.StoredEvent {
	due, _ := time.Parse(time.RFC3339Nano, r.Event.Extension(bus.AttributeDeliverAt)) // zero for most
	return api.StoredEvent{
		Offset: uint64(r.Offset), Topic: r.Event.Topic, Stored: r.Stored, Publisher: r.Event.Extension(bus.AttributePublisher),
		Key: r.Event.Key(), Only: r.Event.Extension(bus.AttributeOnly), Due: due, Event: plain(r.Event),
	}
}

// plain is an event in JSON without what Atoll has noted on it for itself.
func plain(e *bus.Event) []byte { return cloudevents.Marshal(withoutOwn(e)) }

func withoutOwn(e *bus.Event) *bus.Event {
	out := e.Clone()
	out.Extensions = slices.DeleteFunc(out.Extensions, func(a bus.Attribute) bool { return strings.HasPrefix(a.Name, "atoll") })
	return out
}

// matching is what a query wants of an event.
func matching(q *api.EventQuery) func(*bus.Event) bool {
	return func(e *bus.Event) bool {
		prefix, pattern := strings.CutSuffix(q.Topic, "*")
		topic := q.Topic == "" || q.Topic == e.Topic || pattern && strings.HasPrefix(e.Topic, prefix)
		return topic && (q.Type == "" || q.Type == e.Type) && (q.Key == "" || q.Key == e.Key()) && (q.ID == "" || q.ID == e.ID) &&
			strings.Contains(e.Source, q.Source)
	}
}

// StoredEvents calls yield with the events that a query chooses, and those that come where it follows.
func (p *Platform) StoredEvents(ctx context.Context, q *api.EventQuery, yield func(*api.StoredEvent) error) error {
	b := p.bus.current()
	if b == nil {
		return nil
	}
	match, left := matching(q), q.Limit
	from, err := first(ctx, b, q)
	if err != nil {
		return err
	}
	say := func(records []bus.Record) (done bool, err error) {
		for _, r := range records {
			e := storedEvent(r)
			if err := yield(&e); err != nil {
				return true, err
			}
			if left--; left == 0 {
				return true, nil
			}
		}
		return false, nil
	}
	if q.Last > 0 && q.From == 0 && q.Since.IsZero() {
		from, _ = b.Grown()
		if q.Before > 0 {
			from = min(from, bus.Offset(q.Before))
		}
		records, err := b.Newest(ctx, bus.StreamEvents, from, q.Last, match)
		if err != nil {
			return err
		}
		if done, err := say(records); done || !q.Follow {
			return err
		}
	}
	return follow(ctx, b, from, q.Follow, match, say)
}

// first is the offset at which a query begins.
func first(ctx context.Context, b *bus.Bus, q *api.EventQuery) (bus.Offset, error) {
	if q.Since.IsZero() {
		return max(1, bus.Offset(q.From)), nil
	}
	at, err := b.OffsetAt(ctx, q.Since)
	return max(at, bus.Offset(q.From)), err
}

// follow says what there is from an offset on, and what comes if it goes on.
func follow(
	ctx context.Context, b *bus.Bus, from bus.Offset, goOn bool, match func(*bus.Event) bool, say func([]bus.Record) (bool, error),
) error {
	for {
		end, grown := b.Grown()
		for from < end {
			records, next, err := b.Find(ctx, bus.StreamEvents, from, 100, match)
			if err != nil {
				return err
			}
			if done, err := say(records); done {
				return err
			}
			if next == from {
				break
			}
			from = next
		}
		if !goOn {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil
		}
	}
}

// StoredEvent is one event that is kept.
func (p *Platform) StoredEvent(ctx context.Context, offset uint64) (api.StoredEvent, error) {
	b, err := p.needBus()
	if err != nil {
		return api.StoredEvent{}, err
	}
	r, err := b.Get(ctx, bus.StreamEvents, bus.Offset(offset))
	if err != nil {
		return api.StoredEvent{}, err
	}
	return storedEvent(r), nil
}

// PublishEvents publishes for an operator.
func (p *Platform) PublishEvents(ctx context.Context, topic string, h http.Header, body []byte) ([]api.Published, error) {
	b, err := p.needBus()
	if err != nil {
		return nil, err
	}
	h = h.Clone()
	if h.Get("Ce-Specversion") == "" && h.Get("Ce-Source") == "" {
		h.Set("Ce-Source", operatorSource)
	}
	events, err := cloudevents.Decode(topic, operatorOrigin, h, body, time.Now())
	if err != nil {
		return nil, err
	}
	out := []api.Published{}
	if len(events) == 0 {
		return out, nil
	}
	receipts, err := b.PublishFrom(ctx, operatorOrigin, topic, events)
	if _, told := errors.AsType[*fault.Error](err); err != nil && !told {
		p.log.Error("event of an operator not published", "topic", topic, "error", err)
		return nil, fault.New(fault.CodeBusUnsure, "it is not known whether the event was kept").
			Fix("look with atoll events tail %s, or publish it again under the same id", topic)
	}
	for _, r := range receipts {
		out = append(out, api.Published{ID: r.ID, Offset: uint64(r.Offset), Due: r.Delayed})
	}
	return out, err
}

// ReplayEvents delivers events to one subscription again.
func (p *Platform) ReplayEvents(ctx context.Context, r api.Replay) (api.Replayed, error) {
	b, err := p.needBus()
	if err != nil {
		return api.Replayed{}, err
	}
	from := bus.Offset(r.Offset)
	switch {
	case (r.Offset == 0) == r.Time.IsZero():
		return api.Replayed{}, fault.New(fault.CodeBadRequest, "it is not said from where").Fix("name either an offset or a time")
	case !r.Time.IsZero():
		if from, err = b.OffsetAt(ctx, r.Time); err != nil {
			return api.Replayed{}, err
		}
	}
	out, err := countReplay(ctx, b, r.Subscription, from)
	if err != nil || r.DryRun {
		return out, err
	}
	_, err = b.Replay(ctx, r.Subscription, bus.Offset(out.From))
	return out, err
}

// countReplay says what a replay would bring.
func countReplay(ctx context.Context, b *bus.Bus, subscription string, from bus.Offset) (api.Replayed, error) {
	list := b.Subscriptions()
	at := slices.IndexFunc(list, func(s bus.SubscriptionInfo) bool { return s.Name == subscription })
	if at < 0 {
		_, err := b.Replay(ctx, subscription, from) // which says what there is
		return api.Replayed{}, err
	}
	bounds, err := b.Bounds(ctx, bus.StreamEvents)
	if err != nil {
		return api.Replayed{}, err
	}
	if from > bounds.Next {
		return api.Replayed{}, fault.New(fault.CodeOffsetGone, "there is no offset %d yet", from).Fix("the next event gets %d", bounds.Next)
	}
	from = max(from, bounds.First)
	out := api.Replayed{From: uint64(from)}
	for range countRounds {
		records, next, err := b.Find(ctx, bus.StreamEvents, from, 1000, func(e *bus.Event) bool {
			only := e.Extension(bus.AttributeOnly)
			return only == subscription || only == "" && slices.Contains(list[at].Topics, e.Topic)
		})
		if err != nil {
			return out, err
		}
		out.Events += uint64(len(records))
		if next == from || next >= bounds.Next {
			return out, nil
		}
		from = next
	}
	out.More = true
	return out, nil
}

// AsyncAPI describes the events of the application.
func (p *Platform) AsyncAPI() ([]byte, error) { return contract.AsyncAPI(p.current()) }
