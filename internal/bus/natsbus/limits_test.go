package natsbus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/bustest"
	"github.com/atollhq/atoll/internal/bus/natsbus"
	"github.com/atollhq/atoll/internal/fault"
)

// dialServer starts a server that takes messages of so many bytes, and returns a way to connect to it.
func dialServer(t *testing.T, maxPayload int32) func() *nats.Conn {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: "n", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, JetStream: true, StoreDir: t.TempDir(), MaxPayload: maxPayload,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not become ready")
	}
	return func() *nats.Conn {
		nc, err := natsbus.Dial(s.ClientURL(), "")
		if err != nil {
			t.Fatal(err)
		}
		return nc
	}
}

func openAt(t *testing.T, nc *nats.Conn, opts *natsbus.Options) *natsbus.Log {
	t.Helper()
	l, err := natsbus.Open(t.Context(), nc, "shop", opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // some have closed it before
	return l
}

func TestAnEventTooLargeForAClusterTakesNoOthersWithIt(t *testing.T) {
	var said strings.Builder
	l := openAt(t, dialServer(t, 1<<20)(), &natsbus.Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
	if !strings.Contains(said.String(), "max_payload=1048576") {
		t.Errorf("operators are told %q", said.String())
	}
	b, err := bus.Open(t.Context(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	refuse := bus.DelivererFunc(func(_ context.Context, d bus.Delivery) bus.Outcome {
		if len(d.Event.Data) > 100 {
			return bus.Outcome{Verdict: bus.Refused, Status: 422, Text: strings.Repeat("<", 300)}
		}
		return bus.Outcome{}
	})
	if err := b.Apply(t.Context(), &bus.Config{
		Topics: map[string]*bus.Topic{"t": {Name: "t"}}, Publishers: map[string]bus.Publisher{"p": {Topics: []string{"t"}}},
		Subscriptions: []bus.Subscription{{Name: "s/t", Topics: []string{"t"}, Deliver: refuse}},
	}); err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 100)
	submitted := 0
	submit := func(e *bus.Event) error {
		err := b.Submit("p", "t", []*bus.Event{e}, func(_ []bus.Receipt, err error) { results <- err })
		if err == nil {
			submitted++
		}
		return err
	}
	for i := range 40 {
		if i%10 == 5 {
			err := submit(bustest.NewEvent("t", "", strings.Repeat("x", l.MaxRecord()+2000)))
			if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != fault.CodeEventTooLarge {
				t.Errorf("an event that is too large: %v", err)
			}
		}
		if err := submit(bustest.NewEvent("t", "", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	largest := bustest.NewEvent("t", "", strings.Repeat("x", l.MaxRecord()-1000))
	largest.SetExtension("a", strings.Repeat("x", 1000-(largest.Size()-(l.MaxRecord()-1000))-1))
	if largest.Size() != l.MaxRecord() {
		t.Fatalf("the largest has %d bytes, there is room for %d", largest.Size(), l.MaxRecord())
	}
	if err := submit(largest); err != nil {
		t.Fatal(err)
	}
	for range submitted {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	// The largest event that is taken can be kept as a dead letter.
	limit := time.After(10 * time.Second)
	for {
		bounds, err := l.Bounds(t.Context(), bus.StreamDead)
		if err != nil {
			t.Fatal(err)
		}
		if bounds.Records == 1 {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-limit:
			t.Fatal("the largest event does not become a dead letter")
		}
	}
}

func TestAClusterWhoseMessagesAreTooSmallIsRefusedByName(t *testing.T) {
	nc := dialServer(t, 64<<10)()
	defer nc.Close()
	_, err := natsbus.Open(t.Context(), nc, "shop", nil)
	if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != fault.CodeEventsUnreachable || !strings.Contains(e.Remedy, "max_payload") {
		t.Errorf("opened: %v", err)
	}
}

func TestARecordThatCannotBeReadHoldsUpNoOthers(t *testing.T) {
	dial := dialServer(t, 8<<20)
	l := openAt(t, dial(), nil)
	appendOne := func(data string) {
		if _, err := l.Append(t.Context(), bus.StreamDelayed, []*bus.Event{bustest.NewEvent("t", "", data)}); err != nil {
			t.Fatal(err)
		}
	}
	appendOne("1")
	other := dial()
	defer other.Close()
	if _, err := other.Request("atoll.shop.delayed.t", []byte("this is no frame"), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	appendOne("3")
	records, next, err := l.Read(t.Context(), bus.StreamDelayed, 1, 10, 1<<20)
	if err != nil || len(records) != 1 || next != 2 {
		t.Errorf("before: %d records, next %d: %v", len(records), next, err)
	}
	_, _, err = l.Read(t.Context(), bus.StreamDelayed, next, 10, 1<<20)
	if bad, ok := errors.AsType[*bus.RecordError](err); !ok || bad.Offset != 2 {
		t.Errorf("at it: %v", err)
	}
	if records, _, err = l.Read(t.Context(), bus.StreamDelayed, 3, 10, 1<<20); err != nil || len(records) != 1 || string(records[0].Event.Data) != "3" {
		t.Errorf("behind: %d records: %v", len(records), err)
	}
}
