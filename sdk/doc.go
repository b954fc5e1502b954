// Package sdk makes a Go service of an Atoll application comfortable to write. It is comfort and never a
// condition: everything here is plain HTTP, environment variables and standard output, and a service in any
// language can do the same by hand.
//
//   - [Main] and [Serve] run an http.Handler: they listen on PORT, answer /healthz, turn a panic into a
//     problem document, and drain on SIGTERM.
//   - [Client] calls a service that the manifest declares, and carries the trace and the deadline on.
//   - [Handler], [Error] and [Problem] let a handler return an error, which the caller sees as a problem
//     document after RFC 9457.
//   - [Publisher] publishes events, [OnEvent] takes deliveries.
//   - [Outbox] publishes by the service's own transactions, [Inbox] makes an event's effect once.
//   - [Barrier] makes the effect of a saga's step once, whatever order its calls come in.
//   - [Sagas] starts sagas and waits for them, [CompleteStep] and [RefuseStep] end their async steps, [NewSaga] builds definitions.
//   - [VerifyWebhook] tells whether a webhook is signed by who shares a secret.
//   - [DecodeJSON] and [WriteJSON] are bounded, and say where a bad document is bad.
//
// # Drain
//
// When the context of Serve ends, in this order: /healthz answers 503, [Stopping] is closed so that endless
// streams can end, the listener closes, requests in flight finish, and Serve returns nil. Requests that are
// still running after Options.Grace are cut off, and Serve returns an error that counts them.
//
// # Trace and deadline
//
// The headers traceparent (W3C Trace Context) and Atoll-Deadline (milliseconds that are left) of a request
// become part of its context: the deadline ends the context, and a call made with that context carries both
// headers on. Log records written with such a context hold trace_id.
//
// An event carries the trace in its attribute traceparent: Publish and Outbox.Add put in that of their context, and the
// context of a delivery has it again.
//
// # Failure
//
// An error that a handler returns and that is not a [Problem] is an internal one: the caller sees status 500
// and no internal text, the log has the error. The SDK keeps no queue and starts no goroutine that outlives
// the call that started it.
package sdk
