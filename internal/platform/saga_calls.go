package platform

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/gateway"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/relay/std"
	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/sagahttp"
	"github.com/atollhq/atoll/internal/telemetry"
)

// Headers of a call that takes or undoes a step.
const (
	sagaHeader     = "Atoll-Saga"     // the saga's name
	callbackHeader = "Atoll-Callback" // where the end of a step is told that was answered with 202
)

// sagaCaller makes the calls of sagas.
type sagaCaller struct{ p *Platform }

// Call implements saga.Caller.
func (c sagaCaller) Call(ctx context.Context, o *saga.Outgoing) saga.Result {
	began, trace := time.Now(), sagaTrace(o)
	a, r := c.send(ctx, o, trace)
	c.span(o, trace, began, a, &r)
	return r
}

// sagaTrace continues the trace in which a saga was started.
func sagaTrace(o *saga.Outgoing) relay.Trace {
	trace := relay.NewTrace()
	if id, parent, flags, ok := relay.ParseTraceparent(o.Trace); ok {
		trace.ID, trace.Parent, trace.Flags = id, parent, flags
	}
	return trace
}

func (c sagaCaller) send(ctx context.Context, o *saga.Outgoing, trace relay.Trace) (std.Answer, saga.Result) {
	req, err := http.NewRequestWithContext(ctx, o.Request.Method, "http://"+o.Request.Service+o.Request.Path, bytes.NewReader(o.Request.Body))
	if err != nil {
		return std.Answer{}, saga.Result{Verdict: saga.Unsent, Text: "the path " + o.Request.Path + " makes no request"}
	}
	c.head(req.Header, o, trace)
	a, sent, err := std.Send(ctx, c.p.upstreams, o.Request.Service, req, saga.MaxOutput+1)
	switch {
	case err == nil, a.Status != 0 && whole(a.Body):
		return a, sagaAnswer(&a, o.Headers)
	case !sent:
		text := "no connection"
		if e, ok := errors.AsType[*fault.Error](err); ok {
			text = e.Text
		}
		return a, saga.Result{Verdict: saga.Unsent, Text: text, By: a.Endpoint}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return a, saga.Result{Verdict: saga.NoAnswer, Text: fmt.Sprintf("no answer within %s", o.Timeout), By: a.Endpoint}
	}
	return a, saga.Result{Verdict: saga.NoAnswer, Text: "the connection broke before the answer was there", By: a.Endpoint}
}

// whole tells whether the answer is all there though the connection broke before its end. Of a number nobody knows.
func whole(body []byte) bool {
	body = bytes.TrimSpace(body)
	return len(body) > 0 && bytes.ContainsRune([]byte(`{["`), rune(body[0])) && json.Valid(body)
}

// head writes the head of a call.
func (c sagaCaller) head(h http.Header, o *saga.Outgoing, trace relay.Trace) {
	for name, value := range o.Request.Headers {
		h.Set(name, value)
	}
	if len(o.Request.Body) > 0 {
		h["Content-Type"] = []string{"application/json"}
	}
	h["Traceparent"] = []string{trace.Traceparent()}
	h["User-Agent"] = []string{"atoll"}
	h["Idempotency-Key"] = []string{o.Key}
	h[sagaHeader] = []string{o.Saga}
	h[relay.CallerHeader] = []string{"saga/" + o.Saga}
	h[relay.DeadlineHeader] = []string{strconv.FormatInt(o.Timeout.Milliseconds(), 10)}
	h[attemptHeader] = []string{strconv.Itoa(o.Number)}
	if o.Async {
		if base := c.p.sagas.callback(o.Request.Service); base != "" {
			h[callbackHeader] = []string{base + "/" + o.Saga + "/" + url.PathEscape(o.Instance) + "/steps/" + o.Label}
		}
	}
}

// sagaAnswer is what a saga is told of an answer, with its headers where they are asked for.
func sagaAnswer(a *std.Answer, headers bool) saga.Result {
	r := saga.Result{Verdict: saga.Answered, By: a.Endpoint, Answer: saga.Answer{Status: a.Status}}
	if headers {
		r.Answer.Headers = make(map[string]string, len(a.Header))
		for name, values := range a.Header {
			r.Answer.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
		}
	}
	switch {
	case len(a.Body) == 0:
	case json.Valid(a.Body):
		r.Answer.Body = a.Body
	default:
		text, err := json.Marshal(strings.ToValidUTF8(string(a.Body), "�"))
		if err == nil {
			r.Answer.Body = text
		}
	}
	if a.Status < 200 || a.Status > 299 {
		r.Text, r.After = refusalText(a), retryAfter(a.Header, time.Now())
	}
	return r
}

