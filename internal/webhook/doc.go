// Package webhook is how an application speaks with parties outside by HTTP callbacks: it proves who sent one that came
// in, and sends those that go out.
//
// # Purpose
//
// Inbound, [Keys] verify the signature of a request's body by the scheme of its sender (Standard Webhooks, GitHub,
// Stripe, or any HMAC-SHA256 in a header) and name the delivery, so that one that is sent again is known.
//
// Outbound, a [Registry] keeps the [Endpoint]s of parties outside, a [Sender] makes one try, [Judge] says what became of
// it and [Next] when the next try is due. The loop around them is not here: who has the events drives it.
//
// # Guarantees
//
// A signature is compared in constant time, over the bytes as they came. A refusal says what was wrong, never what would
// have been right.
//
// An endpoint's secret is told once, when it is made; after that only Reveal tells it. After a rotation the old secret
// signs too, for [Overlap], whatever rotations follow; at most five old ones do. A change of an endpoint is durable before the call that makes it returns.
//
// A try goes to no address that is not public, unless that was allowed: what counts is the address that is connected to,
// after names are resolved, so no name can lead inside. No redirect is followed, no proxy of the environment used, and
// certificates are verified.
//
// # Ordering
//
// Changes of one Registry are made one after the other. Tries are in no order.
//
// # Backpressure
//
// A Registry takes at most [MaxEndpoints]. A Sender has no queue; the caller bounds how many tries run at once. A try
// takes at most [TryTimeout], and reads at most 64 KiB of an answer's head and 1 KiB of its body, besides what it drains
// to keep the connection.
//
// # Failure
//
// A try that fails is a [Result], never an error. After [GiveUpAfter] of nothing but failures, or when the receiver says
// that it is gone, the endpoint is disabled, and the call that did it says so. When the store fails, a change is refused
// and may nevertheless be there after the next start.
package webhook
