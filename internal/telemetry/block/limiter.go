package block

import (
	"slices"
	"sync"
	"time"
)

// limiter shares a rate among services. While all together stay below it everybody sends what they like; beyond, those who send
// least keep all, and the loudest are held to one level at which the sum fits (max-min fairness). It looks at whole seconds: the
// level of a second follows from what was wanted in the one before.
type limiter struct {
	perSecond int64 // 0 is no limit

	mu      sync.Mutex
	second  int64            // guarded by mu: that is being counted, since 1970 UTC
	wanted  map[string]int64 // guarded by mu: rows in it, by service
	granted map[string]int64 // guarded by mu
	total   int64            // guarded by mu: granted to all
	level   int64            // guarded by mu: what one service gets at least
}

func newLimiter(perSecond int64) *limiter {
	return &limiter{perSecond: perSecond, level: perSecond, wanted: map[string]int64{}, granted: map[string]int64{}}
}

// take asks for n rows of a service and answers how many it gets.
func (l *limiter) take(service string, n int64, now time.Time) int64 {
	if l.perSecond <= 0 {
		return n
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if second := now.Unix(); second != l.second {
		l.turn(second)
	}
	l.wanted[service] += n
	// Below its level a service is never refused, so that one who was silent a second ago does not pay for the loud.
	room := max(l.level-l.granted[service], 0)
	if room < n && len(l.wanted) == 1 {
		room = l.perSecond - l.total
	}
	n = max(min(n, room), 0)
	l.granted[service] += n
	l.total += n
	return n
}

// turn begins another second. The caller holds mu.
func (l *limiter) turn(second int64) {
	if second == l.second+1 {
		l.level = fairLevel(l.wanted, l.perSecond)
	} else {
		l.level = l.perSecond
	}
	l.second, l.total = second, 0
	clear(l.wanted)
	clear(l.granted)
}

// fairLevel is the level at which the sum of what each gets, the lesser of its wish and the level, is limit. Where the wishes fit
// it is limit.
func fairLevel(wanted map[string]int64, limit int64) int64 {
	wishes := make([]int64, 0, len(wanted))
	for _, n := range wanted {
		wishes = append(wishes, n)
	}
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
