package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/cloudevents"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/relay/std"
	"github.com/atollhq/atoll/internal/telemetry"
)

// Headers of a delivery beside those of the event.
const (
	attemptHeader      = "Atoll-Attempt"      // 1 for the first
	topicHeader        = "Atoll-Topic"        // where the event was published
	subscriptionHeader = "Atoll-Subscription" // service/topic
)

const (
	keptAnswer = 512             // bytes of an answer that are kept of a failed attempt
	waitReady  = 2 * time.Second // for a replica; after that nobody was there
)

var errNoAnswer = errors.New("no answer in time")

// deliverer delivers to the replicas of a service.
func (p *Platform) deliverer(sub *subscriber) bus.Deliverer {
	if sub.direct {
		return bus.DelivererFunc(func(ctx context.Context, d bus.Delivery) bus.Outcome {
			began := time.Now()
			o := sub.door.Deliver(ctx, sub.service, d, sub.timeout)
			p.delivered(sub, d, traceOf(d.Event), began, o)
			return o
		})
	}
	return bus.DelivererFunc(func(ctx context.Context, d bus.Delivery) bus.Outcome {
		began := time.Now()
		trace := traceOf(d.Event)
		o := p.post(ctx, sub, d, trace)
		p.delivered(sub, d, trace, began, o)
		return o
	})
}

// traceOf continues the trace in which an event was published.
func traceOf(e *bus.Event) relay.Trace {
	trace := relay.NewTrace()
	if id, parent, flags, ok := relay.ParseTraceparent(e.Extension(bus.AttributeTrace)); ok {
		trace.ID, trace.Parent, trace.Flags = id, parent, flags
	}
	return trace
}

// post sends an event to a replica, once.
func (p *Platform) post(ctx context.Context, sub *subscriber, d bus.Delivery, trace relay.Trace) bus.Outcome {
	ctx, cancel := context.WithTimeoutCause(ctx, sub.timeout, errNoAnswer)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+sub.service+sub.path, bytes.NewReader(d.Event.Data))
	if err != nil {
		return bus.Outcome{Verdict: bus.Failed, Text: "the path " + sub.path + " makes no request"}
	}
	h := req.Header
	h.Set("Traceparent", trace.Traceparent())
	cloudevents.Encode(h, d.Event)
	h.Set("User-Agent", "atoll")
	h.Set(relay.CallerHeader, d.Event.Extension(bus.AttributePublisher))
	h.Set(relay.DeadlineHeader, strconv.FormatInt(sub.timeout.Milliseconds(), 10))
	h.Set(attemptHeader, strconv.Itoa(d.Attempt))
	h.Set(topicHeader, d.Event.Topic)
	h.Set(subscriptionHeader, sub.name)
	a, sent, err := std.Send(ctx, p.upstreams, sub.service, req, keptAnswer)
	switch {
	case err == nil:
		return answered(a)
	case !sent:
		text := "no connection"
		if e, ok := errors.AsType[*fault.Error](err); ok {
			text = e.Text
		}
		return bus.Outcome{Verdict: bus.Unreachable, Text: text, By: a.Endpoint}
	case errors.Is(context.Cause(ctx), errNoAnswer):
		return bus.Outcome{Verdict: bus.Failed, Text: fmt.Sprintf("no answer within %s", sub.timeout), By: a.Endpoint}
	case a.Status != 0: // the answer broke off behind its head
		return answered(a)
	}
	return bus.Outcome{Verdict: bus.Failed, Text: "the connection broke before there was an answer", By: a.Endpoint}
}

// answered is the outcome of an attempt that was answered.
func answered(a std.Answer) bus.Outcome {
	o := bus.Outcome{Verdict: bus.OfStatus(a.Status), Status: a.Status, By: a.Endpoint}
	if o.Verdict != bus.Accepted {
		o.Text, o.After = firstLine(a.Body), retryAfter(a.Header, time.Now())
	}
	return o
}

// delivered keeps a span of an attempt.
func (p *Platform) delivered(sub *subscriber, d bus.Delivery, trace relay.Trace, began time.Time, o bus.Outcome) {
	if o.Verdict == bus.Aborted || o.Verdict == bus.Unreachable {
		return
	}
	status := o.Status
	if status == 0 {
		status = map[bool]int{true: http.StatusNoContent, false: http.StatusGatewayTimeout}[o.Verdict == bus.Accepted]
	}
	seen := &sighting{
		kind: hopEvent, trace: trace, start: began, duration: time.Since(began), service: sub.service, replica: o.By,
		name: "process " + d.Event.Topic, spanKind: telemetry.KindConsumer, status: status, method: http.MethodPost, route: d.Event.Topic,
		attrs: []telemetry.Attr{
			text(attrHopKind, hopEvent), text(attrCaller, d.Event.Extension(bus.AttributePublisher)), text("messaging.system", system),
			text("messaging.operation.type", "process"), text("messaging.destination.name", d.Event.Topic),
			text("messaging.consumer.group.name", sub.name), text("messaging.message.id", d.Event.ID),
			whole64("messaging.message.body.size", int64(len(d.Event.Data))), whole64("atoll.attempt", int64(d.Attempt)),
		},
	}
	if sub.direct {
		seen.method = "NATS"
	} else {
		seen.attrs = append(seen.attrs, text("url.path", sub.path), whole64("http.response.status_code", int64(status)))
	}
	p.saw(seen)
}

// deadLetter tells of an event that was given up.
func (p *Platform) deadLetter(d bus.DeadLetter) {
	p.warn(fault.Warn(fault.CodeDeadLetter, "%s has given up an event of %s: %s", d.Subscription, d.Event.Topic, d.Cause).
		Fix("atoll events dead ls shows it; atoll events dead replay tries it again"))
}

// left tells of a subscription that the manifests have no more, though events wait for it.
func (p *Platform) left(subscription string, waiting uint64) {
	p.warn(fault.Warn(fault.CodeSubscriptionGone, "%s is no longer subscribed, and about %d events waited for it", subscription, waiting).
		Fix("they are kept as long as settled ones are: subscribe again under the same names of service and topic to have them delivered"))
}
