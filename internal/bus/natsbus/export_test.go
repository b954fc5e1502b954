package natsbus

import "github.com/atollhq/atoll/internal/bus"

// AppendFrame writes a frame.
func AppendFrame(first bus.Offset, events []*bus.Event) []byte {
	return appendFrame(nil, first, events)
}

// ReadFrame reads one.
func ReadFrame(frame []byte) (bus.Offset, []*bus.Event, error) { return readFrame(frame) }
