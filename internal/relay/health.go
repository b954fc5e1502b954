package relay

import (
	"sync"
	"sync/atomic"
	"time"
)

// windowSeconds is the length of the time windows in which failures and retries are counted.
const windowSeconds = 10

// window counts two kinds of things over the last windowSeconds, second by second. The zero value is ready; it is
// not safe for concurrent use.
type window struct {
	buckets [windowSeconds]bucket
}

type bucket struct {
	second int64
	a, b   int
}

// add counts a and b at the time now.
func (w *window) add(now time.Time, a, b int) {
	second := now.Unix()
	k := &w.buckets[uint64(second)%windowSeconds]
	if k.second != second {
		*k = bucket{second: second}
	}
	k.a += a
	k.b += b
}

// sums is what was counted in the window that ends now.
func (w *window) sums(now time.Time) (a, b int) {
	oldest := now.Unix() - windowSeconds + 1
	for _, k := range w.buckets {
		if k.second >= oldest {
			a += k.a
			b += k.b
		}
	}
	return a, b
}

// When a breaker opens, and for how long.
const (
	failStreak  = 5                // failures in a row
	failCount   = 5                // failures in the window, if they are also half of all
	openFirst   = 3 * time.Second  // how long the first time
	openLongest = 60 * time.Second // doubling up to this
)

// health is the breaker of one endpoint: closed, open until a time, then half open until one request has probed it.
type health struct {
	openUntil atomic.Int64 // Unix time in ns; 0 while closed
	probing   atomic.Bool  // a request is probing the endpoint

	mu     sync.Mutex // guards what follows, and changes of openUntil
	window window     // a: all, b: failures
	streak int        // failures in a row
	times  int        // openings in a row
}

type breaker int

const (
	closed breaker = iota
	open
	halfOpen
)

// breaker is the state at the time now.
func (h *health) breaker(now time.Time) breaker {
	until := h.openUntil.Load()
	switch {
	case until == 0:
		return closed
	case now.UnixNano() < until:
		return open
	}
	return halfOpen
}

// succeed counts a request that the endpoint served.
func (h *health) succeed(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.window.add(now, 1, 0)
	h.streak = 0
	if h.breaker(now) == halfOpen {
		h.times, h.window = 0, window{}
		h.openUntil.Store(0)
	}
}

// fail counts a failure. If the breaker should open now, it asks mayOpen and opens it; it tells whether it did.
func (h *health) fail(now time.Time, mayOpen func() bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.window.add(now, 1, 1)
	h.streak++
	switch h.breaker(now) {
	case open:
		return false
	case closed:
		all, failed := h.window.sums(now)
		if h.streak < failStreak && (failed < failCount || 2*failed < all) {
			return false
		}
	case halfOpen:
	}
	if !mayOpen() {
		h.openUntil.Store(0)
		return false
	}
	wait := min(openFirst<<min(h.times, 10), openLongest)
	h.times++
	h.openUntil.Store(now.Add(wait).UnixNano())
	return true
}

// budget lets retries be at most a share of the traffic, so that they cannot finish off a service that suffers.
type budget struct {
	mu     sync.Mutex // guards window
	window window     // a: requests, b: retries
}

// request counts one request.
func (b *budget) request(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.window.add(now, 1, 0)
}

// spend takes one retry out of the budget if there is one left.
func (b *budget) spend(now time.Time, ratio float64, floor int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	requests, retries := b.window.sums(now)
	if float64(retries+1) > float64(floor*windowSeconds)+ratio*float64(requests) {
		return false
	}
	b.window.add(now, 0, 1)
	return true
}