// refusalText is what an answer says went wrong: the detail or title of a problem document, else its first line.
func refusalText(a *std.Answer) string {
	var problem struct{ Detail, Title string }
	if json.Unmarshal(a.Body, &problem) == nil {
		if problem.Detail != "" {
			return problem.Detail
		}
		if problem.Title != "" {
			return problem.Title
		}
	}
	if len(a.Body) == 0 {
		return ""
	}
	return firstLine(a.Body)
}

// span keeps a span of an attempt that somebody may have seen.
func (c sagaCaller) span(o *saga.Outgoing, trace relay.Trace, began time.Time, a std.Answer, r *saga.Result) {
	if r.Verdict == saga.Unsent {
		return
	}
	status := a.Status
	if status == 0 {
		status = http.StatusGatewayTimeout
	}
	route := o.Saga + "/" + o.Label
	if o.Undo {
		route += "/undo"
	}
	c.p.saw(&sighting{
		kind: hopSaga, trace: trace, start: began, duration: time.Since(began), service: o.Request.Service, replica: a.Endpoint,
		name: route, spanKind: telemetry.KindServer, status: status, method: o.Request.Method, route: route,
		attrs: []telemetry.Attr{
			text(attrHopKind, hopSaga), text(attrCaller, "saga/"+o.Saga), text("atoll.saga.name", o.Saga), text("atoll.saga.instance", o.Instance),
			text("atoll.saga.step", o.Label), whole64("atoll.attempt", int64(o.Number)), text("http.request.method", o.Request.Method),
			text("url.path", o.Request.Path), whole64("http.response.status_code", int64(status)),
		},
	})
}

// topicParked is where an event tells of an instance that waits for a person, if somebody subscribes to it.
const topicParked = "saga.parked"

// parked tells of an instance that waits for a person.
func (p *Platform) parked(i *saga.Instance) {
	p.warn(fault.Warn(fault.CodeSagaParked, "an instance of %s is parked at %s: %s", i.Saga, i.Step, i.Error).
		Fix("atoll saga show %s shows it, and what frees it", i.ID))
	p.telling.Go(func() { p.tellParked(i) })
}

// sagasBroken tells that no saga goes on.
func (p *Platform) sagasBroken(err error) {
	p.log.Error("sagas have stopped", "error", err)
	p.warn(fault.New(fault.CodeSagaStoreUnreachable, "sagas have stopped: their store failed in a way after which it cannot be trusted").
		Fix("look at .atoll/atoll.log, mend the disk, and start the application again"))
}

// subscribed tells whether a service subscribes to a topic.
func subscribed(topics []manifest.Topic, name string) bool {
	return slices.ContainsFunc(topics, func(t manifest.Topic) bool { return t.Name == name && len(t.Subscribers) > 0 })
}

