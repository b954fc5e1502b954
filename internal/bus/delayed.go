package bus

import (
	"container/heap"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

const maxDelayed = 1_000_000 // events that wait for their time; each takes 40 bytes of memory

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
	size   int
}

func newAlarm(b *Bus) *alarm { return &alarm{b: b, wake: make(chan struct{}, 1)} }

// load finds what earlier runs have left.
func (a *alarm) load(ctx context.Context) error {
	for from := Offset(1); ; {
		records, next, err := a.read(ctx, from, 1000)
		if err != nil {
			return err
		}
		if next <= from {
			return nil
		}
		a.add(records)
		from = next
	}
}

// read reads delayed events. One that cannot be read holds up no others: it is passed over, and stays where it is.
func (a *alarm) read(ctx context.Context, from Offset, limit int) ([]Record, Offset, error) {
	records, next, err := a.b.log.Read(ctx, StreamDelayed, from, limit, readBytes)
	if bad, ok := errors.AsType[*RecordError](err); ok {
		a.b.logger.Error("a delayed event cannot be read, and is passed over; the log keeps it", "offset", bad.Offset, "error", bad.Err)
		return nil, bad.Offset + 1, nil
	}
	return records, next, err
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
		heap.Push(&a.due, dueEvent{at, r.Offset, r.Event.Size()})
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
	for bytes := 0; len(a.due) > 0 && len(batch) < MaxAppend && bytes < maxBatchBytes; {
		if left := a.due[0].at.Sub(now); left > 0 {
			return batch, min(left, time.Hour) // clocks are set
		}
		d := heap.Pop(&a.due).(dueEvent)
		batch = append(batch, d)
		bytes += d.size
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
	waiting, err := a.fetch(ctx, batch)
	if err != nil || len(waiting) == 0 {
		return err
	}
	events := make([]*Event, 0, len(waiting))
	offsets := make([]Offset, 0, len(waiting))
	for _, d := range batch { // in the order in which they are due
		if e := waiting[d.offset]; e != nil { // otherwise dropped
			events = append(events, e)
			offsets = append(offsets, d.offset)
		}
	}
	if err := a.b.events.append(ctx, events); err != nil {
		return err
	}
	a.b.counts.published(events)
	return a.b.log.Drop(ctx, StreamDelayed, offsets...)
}

// nearBy is how far apart records may lie that are read together.
const nearBy = 8

// fetch reads those of a batch that are there still.
func (a *alarm) fetch(ctx context.Context, batch []dueEvent) (map[Offset]*Event, error) {
	wanted := make([]Offset, len(batch))
	out := make(map[Offset]*Event, len(batch))
	for i, d := range batch {
		wanted[i] = d.offset
		out[d.offset] = nil
	}
	slices.Sort(wanted)
	for len(wanted) > 0 {
		n := 1
		for n < len(wanted) && wanted[n]-wanted[n-1] <= nearBy {
			n++
		}
		records, next, err := a.read(ctx, wanted[0], int(wanted[n-1]-wanted[0])+1)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			if _, ok := out[r.Offset]; ok {
				out[r.Offset] = r.Event
			}
		}
		done, _ := slices.BinarySearch(wanted, max(next, wanted[0]+1))
		wanted = wanted[done:]
	}
	maps.DeleteFunc(out, func(_ Offset, e *Event) bool { return e == nil })
	return out, nil
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
