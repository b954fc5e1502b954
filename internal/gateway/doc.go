// Package gateway is the edge of an application: it takes requests from outside, decides what each may do, and
// hands it to the relay.
//
// # Order
//
// A request passes these, and is refused by the first that minds: size of the head; host and path in their one
// form; route; CORS preflight; limits that need no identity; proof of identity; limits by subject or key; size of
// the body; signature of the body. What goes to the service has every field that Atoll reserves and every forwarding field taken out, and
// put in anew from what the gateway knows.
//
// # Guarantees
//
// Apply compiles a manifest into one immutable snapshot and swaps it in whole: no request sees half of a
// configuration, and a manifest that cannot be compiled changes nothing. Counters of limits and keys of issuers
// survive Apply where their definition did not change. The router and the service behind cannot disagree on a
// path: what could be read in two ways is refused (relay.CleanPath).
//
// A route whose requests bear a signature (webhook) sees the whole body before anybody else does: the service gets the
// very bytes that were verified. A route that publishes answers 202 once its event is durable, and never before.
//
// # Backpressure and failure
//
// Tables that clients can fill (counters of limits) are bounded; when one is full, what was idle longest is
// forgotten first. An issuer's keys that cannot be fetched are replaced by those fetched last; without any, tokens
// are refused with 503, never let through.
package gateway
