package telemetry

import (
	"regexp"
	"slices"
	"time"
)

// Record is one line of output of a replica.
type Record struct {
	Time    time.Time `json:"time"`
	Service string    `json:"service"`
	Replica string    `json:"replica"`
	Stream  string    `json:"stream"` // stdout, stderr, build
	Level   Level     `json:"level"`
	Text    string    `json:"text"` // the line as the replica wrote it
}

// Query chooses records.
type Query struct {
	Services []string       // of these services; none means all
	Since    time.Time      // not older than this
	Level    Level          // at least this level; empty means all
	Grep     *regexp.Regexp // text that matches; nil means all
	Last     int            // only the last so many before following; 0 means all
	Follow   bool           // go on with what comes
}

// Matches tells whether a query chooses a record.
func (q *Query) Matches(r *Record) bool {
	return (len(q.Services) == 0 || slices.Contains(q.Services, r.Service)) &&
		!r.Time.Before(q.Since) && r.Level.AtLeast(q.Level) && (q.Grep == nil || q.Grep.MatchString(r.Text))
}
