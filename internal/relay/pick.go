package relay

import (
	"math/rand/v2"
	"slices"
	"time"
)

// take picks an endpoint that is not in without, and acquires it: of two drawn at random, with their weights as
// odds, the one with fewer requests in flight for its weight (Mitzenmacher, The Power of Two Choices in Randomized
// Load Balancing, 2001). Endpoints whose breaker is open are left out as long as others stand. It returns nil if
// there is none to take; probe says that the request probes a half-open breaker.
func (v *view) take(now time.Time, without []*endpoint) (e *endpoint, probe bool) {
	var space [16]*endpoint
	standing := space[:0]
	for _, e := range v.endpoints {
		if !slices.Contains(without, e) && e.admits(now) {
			standing = append(standing, e)
		}
	}
	for len(standing) > 0 {
		e := draw(standing)
		if e.health.breaker(now) == halfOpen {
			if !e.health.probing.CompareAndSwap(false, true) {
				standing = remove(standing, e)
				continue
			}
			if e.acquire() {
				return e, true
			}
			e.health.probing.Store(false)
		} else if e.acquire() {
			return e, false
		}
		standing = remove(standing, e)
	}
	return v.takeOpen(without), false
}

// takeOpen takes any endpoint, its breaker open or not: when all are left out, leaving them out helps nobody.
func (v *view) takeOpen(without []*endpoint) *endpoint {
	standing := slices.DeleteFunc(slices.Clone(v.endpoints), func(e *endpoint) bool { return slices.Contains(without, e) })
	for len(standing) > 0 {
		e := draw(standing)
		if e.acquire() {
			return e
		}
		standing = remove(standing, e)
	}
	return nil
}

// others tells whether an endpoint with a closed breaker stands that is not in without.
func (v *view) others(now time.Time, without []*endpoint) bool {
	return slices.ContainsFunc(v.endpoints, func(e *endpoint) bool {
		return !slices.Contains(without, e) && e.health.breaker(now) == closed
	})
}

func (e *endpoint) admits(now time.Time) bool {
	switch e.health.breaker(now) {
	case open:
		return false
	case halfOpen:
		return !e.health.probing.Load()
	case closed:
	}
	return true
}

// draw picks one of the list by two choices.
func draw(list []*endpoint) *endpoint {
	if len(list) == 1 {
		return list[0]
	}
	first := byWeight(list, nil)
	second := byWeight(list, first)
	// a/wa > b/wb, without the division
	if first.inFlight()*second.weight.Load() > second.inFlight()*first.weight.Load() {
		return second
	}
	return first
}

// byWeight draws an endpoint other than but, with the weights as odds.
func byWeight(list []*endpoint, but *endpoint) *endpoint {
	var total int64
	for _, e := range list {
		if e != but {
			total += e.weight.Load()
		}
	}
	at := rand.Int64N(max(total, 1))
	last := list[0]
	for _, e := range list {
		if e == but {
			continue
		}
		last = e
		if at -= e.weight.Load(); at < 0 {
			return e
		}
	}
	return last
}

func remove(list []*endpoint, e *endpoint) []*endpoint {
	return slices.DeleteFunc(list, func(x *endpoint) bool { return x == e })
}

// mayOpen tells whether the breaker of one more endpoint of the view may open: at most half of them are open, and
// one always stands.
func (v *view) mayOpen(now time.Time, e *endpoint) bool {
	opened, known := 0, false
	for _, o := range v.endpoints {
		known = known || o == e
		if o != e && o.health.breaker(now) != closed {
			opened++
		}
	}
	return known && opened+1 <= len(v.endpoints)/2
}
