package source

import "time"

// Ignored tells whether a file below root is ignored.
func Ignored(root, file string) bool { return newIgnorer(root, nil, "").ignored(file, false) }

// Burst runs the debounce over events at the given times and returns when it is due after each.
func Burst(quiet, limit time.Duration, events ...time.Time) []time.Time {
	d := debounce{quiet: quiet, limit: limit}
	var due []time.Time
	for _, at := range events {
		d.event(at)
		due = append(due, d.due())
	}
	return due
}
