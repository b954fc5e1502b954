// Package leads takes leads in, and tells how far each has come.
//
// A lead that is taken in is published as lead.captured. What becomes of it is decided elsewhere: enrichment, qualification,
// routing and CRM each take the event of the one before, and publish their own. This package listens to all of them, so
// that one place can show a lead as a whole.
//
// # Guarantees
//
// A lead that was acknowledged is on disk, and so is its event, in the same transaction (the outbox). A person is one lead:
// addresses that differ only in case, in a plus tag, or (at Gmail) in dots are the same person's, and a second submission
// gives the first lead. An event about a lead has its effect once (the inbox).
//
// # Ordering
//
// Topics have no order among each other: lead.qualified may arrive before lead.enriched. Each fills in its own part, and
// the state is that of the furthest. Each change of a lead has a number that is larger than all before; a reader who asks
// for what is larger than the last number it saw gets the latest state of everything that changed since, and misses
// nothing.
//
// # Backpressure and failure
//
// There is no queue here: what waits, waits in the bus. While a service is away, its leads stay in the state before it.
// What a service refuses for good is a dead letter, which people look at and replay.
package leads
