package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// maxDelivery is how many bytes of a delivery are read: the largest event, with its data in base64.
const maxDelivery = 4 << 20

// OnEvent makes a handler of deliveries, to stand at the path that subscribes: of service.yaml names:
//
//	mux.Handle("POST /events/order-placed", sdk.OnEvent(func(ctx context.Context, e sdk.Event) error { … }))
//
// When handle returns nil the event is done with, so let it return nil only when its effect is durable. An error of Reject
// makes the event a dead letter at once. After any other error, and after a panic, it is delivered again later; if the
// error is a *Problem with RetryAfter, no sooner than that. An event may be delivered more than once: see [Inbox].
//
// The context belongs to the trace of the event, and so do the calls that are made with it.
func OnEvent(handle func(ctx context.Context, e Event) error) http.Handler {
	return Handler(func(w http.ResponseWriter, r *http.Request) error {
		e, err := readEvent(r)
		if err != nil {
			return err
		}
		trace := r.Header.Get(HeaderTrace)
		if !validTrace(trace) {
			trace = e.Extensions["traceparent"]
		}
		ctx := WithTrace(r.Context(), trace)
		if err := handle(ctx, e); err != nil {
			return answer(ctx, e, err)
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
}

// Reject makes an error that says: this event will never be accepted. It becomes a dead letter, with err's text.
func Reject(err error) error {
	if err == nil {
		err = errors.New("the event is rejected")
	}
	return &rejection{err}
}

type rejection struct{ err error }

func (r *rejection) Error() string { return r.err.Error() }

func (r *rejection) Unwrap() error { return r.err }

// answer is the problem that tells the bus what to do with an event that was not accepted. A problem that a callee answered
// is nothing to say to the bus: its 422 was about another request.
func answer(ctx context.Context, e Event, err error) error {
	if rejected, ok := errors.AsType[*rejection](err); ok {
		return Error(http.StatusUnprocessableEntity, "event-rejected", "%v", rejected.err)
	}
	logOf(ctx).ErrorContext(ctx, "event not accepted", slog.String("event", e.ID), slog.String("type", e.Type), slog.Any("error", err))
	p := internalProblem()
	if cause, ok := errors.AsType[*Problem](err); ok {
		p.RetryAfter = cause.RetryAfter
	}
	return p
}

// readEvent reads an event in binary or structured mode. Its errors are problems of which the bus sees that another try
// would end alike.
func readEvent(r *http.Request) (Event, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxDelivery+1))
	if err != nil {
		return Event{}, Error(http.StatusInternalServerError, "body-unreadable", "The body ended before it was complete.")
	}
	if len(body) > maxDelivery {
		return Event{}, Error(http.StatusUnprocessableEntity, "body-too-large", "The body is larger than %d bytes.", maxDelivery)
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var e Event
	switch {
	case r.Header.Get("Ce-Specversion") != "": // the headers name the event, whatever its data say
		e, err = parseBinary(r.Header, body)
	case err == nil && media == cloudEvent:
		e, err = parseStructured(body)
	case err == nil && strings.HasPrefix(media, "application/cloudevents"):
		err = fmt.Errorf("%s is not taken here; one event at a time is", media)
	default:
		e, err = parseBinary(r.Header, body)
	}
	if err != nil {
		return Event{}, Error(http.StatusBadRequest, "event-invalid", "This is no CloudEvent: %v.", err)
	}
	return e, nil
}

// parseBinary is the reverse of setHeader.
func parseBinary(h http.Header, body []byte) (Event, error) {
	if h.Get("Ce-Specversion") == "" {
		return Event{}, errors.New("the header ce-specversion is missing")
	}
	e := Event{DataType: h.Get("Content-Type")}
	for header, values := range h {
		name, ok := strings.CutPrefix(strings.ToLower(header), "ce-")
		if !ok {
			continue
		}
		if err := e.setAttribute(name, decodeHeader(values[0])); err != nil {
			return Event{}, err
		}
	}
	if len(body) > 0 {
		e.Data = body
	}
	return e, e.check()
}

// decodeHeader undoes encodeHeader. What is not well encoded stays as it is.
func decodeHeader(value string) string {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	decoded, err := url.PathUnescape(value)
	if err != nil {
		return value
	}
	return decoded
}
