package bus

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

const (
	maxBatchBytes = 4 << 20
	maxQueued     = 8192     // requests that wait for a batch
	maxWaiting    = 64 << 20 // bytes of events that wait or are being written
	ownRoom       = 1 << 10  // bytes of Atoll's own attributes in an event that is published
	smallBatch    = 8        // below, there is no waiting for others
	longestGather = time.Millisecond
)

// writer gathers what many append at once to one stream, so that they share what it costs to make it durable. While one batch
// is being written the next forms. What is submitted stays in its order, and what is submitted at once stays together.
type writer struct {
	log    Log
	stream Stream
	room   int // bytes that one event may take
	queue  chan *appending
	bytes  atomic.Int64 // of the events that wait or are being written
	// stored is told of what has become durable, in order, before those who wait for it.
	stored func([]Record)

	mu     sync.RWMutex
	closed bool // guarded by mu: nothing is taken any more
}

// appending is events that were submitted at once.
type appending struct {
	events []*Event
	size   int // bytes
	done   func(first Offset, err error)
}

func newWriter(log Log, stream Stream, stored func([]Record)) *writer {
	room := log.MaxRecord() + ownRoom
	if stream == StreamDead || stream == StreamDeliveries {
		room = log.MaxRecord() + CircumstancesRoom
	}
	return &writer{log: log, stream: stream, room: room, queue: make(chan *appending, maxQueued), stored: stored}
}

// submit queues events. Once they are durable, or it has failed, done is called, once; it must not block. An error says that
// they were not taken, and done is not called. An event for which the log has no room is refused here, since in an Append it would
// take those of others with it.
func (w *writer) submit(events []*Event, done func(first Offset, err error)) error {
	size := 0
	for _, e := range events {
		if err := checkSize(e, w.room); err != nil {
			return err
		}
		size += e.Size()
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return errEnding()
	}
	if waiting := w.bytes.Add(int64(size)); waiting > maxWaiting && waiting > int64(size) { // one alone may be larger
		w.bytes.Add(-int64(size))
		return errBusy()
	}
	select {
	case w.queue <- &appending{events, size, done}:
		return nil
	default:
		w.bytes.Add(-int64(size))
		return errBusy()
	}
}

// errBusy refuses what is more than the log can take now.
func errBusy() error {
	return fault.New(fault.CodeBusBusy, "more is being published than can be written").
		Fix("try again in a moment; Retry-After says when")
}

// append submits events and waits until all of them are durable. With an error of ctx it is not known whether they will be.
func (w *writer) append(ctx context.Context, events []*Event) error {
	failed := make(chan error, 1)
	if err := w.submit(events, func(_ Offset, err error) { failed <- err }); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// errEnding refuses what comes while the bus ends.
func errEnding() error {
	return fault.New(fault.CodeBusBusy, "the event bus is ending").Fix("try again once the application runs again")
}

// run writes until ctx ends, and then what is still queued.
func (w *writer) run(ctx context.Context) {
	writing := context.WithoutCancel(ctx)
	var held *appending // did not fit into the batch before
	var last batchStats
	stopping := ctx.Done()
	for {
		first := held
		held = nil
		if first == nil {
			select {
			case first = <-w.queue:
			case <-stopping:
				w.mu.Lock()
				w.closed = true
				close(w.queue)
				w.mu.Unlock()
				stopping = nil
				continue
			}
		}
		if first == nil {
			return // closed and empty
		}
		var batch []*appending
		batch, held = w.gather(first, last)
		last = w.write(writing, batch)
	}
}

// batchStats is what the batch before tells about the next: those whose events were in it are likely to come again.
type batchStats struct {
	requests int
	took     time.Duration
}

// gather takes what is queued. After a batch of many it waits a moment for those to come again, since a batch costs nearly the
// same however many are in it.
func (w *writer) gather(first *appending, last batchStats) (batch []*appending, rest *appending) {
	batch = []*appending{first}
	events, bytes := len(first.events), first.size
	var timeout <-chan time.Time
	if last.requests > smallBatch {
		timer := time.NewTimer(min(longestGather, last.took/2))
		defer timer.Stop()
		timeout = timer.C
	}
	for events < MaxAppend && bytes < maxBatchBytes {
		var next *appending
		select {
		case next = <-w.queue:
		default:
			if timeout == nil || len(batch) >= last.requests {
				return batch, nil
			}
			select {
			case next = <-w.queue:
			case <-timeout:
				return batch, nil
			}
		}
		if next == nil {
			return batch, nil // closed
		}
		if events+len(next.events) > MaxAppend {
			return batch, next
		}
		batch = append(batch, next)
		events += len(next.events)
		bytes += next.size
	}
	return batch, nil
}

// write appends one batch and tells everybody.
func (w *writer) write(ctx context.Context, batch []*appending) batchStats {
	events := make([]*Event, 0, len(batch))
	for _, a := range batch {
		events = append(events, a.events...)
	}
	began := time.Now()
	first, err := w.log.Append(ctx, w.stream, events)
	stats := batchStats{requests: len(batch), took: time.Since(began)}
	if err == nil && w.stored != nil {
		now := time.Now()
		records := make([]Record, len(events))
		for i, e := range events {
			records[i] = Record{Offset: first + Offset(i), Stored: now, Event: e}
		}
		w.stored(records)
	}
	for _, a := range batch {
		w.bytes.Add(-int64(a.size))
		a.done(first, err)
		first += Offset(len(a.events))
	}
	return stats
}
