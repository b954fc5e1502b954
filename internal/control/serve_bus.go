package control

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
)

const maxPage = 1000

// busOperations are those of the events between services.
func (s *server) busOperations() map[string]handlerFunc {
	return map[string]handlerFunc{
		"GET /v1/bus":                        s.bus,
		"GET /v1/bus/events":                 s.storedEvents,
		"GET /v1/bus/events/{offset}":        s.storedEvent,
		"POST /v1/bus/topics/{topic}/events": s.publishEvents,
		"POST /v1/bus/replay":                s.replayEvents,
		"GET /v1/bus/dead":                   s.deadLetters,
		"GET /v1/bus/dead/{offset}":          s.deadLetter,
		"POST /v1/bus/dead/replay":           s.settle(EventBus.ReplayDead),
		"POST /v1/bus/dead/drop":             s.settle(EventBus.DropDead),
		"GET /v1/bus/delayed":                s.delayedEvents,
		"POST /v1/bus/delayed/drop":          s.settle(EventBus.DropDelayed),
		"GET /v1/bus/asyncapi":               s.asyncAPI,
		"GET /metrics":                       s.metrics,
	}
}

func (s *server) bus(w http.ResponseWriter, r *http.Request) error {
	return answer(w)(s.app.Bus(r.Context()))
}

// answer writes what a method of App returned.
func answer(w http.ResponseWriter) func(v any, err error) error {
	return func(v any, err error) error {
		if err != nil {
			return err
		}
		return writeJSON(w, v)
	}
}

func (s *server) storedEvents(w http.ResponseWriter, r *http.Request) error {
	q, err := parseEventQuery(r)
	if err != nil {
		return err
	}
	write := stream(w, r)
	return s.app.StoredEvents(r.Context(), q, func(e *api.StoredEvent) error { return write(e) })
}

func parseEventQuery(r *http.Request) (*api.EventQuery, error) {
	v := r.URL.Query()
	q := &api.EventQuery{
		Topic: v.Get("topic"), Type: v.Get("type"), Key: v.Get("key"), ID: v.Get("id"), Source: v.Get("source"), Follow: v.Get("follow") == "true",
	}
	var err error
	if q.Since, err = moment(r, "since"); err != nil {
		return nil, err
	}
	for _, n := range []struct {
		name string
		to   func(int64)
	}{
		{"from", func(n int64) { q.From = uint64(n) }},
		{"before", func(n int64) { q.Before = uint64(n) }},
		{"last", func(n int64) { q.Last = int(min(n, 10*maxPage)) }},
		{"limit", func(n int64) { q.Limit = int(n) }},
	} {
		value, err := number(r, n.name, 0)
		if err != nil {
			return nil, err
		}
		n.to(value)
	}
	return q, nil
}

// moment reads a query parameter that is a time; the zero time if it is missing.
func moment(r *http.Request, name string) (time.Time, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return at, fault.New(fault.CodeBadRequest, "%s=%q is not a time", name, text).Fix("write it as in RFC 3339")
	}
	return at, nil
}

// pathNumber reads a part of the path that is an offset.
func pathNumber(r *http.Request, name string) (uint64, error) {
	n, err := strconv.ParseUint(r.PathValue(name), 10, 64)
	if err != nil {
		return 0, fault.New(fault.CodeBadRequest, "%q is not an offset", r.PathValue(name)).Fix("write a whole number")
	}
	return n, nil
}

func (s *server) storedEvent(w http.ResponseWriter, r *http.Request) error {
	offset, err := pathNumber(r, "offset")
	if err != nil {
		return err
	}
	return answer(w)(s.app.StoredEvent(r.Context(), offset))
}

func (s *server) publishEvents(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body) // adapt bounds it
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fault.New(fault.CodeEventTooLarge, "the request has more than %d bytes", maxEvents).Fix("send fewer events at once")
	}
	if err != nil {
		return fault.New(fault.CodeBadRequest, "the body ends before its end").Fix("send all of it").Because(err)
	}
	published, err := s.app.PublishEvents(r.Context(), r.PathValue("topic"), r.Header, body)
	return answer(w)(map[string]any{"events": published}, err)
}

func (s *server) replayEvents(w http.ResponseWriter, r *http.Request) error {
	var body api.Replay
	if err := readJSON(r, &body, `{"subscription": "crm/order.placed", "offset": 1}`); err != nil {
		return err
	}
	return answer(w)(s.app.ReplayEvents(r.Context(), body))
}

// page reads where a page begins, and how long it is.
func page(r *http.Request, name string) (from uint64, limit int, err error) {
	start, err := number(r, name, 0)
	if err != nil {
		return 0, 0, err
	}
	n, err := number(r, "limit", 100)
	return uint64(start), int(min(max(n, 1), maxPage)), err
}

func (s *server) deadLetters(w http.ResponseWriter, r *http.Request) error {
	from, limit, err := page(r, "from")
	if err != nil {
		return err
	}
	q := r.URL.Query()
	return answer(w)(s.app.DeadLetters(r.Context(), q.Get("subscription"), q.Get("topic"), from, limit))
}

func (s *server) deadLetter(w http.ResponseWriter, r *http.Request) error {
	offset, err := pathNumber(r, "offset")
	if err != nil {
		return err
	}
	return answer(w)(s.app.DeadLetter(r.Context(), offset))
}

// settle serves what is done to a selection.
func (s *server) settle(do func(EventBus, context.Context, api.Selection) (api.Settled, error)) handlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		var body api.Selection
		if err := readJSON(r, &body, `{"offsets": [1, 2]} or {"all": true}`); err != nil {
			return err
		}
		if body.All == (len(body.Offsets) > 0) || !body.All && (body.Subscription != "" || body.Topic != "") {
			return fault.New(fault.CodeBadRequest, "the selection is neither some nor all").
				Fix(`send {"offsets": [1, 2]}, or {"all": true}, which a subscription and a topic can narrow`)
		}
		return answer(w)(do(s.app, r.Context(), body))
	}
}

func (s *server) delayedEvents(w http.ResponseWriter, r *http.Request) error {
	from, limit, err := page(r, "from")
	if err != nil {
		return err
	}
	return answer(w)(s.app.DelayedEvents(r.Context(), from, limit))
}

func (s *server) asyncAPI(w http.ResponseWriter, _ *http.Request) error {
	text, err := s.app.AsyncAPI()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/yaml")
	_, err = w.Write(text)
	return err
}

func (s *server) metrics(w http.ResponseWriter, r *http.Request) error {
	text, err := s.app.Metrics(r.Context())
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, err = w.Write(text)
	return err
}
