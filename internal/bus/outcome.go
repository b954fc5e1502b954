package bus

import "time"

// Verdict is what came of one attempt to deliver an event.
type Verdict int

// The verdicts.
const (
	Accepted    Verdict = iota // the subscriber has taken it
	Refused                    // the subscriber says that it never will
	Failed                     // it may succeed another time
	Unreachable                // nobody was there to take it; says nothing about the event
	Aborted                    // broken off by the bus itself, which is ending; never happened, as far as anybody counts
)

// Outcome is how one attempt ended.
type Outcome struct {
	Verdict Verdict
	Status  int           // HTTP status, or 0
	Text    string        // what the subscriber or the connection said
	By      string        // the replica that had it, or ""
	After   time.Duration // the subscriber asks not to be tried again for so long
}

// OfStatus is the verdict that an HTTP status gives.
func OfStatus(status int) Verdict {
	switch {
	case status >= 200 && status < 300:
		return Accepted
	case status == 400 || status == 410 || status == 422:
		return Refused
	}
	return Failed
}

// Attempt is one failed attempt, as it is kept.
type Attempt struct {
	Time   time.Time     `json:"time"`
	Took   time.Duration `json:"took"` // nanoseconds
	Status int           `json:"status,omitempty"`
	Text   string        `json:"text,omitempty"` // at most maxAttemptText bytes
	By     string        `json:"by,omitempty"`
}

const (
	maxAttemptText = 300
	keptAttempts   = 50 // the latest of each event
)
