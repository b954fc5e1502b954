package bus

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"
)

const maxDelayed = 1_000_000 // events that wait for their time; each takes 32 bytes of memory

// dueAt is when an event is due, for one that is delayed.
func (e *Event) dueAt() (time.Time, bool) {
	text := e.Extension(AttributeDeliverAt)
	if text == "" {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	return t, err == nil
}

// alarm moves delayed events to the stream of events once they are due. A crash in between moves an event twice, under its one
// id. It is safe for concurrent use.
type alarm struct {
	b    *Bus
	wake chan struct{} // holds one

	mu  sync.Mutex
	due dueHeap // guarded by mu
}

type dueEvent struct {
	at     time.Time
	offset Offset
}

func newAlarm(b *Bus) *alarm { return &alarm{b: b, wake: make(chan struct{}, 1)} }

// load finds what earlier runs have left.
func (a *alarm) load(ctx context.Context) error {
	from := Offset(1)
	for {
		records, next, err := a.b.log.Read(ctx, StreamDelayed, from, 1000, readBytes)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return nil
		}
		a.add(records)
		from = next
	}
}

// fits tells whether n more may wait.
func (a *alarm) fits(n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.due)+n <= maxDelayed
}

// waiting is how many wait.
func (a *alarm) waiting() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.due)
}

// add takes note of records of the stream of delayed events.
func (a *alarm) add(records []Record) {
	a.mu.Lock()
	for _, r := range records {
		at, _ := r.Event.dueAt() // without a time it is due
		heap.Push(&a.due, dueEvent{at, r.Offset})
	}
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run moves what is due until ctx ends.
func (a *alarm) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-a.wake:
		case <-ctx.Done():
			return
		}
		next := time.Hour
		for {
			batch, left := a.take(time.Now())
			if len(batch) == 0 {
				next = left
				break
			}
			if err := a.move(ctx, batch); err != nil {
				if ctx.Err() == nil {
					a.b.logger.Error("delayed events not published, trying again", "error", err)
				}
				a.put(batch)
				next = retryAfter
				break
			}
		}
		timer.Reset(next)
	}
}

// take returns some of those that are due, or how long it is until one will be.
func (a *alarm) take(now time.Time) (batch []dueEvent, left time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.due) > 0 && len(batch) < 100 {
		if left := a.due[0].at.Sub(now); left > 0 {
			return batch, min(left, time.Hour) // clocks are set
		}
		batch = append(batch, heap.Pop(&a.due).(dueEvent))
	}
	return batch, time.Hour
}

// remove forgets an event that waits, unless it is being moved already.
func (a *alarm) remove(offset Offset) (dueEvent, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := slices.IndexFunc(a.due, func(d dueEvent) bool { return d.offset == offset })
	if at < 0 {
		return dueEvent{}, false
	}
	return heap.Remove(&a.due, at).(dueEvent), true
}

func (a *alarm) put(batch []dueEvent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range batch {
		heap.Push(&a.due, d)
	}
}

// move publishes delayed events and then drops them where they waited.
func (a *alarm) move(ctx context.Context, batch []dueEvent) error {
	events := make([]*Event, 0, len(batch))
	offsets := make([]Offset, 0, len(batch))
	for _, d := range batch {
		records, _, err := a.b.log.Read(ctx, StreamDelayed, d.offset, 1, readBytes)
		if err != nil {
			return err
		}
		if len(records) == 0 || records[0].Offset != d.offset {
			continue // dropped
		}
		events = append(events, records[0].Event)
		offsets = append(offsets, d.offset)
	}
	if len(events) == 0 {
		return nil
	}
	if err := a.b.events.append(ctx, events); err != nil {
		return err
	}
	a.b.counts.published(events)
	return a.b.log.Drop(ctx, StreamDelayed, offsets...)
}

// dueHeap orders events by when they are due, and those of one moment as they came.
type dueHeap []dueEvent

func (h dueHeap) Len() int { return len(h) }

func (h dueHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].offset < h[j].offset
	}
	return h[i].at.Before(h[j].at)
}

func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) { *h = append(*h, x.(dueEvent)) }

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
