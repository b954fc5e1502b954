package natsbus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/fault"
)

// Subjects. A service publishes to events.TOPIC and subscribes to deliver.TOPIC; on Atoll's side its name stands between.
const (
	publishHere   = "events"
	deliverHere   = "deliver"
	publishBehind = "atoll-publish"
	deliverBehind = "atoll-deliver"
)

const (
	doorQueue   = 64 << 10 // messages that wait to be decoded
	doorPending = 64 << 20

	longestDelivery = 2 * time.Hour // a subscription's time-out is at most 1 h
)

// Submit takes events of a service, and calls done once they are durable or it has failed; an error says that they were not taken.
type Submit func(publisher, topic string, events []*bus.Event, done func([]bus.Receipt, error)) error

// Decode makes events of a message that a service publishes.
type Decode func(topic, publisher string, h http.Header, body []byte, now time.Time) ([]*bus.Event, error)

// DoorOptions is what a Door is made of.
type DoorOptions struct {
	Submit Submit
	Decode Decode
	Logger *slog.Logger // for operators; nil discards
}

// Door lets services publish and take events over NATS. It is safe for concurrent use.
type Door struct {
	o      DoorOptions
	server *Server
	nc     *nats.Conn
	url    string

	mu    sync.Mutex
	users map[string]string // guarded by mu: passwords by service
}

// OpenDoor opens a door at a server, which it does not close.
func OpenDoor(s *Server, o DoorOptions) (*Door, error) {
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	nc, err := s.Connect()
	if err != nil {
		return nil, err
	}
	d := &Door{o: o, server: s, nc: nc, url: s.s.ClientURL(), users: map[string]string{}}
	if err := s.account.AddServiceExport(publishBehind+".>", nil); err != nil {
		nc.Close()
		return nil, fmt.Errorf("open door for events: %w", err)
	}
	sub, err := nc.Subscribe(publishBehind+".*.>", d.take)
	if err == nil {
		err = sub.SetPendingLimits(doorQueue, doorPending)
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("open door for events: %w", err)
	}
	return d, nil
}

// Close closes the connection. What is being published is not acknowledged any more.
func (d *Door) Close() {
	d.nc.Close()
}

// Admit lets a service in and returns its URL, with credentials of its own.
func (d *Door) Admit(service string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	password, known := d.users[service]
	if !known {
		account, fresh := d.server.s.LookupOrRegisterAccount(service)
		if fresh {
			if err := errors.Join(
				account.AddServiceImport(d.server.account, publishHere+".>", publishBehind+"."+service+".>"),
				account.AddServiceExportWithResponse(deliverHere+".>", server.Streamed, nil), // +WPI, and then an end
				account.SetServiceExportResponseThreshold(deliverHere+".>", longestDelivery),
				d.server.account.AddServiceImport(account, deliverBehind+"."+service+".>", deliverHere+".>"),
			); err != nil {
				return "", fmt.Errorf("let %s in for events: %w", service, err)
			}
		}
		password = newPassword()
		d.users[service] = password
		d.server.auth.add(service, user{password, account})
	}
	return strings.Replace(d.url, "nats://", "nats://"+service+":"+password+"@", 1), nil
}

// Dismiss lets a service in no more.
func (d *Door) Dismiss(service string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.users, service)
	d.server.auth.remove(service)
}

// take submits a message of a service. The messages of one connection come in their order, and are submitted in it.
func (d *Door) take(m *nats.Msg) {
	rest := strings.TrimPrefix(m.Subject, publishBehind+".")
	service, topic, _ := strings.Cut(rest, ".")
	m.Header.Del("Nats-Request-Info")
	h := http.Header(m.Header)
	if id := m.Header.Get(nats.MsgIdHdr); id != "" && h.Get("Idempotency-Key") == "" {
		if h == nil {
			h = http.Header{}
		}
		h.Set("Idempotency-Key", id)
	}
	events, err := d.o.Decode(topic, service, canonical(h), m.Data, time.Now())
	if err != nil {
		d.answer(m, service, nil, err)
		return
	}
	err = d.o.Submit(service, topic, events, func(receipts []bus.Receipt, err error) { d.answer(m, service, receipts, err) })
	if err != nil {
		d.answer(m, service, nil, err)
	}
}

// canonical spells names of fields as HTTP's own.
func canonical(h http.Header) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		out[http.CanonicalHeaderKey(name)] = values
	}
	return out
}

