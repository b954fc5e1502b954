package block

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// limiter shares a rate among services. While all together stay below it everybody sends what they like; beyond, those who send
// least keep all, and the loudest are held to one level at which the sum fits (max-min fairness). It looks at whole seconds: the
// level of a second follows from what was wanted in the one before, and sinks when more comes than was expected. What was granted
// cannot be taken back, so the second in which the load rises may have more than its rate.
//
// Grave rows go before others of their service: as many as came in the second before have their places kept for them, and they are
// refused only when they alone are beyond the level.
type limiter struct {
	perSecond int64 // 0 is no limit

	mu     sync.Mutex
	second int64                   // guarded by mu: that is being counted, since 1970 UTC
	now    map[string]*serviceRate // guarded by mu: by service
	total  int64                   // guarded by mu: granted to all
	level  int64                   // guarded by mu: what one service gets at least
}

// serviceRate is what a service wanted and got in a second.
type serviceRate struct {
	wanted, granted           int64
	graveWanted, graveGranted int64
	reserved                  int64 // of grave rows, after the second before
}

func newLimiter(perSecond int64) *limiter {
	return &limiter{perSecond: perSecond, level: perSecond, now: map[string]*serviceRate{}}
}

// take asks for n rows of a service and answers how many it gets.
func (l *limiter) take(service string, n int64, grave bool, now time.Time) int64 {
	if l.perSecond <= 0 {
		return n
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if second := now.Unix(); second != l.second {
		l.turn(second)
	}
	r := l.rate(service)
	r.wanted += n
	if grave {
		r.graveWanted += n
	}
	if l.total+n > l.perSecond {
		l.level = min(l.level, l.fair())
	}
	// Below its level a service is never refused, so that one who was silent a second ago does not pay for the loud.
	room := l.level - r.granted
	if grave {
		room = max(room, l.level-r.graveGranted)
	} else {
		room -= max(r.reserved-r.graveGranted, 0)
	}
	n = max(min(n, room), 0)
	r.granted += n
	if grave {
		r.graveGranted += n
	}
	l.total += n
	return n
}

// rate is what is counted of a service. The caller holds mu.
func (l *limiter) rate(service string) *serviceRate {
	if r := l.now[service]; r != nil {
		return r
	}
	if len(l.now) >= maxServices {
		service = others
		if r := l.now[service]; r != nil {
			return r
		}
	}
	r := &serviceRate{}
	l.now[strings.Clone(service)] = r
	return r
}

// turn begins another second. The caller holds mu.
func (l *limiter) turn(second int64) {
	next := map[string]*serviceRate{}
	if second == l.second+1 {
		l.level = l.fair()
		for service, r := range l.now {
			if r.graveWanted > 0 {
				next[service] = &serviceRate{reserved: min(r.graveWanted, l.level)}
			}
		}
	} else {
		l.level = l.perSecond
	}
	l.second, l.total, l.now = second, 0, next
}

// fair is the level for what is wanted now. The caller holds mu.
func (l *limiter) fair() int64 {
	wanted := make([]int64, 0, len(l.now))
	for _, r := range l.now {
		wanted = append(wanted, r.wanted)
	}
	return fairLevel(wanted, l.perSecond)
}

// fairLevel is the level at which the sum of what each gets, the lesser of its wish and the level, is limit. Where the wishes fit
// it is limit.
func fairLevel(wishes []int64, limit int64) int64 {
	slices.Sort(wishes)
	left := limit
	for i, wish := range wishes {
		share := left / int64(len(wishes)-i)
		if wish > share {
			return max(share, 1)
		}
		left -= wish
	}
	return limit
}
