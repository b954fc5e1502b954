package gateway

import (
	"fmt"
	"hash/maphash"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
)

// limiter counts requests by GCRA, the generic cell rate algorithm (ITU-T I.371, Annex A): for each key one time, at
// which what was taken so far would be paid back at the steady rate. Its table is bounded.
type limiter struct {
	seeds  [2]maphash.Seed
	max    int // keys in one shard
	shards [limitShards]limitShard
}

const limitShards = 16

type limitShard struct {
	mu   sync.Mutex // guards paid
	paid map[limitKey]time.Time
}

// limitKey stands for a limit and what it is counted by. Two seeded hashes make a key that clients cannot aim at.
type limitKey [2]uint64

func newLimiter(keys int) *limiter {
	l := &limiter{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, max: max(keys/limitShards, 1)}
	for i := range l.shards {
		l.shards[i].paid = map[limitKey]time.Time{}
	}
	return l
}

// limit is one limit of one route.
type limit struct {
	manifest.Limit
	definition string        // what makes two limits the same, so that counts survive a reload
	name       string        // in the RateLimit headers
	step       time.Duration // what one request costs
	burst      time.Duration // what may be owed at most
}

func newLimit(route string, n int, l manifest.Limit) limit {
	if l.Burst <= 0 {
		l.Burst = l.Count
	}
	if l.By == "" {
		l.By = manifest.LimitByAddress
	}
	step := max(l.Per/time.Duration(max(l.Count, 1)), 1)
	name := string(l.By)
	if n > 0 {
		name += "-" + strconv.Itoa(n+1)
	}
	return limit{
		Limit: l, name: name, step: step, burst: step * time.Duration(l.Burst),
		definition: fmt.Sprintf("%s|%d/%s/%d|%s|%s", route, l.Count, l.Per, l.Burst, l.By, l.Header),
	}
}

// allowance is what a limit says to one request.
type allowance struct {
	limit     *limit
	key       limitKey
	ok        bool
	remaining int
	reset     time.Duration // until all is paid back
	retry     time.Duration // until a request is let through again, if not ok
}

func (l *limiter) key(definition, value string) limitKey {
	var k limitKey
	for i, seed := range l.seeds {
		var h maphash.Hash
		h.SetSeed(seed)
		_, _ = h.WriteString(definition) // never fails
		_ = h.WriteByte(0)
		_, _ = h.WriteString(value)
		k[i] = h.Sum64()
	}
	return k
}

// take counts one request.
func (l *limiter) take(now time.Time, lim *limit, value string) allowance {
	a := allowance{limit: lim, key: l.key(lim.definition, value)}
	s := &l.shards[a.key[0]%limitShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	paid := s.paid[a.key]
	if paid.Before(now) {
		paid = now
	}
	next := paid.Add(lim.step)
	if owed := next.Sub(now); owed > lim.burst {
		a.retry, a.reset = owed-lim.burst, paid.Sub(now)
		return a
	}
	if _, known := s.paid[a.key]; !known && len(s.paid) >= l.max {
		s.forget(now)
	}
	s.paid[a.key] = next
	a.ok, a.reset = true, next.Sub(now)
	a.remaining = int((lim.burst - a.reset) / lim.step)
	return a
}

// giveBack undoes a take.
func (l *limiter) giveBack(a allowance) {
	s := &l.shards[a.key[0]%limitShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if paid, known := s.paid[a.key]; known {
		s.paid[a.key] = paid.Add(-a.limit.step)
	}
}

// forget makes room: of a few keys, those that owe nothing, and at least the one that owes least. The caller holds
// mu.
func (s *limitShard) forget(now time.Time) {
	var least limitKey
	var leastPaid time.Time
	looked := 0
	for k, paid := range s.paid {
		if !paid.After(now) {
			delete(s.paid, k)
		} else if leastPaid.IsZero() || paid.Before(leastPaid) {
			least, leastPaid = k, paid
		}
		if looked++; looked == 16 {
			break
		}
	}
	if len(s.paid) >= looked && !leastPaid.IsZero() {
		delete(s.paid, least)
	}
}

// limitFields are RateLimit-Policy and RateLimit after draft-ietf-httpapi-ratelimit-headers-10.
func limitFields(all []allowance) [2]relay.Field {
	var policy, state string
	for i, a := range all {
		sep := ""
		if i > 0 {
			sep = ", "
		}
		policy += fmt.Sprintf("%s%q;q=%d;w=%d", sep, a.limit.name, a.limit.Burst, seconds(a.limit.burst))
		state += fmt.Sprintf("%s%q;r=%d;t=%d", sep, a.limit.name, a.remaining, seconds(a.reset))
	}
	return [2]relay.Field{{Name: "RateLimit-Policy", Value: policy}, {Name: "RateLimit", Value: state}}
}

// seconds are whole ones, rounded up.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
