package bus_test

import (
	"context"
	"errors"
	"sync"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/membus"
)

var errDisk = errors.New("the disk is gone")

// watchedLog remembers what it was asked, and waits or fails as it is told.
type watchedLog struct {
	*membus.Log

	mu      sync.Mutex
	hold    chan struct{}        // guarded by mu: Append waits until it is closed
	failing map[string]error     // guarded by mu: by the operation and its stream
	batches map[bus.Stream][]int // guarded by mu: how many bytes each Append had, of each stream
	counts  map[bus.Stream][]int // guarded by mu: and how many events
	reads   []bus.Offset         // guarded by mu: from where the stream of events was read
}

func newWatchedLog() *watchedLog {
	return &watchedLog{Log: membus.New(), failing: map[string]error{}, batches: map[bus.Stream][]int{}, counts: map[bus.Stream][]int{}}
}

// stop lets Append wait until the function that it returns is called.
func (l *watchedLog) stop() (release func()) {
	hold := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold = hold
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		close(hold)
		l.hold = nil
	}
}

// fail lets an operation on a stream fail from now on; with nil it succeeds again.
func (l *watchedLog) fail(operation string, stream bus.Stream, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failing[operation+string(stream)] = err
}

// readFrom tells from where the stream of events has been read since the last call.
func (l *watchedLog) readFrom() []bus.Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	reads := l.reads
	l.reads = nil
	return reads
}

func (l *watchedLog) failure(operation string, stream bus.Stream) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failing[operation+string(stream)]
}

// Append implements bus.Log.
func (l *watchedLog) Append(ctx context.Context, stream bus.Stream, events []*bus.Event) (bus.Offset, error) {
	l.mu.Lock()
	hold, bytes := l.hold, 0
	for _, e := range events {
		bytes += e.Size()
	}
	l.batches[stream] = append(l.batches[stream], bytes)
	l.counts[stream] = append(l.counts[stream], len(events))
	l.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if err := l.failure("append", stream); err != nil {
		return 0, err
	}
	return l.Log.Append(ctx, stream, events)
}

// Read implements bus.Log.
func (l *watchedLog) Read(ctx context.Context, stream bus.Stream, from bus.Offset, limit, maxBytes int) ([]bus.Record, bus.Offset, error) {
	if err := l.failure("read", stream); err != nil {
		return nil, from, err
	}
	if stream == bus.StreamEvents {
		l.mu.Lock()
		l.reads = append(l.reads, from)
		l.mu.Unlock()
	}
	return l.Log.Read(ctx, stream, from, limit, maxBytes)
}

// Drop implements bus.Log.
func (l *watchedLog) Drop(ctx context.Context, stream bus.Stream, offsets ...bus.Offset) error {
	if err := l.failure("drop", stream); err != nil {
		return err
	}
	return l.Log.Drop(ctx, stream, offsets...)
}
