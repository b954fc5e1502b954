package natsbus_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/bustest"
	"github.com/atollhq/atoll/internal/bus/natsbus"
	"github.com/atollhq/atoll/internal/fault"
)

// house is a server with a door, behind which published events are collected.
type house struct {
	door *natsbus.Door

	mu        sync.Mutex
	published []string // guarded by mu: service, topic and data
}

func openHouse(t *testing.T) *house {
	t.Helper()
	s, err := natsbus.StartServer(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	h := &house{}
	decode := func(topic, _ string, head http.Header, body []byte, _ time.Time) ([]*bus.Event, error) {
		e := bustest.NewEvent(topic, "", string(body))
		if id := head.Get("Idempotency-Key"); id != "" {
			e.ID = id
		}
		return []*bus.Event{e}, nil
	}
	h.door, err = natsbus.OpenDoor(s, natsbus.DoorOptions{Decode: decode, Submit: h.submit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.door.Close)
	return h
}

func (h *house) submit(publisher, topic string, events []*bus.Event, done func([]bus.Receipt, error)) error {
	if topic == "order.shipped" {
		return fault.New(fault.CodePublishUndeclared, "no").Fix("write a line")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.published = append(h.published, publisher+" "+topic+" "+string(events[0].Data)+" "+events[0].ID)
	n := len(h.published)
	if topic == "order.lost" {
		done(nil, errors.New("disk gone"))
		return nil
	}
	go done([]bus.Receipt{{ID: events[0].ID, Offset: bus.Offset(n)}}, nil)
	return nil
}

func (h *house) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.published)
}

// enter connects as a service.
func (h *house) enter(t *testing.T, service string) *nats.Conn {
	t.Helper()
	url, err := h.door.Admit(service)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func TestAClientOfJetStreamPublishesAndIsAcknowledged(t *testing.T) {
	h := openHouse(t)
	js, err := jetstream.New(h.enter(t, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	ack, err := js.Publish(t.Context(), "events.order.placed", []byte("7"), jetstream.WithMsgID("my-id"))
	if err != nil || ack.Sequence != 1 {
		t.Fatalf("acknowledged with %+v: %v", ack, err)
	}
	if want := "orders order.placed 7 my-id"; h.all()[0] != want {
		t.Errorf("published %q, want %q", h.all()[0], want)
	}
	_, err = js.Publish(t.Context(), "events.order.shipped", nil)
	if e, ok := errors.AsType[*jetstream.APIError](err); !ok || !strings.Contains(e.Description, "write a line") || !strings.Contains(e.Description, "publish-undeclared") {
		t.Errorf("refused with %v", err)
	}
	_, err = js.Publish(t.Context(), "events.order.lost", nil)
	if e, ok := errors.AsType[*jetstream.APIError](err); !ok || e.Code != 503 || strings.Contains(e.Description, "disk gone") {
		t.Errorf("failed with %v", err)
	}
}

func TestWhatOneConnectionPublishesKeepsItsOrder(t *testing.T) {
	h := openHouse(t)
	nc := h.enter(t, "orders")
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(1000))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		if _, err := js.PublishAsync("events.order.placed", []byte{byte('a' + i%26)}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(10 * time.Second):
		t.Fatal("not all are acknowledged")
	}
	for i, p := range h.all() {
		if want := string(rune('a' + i%26)); !strings.HasPrefix(p, "orders order.placed "+want+" ") {
			t.Fatalf("the event at %d is %q, want %s", i, p, want)
		}
	}
}

func TestAServiceSeesNothingOfOthers(t *testing.T) {
	h := openHouse(t)
	orders, mail := h.enter(t, "orders"), h.enter(t, "mail")
	sub, err := mail.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(mail.Flush(), orders.Publish("anything", nil), orders.Publish("deliver.order.placed", nil), orders.Flush()); err != nil {
		t.Fatal(err)
	}
	if _, err := orders.Request("events.order.placed", []byte("1"), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if o := deliver(t, h, "crm", "order.placed"); o.Verdict != bus.Unreachable {
		t.Errorf("a delivery to nobody ended in %+v", o)
	}
	if m, err := sub.NextMsg(50 * time.Millisecond); err == nil {
		t.Errorf("mail has seen %s", m.Subject)
	}
	for _, subject := range []string{"atoll-publish.orders.order.placed", "$JS.API.INFO", "$SYS.REQ.SERVER.PING"} {
		if m, err := mail.Request(subject, nil, 50*time.Millisecond); err == nil {
			t.Errorf("%s is answered with %q", subject, m.Data)
		}
	}
}

func deliver(t *testing.T, h *house, service, topic string) bus.Outcome {
	t.Helper()
	d := bus.Delivery{Record: bus.Record{Offset: 1, Event: bustest.NewEvent(topic, "k", "7")}, Attempt: 2}
	return h.door.Deliver(t.Context(), service, d, 200*time.Millisecond)
}

func TestADeliveryEndsAsTheServiceAcknowledgesIt(t *testing.T) {
	h := openHouse(t)
	nc := h.enter(t, "crm")
	for topic, answer := range map[string]func(m *nats.Msg) error{
		"ack":   func(m *nats.Msg) error { return m.Ack() },
		"nak":   func(m *nats.Msg) error { return m.NakWithDelay(time.Minute) },
		"term":  func(m *nats.Msg) error { return m.Term() },
		"empty": func(m *nats.Msg) error { return m.Respond(nil) },
		"other": func(m *nats.Msg) error { return m.Respond([]byte("{}")) },
		"none":  func(*nats.Msg) error { return nil },
		"slow": func(m *nats.Msg) error {
			for range 3 {
				if err := m.InProgress(); err != nil {
					return err
				}
				<-time.After(120 * time.Millisecond)
			}
			return m.Ack()
		},
	} {
		if _, err := nc.QueueSubscribe("deliver."+topic, "crm", func(m *nats.Msg) {
			if m.Header.Get("ce-partitionkey") != "k" || m.Header.Get("Atoll-Attempt") != "2" || string(m.Data) != "7" {
				t.Errorf("delivered %v %q", m.Header, m.Data)
			}
			if err := answer(m); err != nil {
				t.Error(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]bus.Outcome{
		"ack": {Verdict: bus.Accepted}, "empty": {Verdict: bus.Accepted}, "slow": {Verdict: bus.Accepted},
		"nak": {Verdict: bus.Failed, After: time.Minute}, "term": {Verdict: bus.Refused}, "other": {Verdict: bus.Failed}, "none": {Verdict: bus.Failed},
		"nobody": {Verdict: bus.Unreachable},
	} {
		if o := deliver(t, h, "crm", topic); o.Verdict != want.Verdict || o.After != want.After {
			t.Errorf("%s ended in %+v", topic, o)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	d := bus.Delivery{Record: bus.Record{Offset: 1, Event: bustest.NewEvent("none", "k", "7")}, Attempt: 2}
	if o := h.door.Deliver(ctx, "crm", d, time.Minute); o.Verdict != bus.Aborted {
		t.Errorf("broken off, it ended in %+v", o)
	}
}

func TestOnlyWhoWasAdmittedGetsIn(t *testing.T) {
	h := openHouse(t)
	url, err := h.door.Admit("orders")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := h.door.Admit("orders"); err != nil || again != url {
		t.Errorf("admitted again as %s: %v", again, err)
	}
	_, server, _ := strings.Cut(url, "@")
	for _, bad := range []string{"nats://" + server, "nats://orders:wrong@" + server, "nats://ATOLL:wrong@" + server, "nats://ATOLL@" + server, "nats://atoll:x@" + server, "nats://nobody:x@" + server} {
		if nc, err := nats.Connect(bad); err == nil {
			nc.Close()
			t.Errorf("%s gets in", bad)
		}
	}
	h.door.Dismiss("orders")
	if nc, err := nats.Connect(url); err == nil {
		nc.Close()
		t.Error("who was dismissed gets in")
	}
}
