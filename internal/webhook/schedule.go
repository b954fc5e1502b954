package webhook

import (
	"encoding/binary"
	"hash/fnv"
	"net/http"
	"time"
)

// GiveUpAfter is how long a message is tried, and how long an endpoint may fail without a success in between.
const GiveUpAfter = 72 * time.Hour

// longest is the wait between two tries that the others grow to.
const longest = 12 * time.Hour

// delays are the first waits, after the first try, the second, and so on. With the longest ones after them it is about
// fifteen tries in three days.
func delays() [9]time.Duration {
	return [...]time.Duration{
		5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour,
	}
}

// Next says when a message is tried again after a try that failed, or that it is given up. The attempt counts the tries that
// there were, from 1; first is when the first began, now when the last ended; retryAfter is what the receiver asked for, or
// 0. The last try falls to GiveUpAfter after the first.
//
// It is a pure function: the jitter of a fifth, which spreads what failed together, comes of first and the attempt.
func Next(attempt int, first, now time.Time, retryAfter time.Duration) (at time.Time, giveUp bool) {
	end := first.Add(GiveUpAfter)
	if !now.Before(end) {
		return time.Time{}, true
	}
	wait, list := longest, delays()
	if i := max(attempt, 1) - 1; i < len(list) {
		wait = list[i]
	}
	wait = max(time.Duration(float64(wait)*(0.8+0.4*spread(first, attempt))), retryAfter)
	if at = now.Add(wait); at.After(end) || at.Before(now) {
		at = end
	}
	return at, false
}

// spread is a number from 0 to below 1 that looks like chance.
func spread(first time.Time, attempt int) float64 {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(first.UnixNano()))
	binary.BigEndian.PutUint64(b[8:], uint64(attempt))
	h := fnv.New64a()
	_, _ = h.Write(b[:])               // never fails
	mixed := h.Sum64() ^ h.Sum64()>>29 // the upper bits of FNV depend little on the last bytes
	mixed *= 0xbf58476d1ce4e5b9        // a step of SplitMix64 (Steele, Lea, Flood 2014)
	mixed ^= mixed >> 32
	return float64(mixed>>11) / (1 << 53)
}

// Verdict is what a try's result means for its message.
type Verdict string

// The verdicts.
const (
	VerdictDone  Verdict = "done"  // the receiver has it
	VerdictRetry Verdict = "retry" // it shall be tried again, if Next says so
	VerdictGone  Verdict = "gone"  // the receiver wants nothing any more
)

// Judge says what a result means. Only 2xx is success: redirects are not followed, and no refusal counts as final but 410.
func Judge(r Result) Verdict {
	switch {
	case r.Class == ClassNone:
		return VerdictDone
	case r.Status == http.StatusGone:
		return VerdictGone
	}
	return VerdictRetry
}
