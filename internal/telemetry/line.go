package telemetry

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// Line is one line of output of a replica.
type Line struct {
	Time    time.Time `json:"time"`
	Service string    `json:"service"`
	Replica string    `json:"replica"`
	Stream  string    `json:"stream"` // stdout, stderr, build, or atoll for what Atoll says of the replica
	Level   Level     `json:"level"`
	Text    string    `json:"text"` // the line as the replica wrote it
}

// LineQuery chooses records.
type LineQuery struct {
	Services []string       // of these services; none means all
	Since    time.Time      // not older than this
	Level    Level          // at least this level; empty means all
	Grep     *regexp.Regexp // text that matches; nil means all
	Last     int            // only the last so many before following; 0 means all
	Follow   bool           // go on with what comes
}

// Matches tells whether a query chooses a record.
func (q *LineQuery) Matches(r *Line) bool {
	return (len(q.Services) == 0 || slices.Contains(q.Services, r.Service)) &&
		!r.Time.Before(q.Since) && r.Level.AtLeast(q.Level) && q.greps(r)
}

// greps tells whether the text matches, as it was written or as people see it.
func (q *LineQuery) greps(r *Line) bool {
	return q.Grep == nil || q.Grep.MatchString(r.Text) || strings.HasPrefix(r.Text, "{") && q.Grep.MatchString(Pretty(r))
}
