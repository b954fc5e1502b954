package natsbus

import (
	"context"

	"github.com/atollhq/atoll/internal/bus"
)

// AppendFrame writes a frame.
func AppendFrame(first bus.Offset, events []*bus.Event) []byte {
	return appendFrame(nil, first, events)
}

// ReadFrame reads one.
func ReadFrame(frame []byte) (bus.Offset, []*bus.Event, error) { return readFrame(frame) }

// Remember lets a log remember the places of so few frames.
func Remember(l *Log, frames int) {
	l.events.mu.Lock()
	defer l.events.mu.Unlock()
	l.events.window = frames
}

// Find returns the message from which on an offset is found.
func Find(ctx context.Context, l *Log, offset bus.Offset) (bus.Offset, error) {
	return l.events.find(ctx, offset)
}
