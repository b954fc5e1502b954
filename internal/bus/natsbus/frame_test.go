package natsbus_test

import (
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/natsbus"
)

func TestAFrameKeepsTimesOfAllYears(t *testing.T) {
	for _, at := range []time.Time{
		{},
		time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(1600, 2, 3, 4, 5, 6, 7, time.UTC), time.Unix(0, 0).UTC(),
		time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	} {
		_, events, err := natsbus.ReadFrame(natsbus.AppendFrame(1, []*bus.Event{{ID: "1", Time: at}}))
		if err != nil || len(events) != 1 || !events[0].Time.Equal(at) || events[0].Time.IsZero() != at.IsZero() {
			t.Errorf("%s came back as %+v: %v", at, events, err)
		}
	}
}

func TestAnEventDoesNotKeepTheFrameItCameIn(t *testing.T) {
	small, large := &bus.Event{ID: "small", Data: []byte("x")}, &bus.Event{ID: "large", Data: make([]byte, 1<<20)}
	frame := natsbus.AppendFrame(1, []*bus.Event{small, large})
	_, events, err := natsbus.ReadFrame(frame)
	if err != nil {
		t.Fatal(err)
	}
	begin, at := uintptr(unsafe.Pointer(unsafe.SliceData(frame))), uintptr(unsafe.Pointer(unsafe.SliceData(events[0].Data)))
	if at >= begin && at < begin+uintptr(len(frame)) {
		t.Error("the data of an event lies in its frame")
	}
}

func BenchmarkReadFrame(b *testing.B) {
	events := make([]*bus.Event, 100)
	for i := range events {
		events[i] = &bus.Event{
			Topic: "order.placed", ID: bus.NewID(), Source: "/services/orders", Type: "order.placed", DataType: "application/json",
			Time: time.Now(), Data: []byte(strings.Repeat("x", 200)),
		}
		events[i].SetExtension(bus.AttributeKey, "customer-7")
		events[i].SetExtension(bus.AttributePublisher, "orders")
		events[i].SetExtension(bus.AttributeTrace, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	}
	frame := natsbus.AppendFrame(1, events)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := natsbus.ReadFrame(frame); err != nil {
			b.Fatal(err)
		}
	}
}