func (p *Platform) tellParked(i *saga.Instance) {
	b, app := p.bus.current(), p.current()
	if b == nil || app == nil || !subscribed(app.Topics(), topicParked) {
		return
	}
	data, err := json.Marshal(sagahttp.View(i))
	if err != nil {
		p.log.Error("event of parked saga", "instance", i.ID, "error", err)
		return
	}
	e := &bus.Event{
		Topic: topicParked, ID: i.ID + "/" + strconv.FormatInt(i.Rev, 10), Source: "/sagas/" + i.Saga, Type: topicParked, Subject: i.ID, Time: time.Now().UTC(),
		DataType: "application/json", Data: data,
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := b.PublishFrom(ctx, "sagas", topicParked, []*bus.Event{e}); err != nil {
		p.log.Error("event of parked saga", "instance", i.ID, "error", err)
	}
}

// sagaSubscription is what the bus is told of a topic whose events sagas take.
func (p *Platform) sagaSubscription(topic string) bus.Subscription {
	return bus.Subscription{
		Name: "_sagas/" + topic, Topics: []string{topic}, Deliver: bus.DelivererFunc(p.deliverToSagas), Policy: bus.Policy{Ordered: true, Attempts: 100},
	}
}

// deliverToSagas takes an event to the saga engine.
func (p *Platform) deliverToSagas(ctx context.Context, d bus.Delivery) bus.Outcome {
	engine := p.sagas.current()
	if engine == nil {
		return bus.Outcome{Verdict: bus.Unreachable, Text: "the saga engine is not there yet"}
	}
	o, err := occurrence(d.Event)
	if err == nil {
		err = engine.Deliver(ctx, o)
	}
	e, known := errors.AsType[*fault.Error](err)
	switch {
	case err == nil:
		return bus.Outcome{Verdict: bus.Accepted, Status: http.StatusNoContent}
	case ctx.Err() != nil:
		return bus.Outcome{Verdict: bus.Aborted}
	case known && sagahttp.StatusOf(e.Code) == http.StatusServiceUnavailable:
		return bus.Outcome{Verdict: bus.Unreachable, Text: e.Text}
	case known:
		return bus.Outcome{Verdict: bus.Refused, Status: sagahttp.StatusOf(e.Code), Text: e.Text}
	}
	p.log.Error("event for sagas", "topic", d.Event.Topic, "error", err)
	return bus.Outcome{Verdict: bus.Failed, Text: "the saga engine could not keep it"}
}

// occurrence is an event as sagas take it.
func occurrence(e *bus.Event) (*saga.Occurrence, error) {
	data := json.RawMessage("null")
	switch {
	case len(e.Data) == 0:
	case json.Valid(e.Data):
		data = e.Data
	default:
		text, err := json.Marshal(e.Data) // as Base64
		if err != nil {
			return nil, err
		}
		data = text
	}
	event, err := json.Marshal(map[string]any{
		"id": e.ID, "source": e.Source, "type": e.Type, "subject": e.Subject, "time": e.Time, "data": data,
	})
	if err != nil {
		return nil, err
	}
	return &saga.Occurrence{
		Topic: e.Topic, Source: e.Source, ID: e.ID, Event: event, Data: data, Trace: e.Extension(bus.AttributeTrace),
		Publisher: e.Extension(bus.AttributePublisher),
	}, nil
}

// starter starts sagas with what arrives on routes.
type starter struct{ p *Platform }

// Start implements gateway.Starter.
func (s starter) Start(ctx context.Context, o gateway.Opening) *relay.Reply {
	i, err := s.start(ctx, &o)
	if err == nil {
		return startReply(i)
	}
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		s.p.log.Error("saga of a route not started", "saga", o.Saga, "error", err)
		e = sagahttp.Unsure()
	}
	return relay.Refuse(sagahttp.StatusOf(e.Code), e)
}

func (s starter) start(ctx context.Context, o *gateway.Opening) (*saga.Instance, error) {
	engine := s.p.sagas.current()
	if engine == nil {
		return nil, fault.New(fault.CodeSagaBusy, "the saga engine is not there yet").Fix("try again in a moment")
	}
	wait, err := sagahttp.WaitOf(o.Prefer, "")
	if err != nil {
		return nil, err
	}
	input := json.RawMessage("null")
	if len(o.Body) > 0 {
		if err := sagahttp.CheckJSON(o.ContentType, o.Body); err != nil {
			return nil, err
		}
		input = o.Body
	}
	by := "gateway"
	if o.Subject != "" {
		by += " " + o.Subject
	}
	return engine.StartAndWait(ctx, saga.Ask{Saga: o.Saga, Input: input, Idem: startKey(o), Trace: o.Trace.Traceparent(), By: by}, wait)
}

// startKey is the idempotency key of a start by a route. A client's key is its own: it names no instance that another client, another
// route, an event or a schedule has started, and keeps none of these from starting one.
func startKey(o *gateway.Opening) string {
	if o.Key == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(o.Source + "\x00" + o.Subject))
	return "route " + hex.EncodeToString(sum[:6]) + " " + o.Key
}

func startReply(i *saga.Instance) *relay.Reply {
	body, err := json.Marshal(sagahttp.View(i))
	if err != nil {
		panic("platform: an instance does not marshal: " + err.Error())
	}
	status := http.StatusAccepted
	if i.Phase.Ended() {
		status = http.StatusOK
	}
	return &relay.Reply{
		Status: status, Body: append(body, '\n'),
		Header: []relay.Field{{Name: "Content-Type", Value: "application/json"}, {Name: "Cache-Control", Value: "no-store"}},
	}
}
