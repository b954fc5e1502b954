package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/membus"
	"github.com/atollhq/atoll/internal/fault"
)

func TestNamesOfCloudEventsOwnAttributesAreNoExtensions(t *testing.T) {
	for _, name := range []string{"id", "source", "specversion", "type", "datacontenttype", "dataschema", "subject", "time", "data", "data_base64"} {
		e := &bus.Event{ID: "1", Source: "/", Type: "t"}
		e.SetExtension(name, "x")
		if err := e.Validate(); !isCode(err, fault.CodeEventInvalid) {
			t.Errorf("%s is taken for an extension: %v", name, err)
		}
	}
}

func TestATimeThatCannotBeWrittenIsRefused(t *testing.T) {
	e := &bus.Event{ID: "1", Source: "/", Type: "t", Time: time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -3600*8))}
	if err := e.Validate(); !isCode(err, fault.CodeEventInvalid) {
		t.Errorf("year %d is taken: %v", e.Time.UTC().Year(), err)
	}
}

func isCode(err error, code fault.Code) bool {
	e, ok := errors.AsType[*fault.Error](err)
	return ok && e.Code == code
}

// gateLog is a log whose appends wait until gate is closed.
type gateLog struct {
	*membus.Log
	gate chan struct{}
}

// Append implements bus.Log.
func (l gateLog) Append(ctx context.Context, stream bus.Stream, events []*bus.Event) (bus.Offset, error) {
	<-l.gate
	return l.Log.Append(ctx, stream, events)
}

func TestWhatWaitsForTheDiskIsBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := gateLog{membus.New(), make(chan struct{})}
		b := openBus(t, log)
		apply(t, b, configOf(&subscriber{}))
		data := make([]byte, bus.MaxData)
		taken := 0
		var err error
		for ; err == nil && taken < 200; taken++ {
			e := &bus.Event{ID: fmt.Sprint(taken), Source: "/", Type: "t", Data: data}
			err = b.Submit("p", "t", []*bus.Event{e}, func(_ []bus.Receipt, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		if !isCode(err, fault.CodeBusBusy) || taken < 60 || taken > 65 {
			t.Errorf("after %d events of 1 MiB: %v", taken, err)
		}
		close(log.gate)
		synctest.Wait()
		publishIDs(t, b, "after") // there is room again
		closeBus(t, b)
	})
}

// patchyLog is a log in which one delayed event cannot be read.
type patchyLog struct {
	*membus.Log
	bad bus.Offset
}

// Read implements bus.Log.
func (l patchyLog) Read(ctx context.Context, stream bus.Stream, from bus.Offset, limit, maxBytes int) ([]bus.Record, bus.Offset, error) {
	records, next, err := l.Log.Read(ctx, stream, from, limit, maxBytes)
	for i, r := range records {
		if stream == bus.StreamDelayed && r.Offset == l.bad {
			if i == 0 {
				return nil, from, fmt.Errorf("read: %w", &bus.RecordError{Offset: l.bad, Err: errors.New("damaged")})
			}
			return records[:i], r.Offset, nil
		}
	}
	return records, next, err
}

func TestADelayedEventThatCannotBeReadHoldsUpNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := patchyLog{membus.New(), 2}, &subscriber{}
		b := openBus(t, log.Log)
		apply(t, b, configOf(s))
		for i := range 4 {
			e := &bus.Event{ID: fmt.Sprint(i + 1), Source: "/", Type: "t"}
			e.SetExtension(bus.AttributeDeliverAt, time.Now().Add(time.Hour).Format(time.RFC3339Nano))
			if _, err := b.Publish(t.Context(), "p", "t", []*bus.Event{e}); err != nil {
				t.Fatal(err)
			}
		}
		closeBus(t, b)
		var said strings.Builder
		b, err := bus.Open(t.Context(), log, &bus.Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
		if err != nil {
			t.Fatal(err)
		}
		apply(t, b, configOf(s))
		if !strings.Contains(said.String(), "offset=2") {
			t.Errorf("operators are told %q", said.String())
		}
		<-time.After(2 * time.Hour)
		s.wants(t, "1", "3", "4")
		if bounds, err := log.Bounds(t.Context(), bus.StreamDelayed); err != nil || bounds.First != 2 || bounds.Records != 1 {
			t.Errorf("the log keeps %+v: %v", bounds, err)
		}
		closeBus(t, b)
	})
}

// countLog counts what is asked of it.
type countLog struct {
	*membus.Log
	calls *atomic.Int64
}

// Read implements bus.Log.
func (l countLog) Read(ctx context.Context, stream bus.Stream, from bus.Offset, limit, maxBytes int) ([]bus.Record, bus.Offset, error) {
	if stream == bus.StreamDelayed {
		l.calls.Add(1)
	}
	return l.Log.Read(ctx, stream, from, limit, maxBytes)
}

// Drop implements bus.Log.
func (l countLog) Drop(ctx context.Context, stream bus.Stream, offsets ...bus.Offset) error {
	l.calls.Add(1)
	return l.Log.Drop(ctx, stream, offsets...)
}

func TestDelayedEventsThatAreDueTogetherMoveTogetherInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := countLog{membus.New(), new(atomic.Int64)}, &subscriber{}
		b := openBus(t, log)
		apply(t, b, configOf(s))
		var events []*bus.Event
		var want []string
		for i := range 1000 { // the last is due first
			e := &bus.Event{ID: fmt.Sprint(i), Source: "/", Type: "t"}
			e.SetExtension(bus.AttributeKey, "k")
			e.SetExtension(bus.AttributeDeliverAt, time.Now().Add(time.Hour-time.Duration(i)).Format(time.RFC3339Nano))
			events = append(events, e)
			want = append([]string{e.ID}, want...)
		}
		if _, err := b.Publish(t.Context(), "p", "t", events); err != nil {
			t.Fatal(err)
		}
		closeBus(t, b)
		<-time.After(2 * time.Hour)
		log.calls.Store(0)
		b = openBus(t, log)
		apply(t, b, configOf(s))
		<-time.After(time.Second)
		s.wants(t, want...)
		if n := log.calls.Load(); n > 10 {
			t.Errorf("the log was asked %d times", n)
		}
		closeBus(t, b)
	})
}

func TestTheCircumstancesOfADeadLetterAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := membus.New(), &subscriber{}
		s.say(bus.Outcome{Verdict: bus.Failed, Status: 500, Text: strings.Repeat("\x01", 300)}) // six bytes each in JSON
		b := openBus(t, log)
		c := configOf(s)
		c.Subscriptions[0].Policy.Attempts = 50
		apply(t, b, c)
		publishIDs(t, b, "1")
		<-time.After(1000 * time.Hour)
		records, _, err := log.Read(t.Context(), bus.StreamDead, 1, 1, 1)
		if err != nil || len(records) != 1 {
			t.Fatalf("%d dead letters: %v", len(records), err)
		}
		if size := records[0].Event.Size(); size > bus.CircumstancesRoom {
			t.Errorf("the dead letter takes %d bytes", size)
		}
		letters, _, err := b.DeadLetters(t.Context(), "", 1, 10)
		if err != nil || len(letters) != 1 || letters[0].Failed != 50 || len(letters[0].Attempts) < 20 {
			t.Errorf("letters %+v: %v", letters, err)
		}
		closeBus(t, b)
	})
}
