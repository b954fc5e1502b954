package bus

import (
	"context"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

const (
	maxBatchBytes = 4 << 20
	maxQueued     = 8192 // requests that wait for a batch
	smallBatch    = 8    // below, there is no waiting for others
	longestGather = time.Millisecond
)

// writer gathers what many append at once to one stream, so that they share what it costs to make it durable. While one batch
// is being written the next forms. What one caller appends stays in its order, and stays together.
type writer struct {
	log    Log
	stream Stream
	queue  chan *appending
	// stored is told of what has become durable, in order, before those who wait for it.
	stored func([]Record)
	ended  chan struct{} // closed when run has ended
}

// appending is one caller's events.
type appending struct {
	events []*Event
	first  Offset
	err    error
	done   chan struct{}
}

func newWriter(log Log, stream Stream, stored func([]Record)) *writer {
	return &writer{log: log, stream: stream, queue: make(chan *appending, maxQueued), stored: stored, ended: make(chan struct{})}
}

// append returns the offset of the first of events once all of them are durable. Once it is queued it is not taken back: with
// an error of ctx it is not known whether they will be.
func (w *writer) append(ctx context.Context, events []*Event) (Offset, error) {
	a := &appending{events: events, done: make(chan struct{})}
	select {
	case w.queue <- a:
	default:
		return 0, fault.New(fault.CodeBusBusy, "more is being published than can be written").
			Fix("try again in a moment; Retry-After says when")
	}
	select {
	case <-a.done:
		return a.first, a.err
	case <-w.ended:
		return 0, errEnding()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// errEnding refuses what comes while the bus ends.
func errEnding() error {
	return fault.New(fault.CodeBusBusy, "the event bus is ending").Fix("try again once the application runs again")
}

// run writes until ctx ends, and then what is still queued.
func (w *writer) run(ctx context.Context) {
	defer close(w.ended)
	var held *appending // did not fit into the batch before
	var last batchStats
	for {
		first := held
		held = nil
		if first == nil {
			select {
			case first = <-w.queue:
			case <-ctx.Done():
				select {
				case first = <-w.queue:
				default:
					return
				}
			}
		}
		batch, rest := w.gather(first, last)
		held = rest
		last = w.write(context.WithoutCancel(ctx), batch)
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
	events, bytes := len(first.events), sizeOf(first.events)
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
		if events+len(next.events) > MaxAppend {
			return batch, next
		}
		batch = append(batch, next)
		events += len(next.events)
		bytes += sizeOf(next.events)
	}
	return batch, nil
}

func sizeOf(events []*Event) int {
	n := 0
	for _, e := range events {
		n += e.Size()
	}
	return n
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
		a.first, a.err = first, err
		first += Offset(len(a.events))
		close(a.done)
	}
	return stats
}
