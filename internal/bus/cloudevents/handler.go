package cloudevents

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/fault"
)

// Publish takes events of a service. Those are durable when it returns without an error.
type Publish func(ctx context.Context, publisher, topic string, events []*bus.Event) ([]bus.Receipt, error)

// Handler answers POST /TOPIC with 200 and where the events went, once they are durable, and everything else with a problem
// document (RFC 9457). All that comes in is of one publisher. The logger takes what lies behind a problem.
func Handler(publisher string, publish Publish, logger *slog.Logger) http.Handler {
	return &handler{publisher, publish, logger}
}

type handler struct {
	publisher string
	publish   Publish
	logger    *slog.Logger
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	topic := strings.TrimPrefix(r.URL.Path, "/")
	if r.Method != http.MethodPost || topic == "" {
		w.Header().Set("Allow", http.MethodPost)
		h.refuse(w, http.StatusMethodNotAllowed, fault.New(fault.CodeEventInvalid, "events are published by POST to the name of a topic").
			Fix("curl -d '{…}' -H 'Content-Type: application/json' $EVENTS_URL/order.placed"))
		return
	}
	if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
		h.refuse(w, http.StatusForbidden, fault.New(fault.CodeOriginRefused, "a page in a browser may not publish here").
			Fix("let the page call a service, or publish by a route of the gateway"))
		return
	}
	body, err := readBody(w, r)
	if err != nil {
		h.refuseBody(w, err)
		return
	}
	events, err := Decode(topic, h.publisher, r.Header, body, time.Now())
	if err != nil {
		h.fail(w, err)
		return
	}
	var receipts []bus.Receipt
	if len(events) > 0 { // a batch may be empty
		receipts, err = h.publish(r.Context(), h.publisher, topic, events)
	}
	if err != nil {
		h.fail(w, err)
		return
	}
	w.Header()["Content-Type"] = []string{"application/json"}
	_, _ = w.Write(acknowledge(receipts)) // who has gone asks again, with the same ids
}

// readBody reads the whole body, in one piece where its length is known.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength >= 0 && r.ContentLength <= MaxBody {
		body := make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	return io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
}

func (h *handler) refuseBody(w http.ResponseWriter, err error) {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		h.fail(w, fault.New(fault.CodeEventTooLarge, "the request has more than %d bytes", MaxBody).
			Fix("send fewer events at once; one holds at most %d bytes", bus.MaxData))
		return
	}
	h.refuse(w, http.StatusBadRequest, fault.New(fault.CodeEventInvalid, "the body ends before its end").Fix("send all of it").Because(err))
}

// fail answers with the problem that an error is.
func (h *handler) fail(w http.ResponseWriter, err error) {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		h.logger.Error("events not published", "publisher", h.publisher, "error", err)
		e = fault.New(fault.CodeBusUnsure, "it is not known whether the events were kept").
			Fix("publish them again with the same ids: those that were kept come twice, under one id")
	}
	status := StatusOf(e.Code)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	h.refuse(w, status, e)
}

// StatusOf is the HTTP status of a refusal.
func StatusOf(code fault.Code) int {
	switch code { //nolint:exhaustive // all others are the publisher's mistakes
	case fault.CodePublishUndeclared:
		return http.StatusForbidden
	case fault.CodeEventTooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.CodeEventContract:
		return http.StatusUnprocessableEntity
	case fault.CodeBusBusy, fault.CodeBusFull, fault.CodeBusUnsure:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

func (h *handler) refuse(w http.ResponseWriter, status int, e *fault.Error) {
	w.Header().Set("Content-Type", fault.ProblemType)
	w.WriteHeader(status)
	_, _ = w.Write(fault.ProblemFor(e, status).JSON()) // the client has gone
}

// acknowledge writes {"id": …, "offset": …} for one event, {"events": […]} for several.
func acknowledge(receipts []bus.Receipt) []byte {
	if len(receipts) == 1 {
		return appendReceipt(make([]byte, 0, 96), receipts[0])
	}
	out := append(make([]byte, 0, 64+64*len(receipts)), `{"events":[`...)
	for i, r := range receipts {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendReceipt(out, r)
	}
	return append(out, ']', '}')
}

func appendReceipt(out []byte, r bus.Receipt) []byte {
	id, err := json.Marshal(r.ID)
	if err != nil {
		panic("cloudevents: an id cannot be written: " + err.Error())
	}
	out = append(append(out, `{"id":`...), id...)
	if !r.Delayed.IsZero() {
		out = append(r.Delayed.UTC().AppendFormat(append(out, `,"deliverAt":"`...), time.RFC3339Nano), '"')
		return append(out, '}')
	}
	out = strconv.AppendUint(append(out, `,"offset":`...), uint64(r.Offset), 10)
	return append(out, '}')
}
