package tracking

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// Retention is how long events are kept; older ones are not taken.
const Retention = 30 * 24 * time.Hour

// Kind is what happened.
type Kind string

// The kinds.
const (
	Page  Kind = "page"
	Click Kind = "click"
)

// Event is something that a visitor did.
type Event struct {
	ID      string    `json:"id"`      // unique for the visitor, so that it may be sent again
	Visitor string    `json:"visitor"` // a name that the page gave the visitor, of nobody's
	Kind    Kind      `json:"kind"`
	Path    string    `json:"path"`              // of the page
	Target  string    `json:"target,omitempty"`  // what was clicked
	Company string    `json:"company,omitempty"` // the visitor's, by its domain, once it is known
	At      time.Time `json:"at"`                // by the clock of the browser
	SentAt  time.Time `json:"sent_at,omitzero"`  // by the same clock, when the event was sent; not said: the clock is right
}

// domainPattern is a host name in ASCII with at least two labels.
var domainPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$`)

// normal is the event in its one form, with At by our clock; received is when it arrived.
func (e Event) normal(received time.Time) (Event, error) {
	for name, value := range map[string]string{"id": e.ID, "visitor": e.Visitor, "path": e.Path} {
		if value == "" {
			return e, fmt.Errorf("the field %q is missing", name)
		}
	}
	for name, value := range map[string]string{
		"id": e.ID, "visitor": e.Visitor, "path": e.Path, "target": e.Target, "company": e.Company,
	} {
		if len(value) > 500 || !utf8.ValidString(value) {
			return e, fmt.Errorf("the field %q is no text of at most 500 bytes", name)
		}
	}
	if e.Kind != Page && e.Kind != Click {
		return e, fmt.Errorf("the kind %q is neither page nor click", e.Kind)
	}
	if !strings.HasPrefix(e.Path, "/") {
		return e, fmt.Errorf("the path %q does not begin with /", e.Path)
	}
	if e.Path != "/" {
		e.Path = strings.TrimSuffix(e.Path, "/")
	}
	e.Company = strings.ToLower(e.Company)
	if e.Company != "" && !domainPattern.MatchString(e.Company) {
		return e, fmt.Errorf("the company %q is no domain", e.Company)
	}
	if e.At.IsZero() {
		return e, fmt.Errorf("the field %q is missing", "at")
	}
	return e.onOurClock(received)
}

func (e Event) onOurClock(received time.Time) (Event, error) {
	if !e.SentAt.IsZero() {
		e.At = e.At.Add(received.Sub(e.SentAt))
	}
	if e.At.After(received) {
		e.At = received
	}
	if received.Sub(e.At) > Retention {
		return e, fmt.Errorf("it happened more than %d days ago", int(Retention.Hours()/24))
	}
	e.At = e.At.UTC().Truncate(time.Millisecond)
	return e, nil
}
