package source

import "time"

// debounce tells when a burst of events is over.
type debounce struct {
	quiet, limit time.Duration
	first, last  time.Time // of the burst; zero without one
}

func (d *debounce) event(at time.Time) {
	if d.first.IsZero() {
		d.first = at
	}
	d.last = at
}

// due is when the burst is over if nothing more happens; zero without one.
func (d *debounce) due() time.Time {
	if d.first.IsZero() {
		return time.Time{}
	}
	quiet, limit := d.last.Add(d.quiet), d.first.Add(d.limit)
	if limit.Before(quiet) {
		return limit
	}
	return quiet
}

func (d *debounce) reset() { d.first, d.last = time.Time{}, time.Time{} }