// pubAck is the acknowledgement of JetStream, which every NATS client knows.
type pubAck struct {
	Stream string     `json:"stream"`
	Seq    bus.Offset `json:"seq"`
	Error  *apiError  `json:"error,omitempty"`
}

type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

// answer tells who has published what came of it.
func (d *Door) answer(m *nats.Msg, service string, receipts []bus.Receipt, err error) {
	ack := pubAck{Stream: "atoll"}
	if len(receipts) > 0 {
		ack.Seq = receipts[len(receipts)-1].Offset
	}
	if err != nil {
		ack.Error = &apiError{Code: 503, Description: "it is not known whether the event was kept; publish it again with the same id"}
		if e, ok := errors.AsType[*fault.Error](err); ok {
			ack.Error = &apiError{Code: 400, Description: e.Text + " (" + string(e.Code) + "): " + e.Remedy}
		} else {
			d.o.Logger.Error("events not published", "publisher", service, "error", err)
		}
		if m.Reply == "" {
			d.o.Logger.Warn("event refused, and the publisher did not ask for an answer", "publisher", service, "error", ack.Error.Description)
		}
	}
	if m.Reply == "" {
		return
	}
	text, err := json.Marshal(ack)
	if err != nil {
		panic("natsbus: an acknowledgement cannot be written: " + err.Error())
	}
	if err := m.Respond(text); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		d.o.Logger.Warn("acknowledgement not sent", "publisher", service, "error", err)
	}
}

// Deliver brings an event to one of a service's subscribers and waits for its acknowledgement, after JetStream's protocol:
// +ACK takes it, -NAK (with a delay, perhaps) asks for it again, +TERM refuses it for good, +WPI asks for more time.
func (d *Door) Deliver(ctx context.Context, service string, delivery bus.Delivery, patience time.Duration) bus.Outcome {
	inbox := nats.NewInbox()
	sub, err := d.nc.SubscribeSync(inbox)
	if err != nil {
		return bus.Outcome{Verdict: bus.Unreachable, Text: "the event server is ending"}
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection's end ends it as well
	m := &nats.Msg{Subject: deliverBehind + "." + service + "." + delivery.Event.Topic, Reply: inbox, Header: header(delivery.Event), Data: delivery.Event.Data}
	for name := range m.Header {
		if strings.HasPrefix(name, fieldPrefix+"atoll") { // what concerns Atoll alone
			delete(m.Header, name)
		}
	}
	m.Header.Set("Atoll-Caller", delivery.Event.Extension(bus.AttributePublisher))
	m.Header.Set("Atoll-Attempt", fmt.Sprint(delivery.Attempt))
	if err := d.nc.PublishMsg(m); err != nil {
		return bus.Outcome{Verdict: bus.Unreachable, Text: "the event server is ending"}
	}
	for {
		trying, cancel := context.WithTimeout(ctx, patience)
		answer, err := sub.NextMsgWithContext(trying)
		cancel()
		switch {
		case ctx.Err() != nil:
			return bus.Outcome{Verdict: bus.Aborted}
		case errors.Is(err, nats.ErrNoResponders):
			return bus.Outcome{Verdict: bus.Unreachable, Text: "nobody subscribes to " + deliverHere + "." + delivery.Event.Topic}
		case err != nil:
			return bus.Outcome{Verdict: bus.Failed, Text: fmt.Sprintf("no acknowledgement within %s", patience)}
		}
		if o, done := acknowledged(string(answer.Data)); done {
			return o
		}
	}
}

// acknowledged reads an acknowledgement; done is false for one that asks for more time.
func acknowledged(text string) (o bus.Outcome, done bool) {
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "+WPI":
		return o, false
	case "-NAK":
		var nak struct {
			Delay time.Duration `json:"delay"` // nanoseconds
		}
		_ = json.Unmarshal([]byte(rest), &nak) // without one there is no delay
		return bus.Outcome{Verdict: bus.Failed, Text: "the service asks for it again (-NAK)", After: nak.Delay}, true
	case "+TERM":
		return bus.Outcome{Verdict: bus.Refused, Text: strings.TrimSpace("the service refuses it (+TERM) " + rest)}, true
	case "", "+ACK", "+NXT":
		return bus.Outcome{Verdict: bus.Accepted}, true
	}
	return bus.Outcome{Verdict: bus.Failed, Text: "the service answered with something that is no acknowledgement"}, true
}
