package natsbus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

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

// OpenFor is Open with a lease that is renewed every so often, expires after three times as long, and is waited for four times as
// long.
func OpenFor(ctx context.Context, nc *nats.Conn, app string, opts *Options, renew time.Duration) (*Log, error) {
	return open(ctx, nc, app, opts, terms{renew, 3 * renew, 4 * renew})
}
