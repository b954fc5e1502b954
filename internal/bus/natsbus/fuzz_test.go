package natsbus_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/natsbus"
)

// FuzzAFrameThatIsReadIsWrittenAsItWas reads what is perhaps a frame: it never panics, and what it takes for a frame says the same
// once it is written and read again.
func FuzzAFrameThatIsReadIsWrittenAsItWas(f *testing.F) {
	e := &bus.Event{Topic: "order.placed", ID: "1", Source: "/s", Type: "t", Time: time.Unix(-7, 5).UTC(), Data: []byte("x")}
	e.SetExtension(bus.AttributeKey, "k €")
	f.Add(natsbus.AppendFrame(1, []*bus.Event{e, {ID: "2"}}))
	f.Add(natsbus.AppendFrame(1<<62, nil))
	f.Add([]byte{2, 1, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, frame []byte) {
		first, events, err := natsbus.ReadFrame(frame)
		if err != nil {
			return
		}
		again, back, err := natsbus.ReadFrame(natsbus.AppendFrame(first, events))
		if err != nil || again != first || !reflect.DeepEqual(back, events) {
			t.Fatalf("got  %d %+v: %v\nwant %d %+v", again, back, err, first, events)
		}
	})
}
