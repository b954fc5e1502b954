package bus_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/membus"
	"github.com/atollhq/atoll/internal/fault"
)

func TestARefusedBatchSaysWhichEventIsMeant(t *testing.T) {
	broken := fault.New(fault.CodeEventContract, "the event breaks the contract").Fix("mend it")
	err := bus.InBatch(500, "x", broken)
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != fault.CodeEventContract || f.Text != "event 500 (id x): the event breaks the contract" || f.Remedy != "mend it" {
		t.Errorf("got %+v", err)
	}
	if strings.HasPrefix(broken.Text, "event") {
		t.Error("the fault itself was changed")
	}
}

func TestABatchThatTheBusRefusesSaysWhichEventIsMeant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBus(t, membus.New())
		apply(t, b, configOf(&subscriber{}))
		good, bad := &bus.Event{ID: "1", Source: "/", Type: "t", Topic: "t"}, &bus.Event{ID: "2", Source: "/", Topic: "t"}
		_, err := b.Publish(t.Context(), "p", "t", []*bus.Event{good, bad})
		_, errAll := b.PublishAll(t.Context(), "p", []*bus.Event{good, bad})
		for _, err := range []error{err, errAll} {
			if f, ok := errors.AsType[*fault.Error](err); !ok || !strings.HasPrefix(f.Text, "event 1 (id 2): ") {
				t.Errorf("got %v", err)
			}
		}
		if _, err := b.Publish(t.Context(), "p", "t", []*bus.Event{bad}); err == nil || strings.Contains(err.Error(), "event 0") {
			t.Errorf("one event is no batch: %v", err)
		}
		closeBus(t, b)
	})
}
