package platform

import (
	"context"
	"sync"

	"github.com/atollhq/atoll/internal/control/api"
)

// maxEvents is how many events are kept; older ones are forgotten, and those who follow too slowly are told how
// many they missed.
const maxEvents = 2048

// events is what happened, in order. It is safe for concurrent use.
type events struct {
	mu      sync.Mutex
	kept    []api.Event   // guarded by mu; by seq, without gaps
	next    int64         // guarded by mu: seq of the next one
	changed chan struct{} // guarded by mu: closed by the next add
	closed  bool          // guarded by mu
}

func newEvents() *events { return &events{next: 1, changed: make(chan struct{})} }

// add numbers an event and keeps it.
func (h *events) add(e api.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	e.Seq = h.next
	h.next++
	if len(h.kept) >= maxEvents {
		h.kept = append(h.kept[:0:0], h.kept[maxEvents/2:]...)
	}
	h.kept = append(h.kept, e)
	close(h.changed)
	h.changed = make(chan struct{})
}

// close ends those who follow.
func (h *events) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		close(h.changed)
	}
}

// after returns the events that follow seq, and what tells of more.
func (h *events) after(seq int64) (list []api.Event, changed <-chan struct{}, closed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.kept) == 0 {
		return nil, h.changed, h.closed
	}
	first := h.kept[0].Seq
	at := max(seq+1-first, 0)
	list = append(list, h.kept[min(at, int64(len(h.kept))):]...)
	if missed := first - seq - 1; missed > 0 && len(list) > 0 {
		list[0].Missed = missed
	}
	return list, h.changed, h.closed
}

// read calls yield with the events after seq, and, if it follows, with those that come, until ctx ends.
func (h *events) read(ctx context.Context, seq int64, follow bool, yield func(api.Event) error) error {
	for {
		list, changed, closed := h.after(seq)
		for _, e := range list {
			if err := yield(e); err != nil {
				return err
			}
			seq = e.Seq
		}
		if !follow || closed {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}
