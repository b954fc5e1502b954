package platform

// What the tests of this package look at from outside.
type Events = events

// NewEvents, Only, Passed and Shown are for tests.
var (
	NewEvents = newEvents
	Only      = only
	Passed    = passed
	Shown     = shown
)

// Add and Read are for tests.
var (
	Add  = (*events).add
	Read = (*events).read
)

// MaxEvents is for tests.
const MaxEvents = maxEvents
