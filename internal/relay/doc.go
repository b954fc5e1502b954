// Package relay is the HTTP path of Atoll: requests in, responses out. The gateway and the mesh are policies
// upon it; a driver (relay/std is one) carries the bytes.
//
// # Purpose
//
// A driver turns what it reads from a client into a Request, asks a Policy for a Decision, and either sends the
// Decision's Reply or opens a Call, which says endpoint by endpoint where to try. Everything that decides stands
// here and in the policies; everything that knows a wire format stands in the driver. So two drivers cannot
// disagree on which replica is tried, whether a request may be repeated, or what a path means.
//
// # Guarantees
//
// A request is repeated only where that is safe: nothing of it was sent, or its method is idempotent and its body
// can be sent again. It is never repeated on the replica that just failed while another stands. A repetition after
// something was sent is paid from the retry budget of the service: a fifth of its traffic and a small floor. A dial
// that fails costs nothing, for it puts no load on anybody.
//
// A replica that fails again and again is left out for a while (its breaker is open), judged over a time window,
// not over an average of values; then one request probes it. At most half of the replicas of a service are left
// out, and the last one never.
//
// # Ordering
//
// Each change of a service's endpoints is one new snapshot, swapped in whole, and is published before the endpoints
// that it drops are closed to new requests: a request that lost the race finds the new snapshot.
//
// # Backpressure
//
// A request to a service without a ready endpoint waits for one, in a queue bounded in time (Options.WaitReady) and
// in number (Options.MaxWaiting); beyond the number it is refused at once, beyond the time with Retry-After. A policy
// that wants to see whole bodies (Decision.Body) has them held in memory, bounded over all requests of a server
// (Server.MaxHeld) and refused beyond.
//
// # Failure
//
// What goes wrong is a *fault.Error with a code of this package's part; the driver answers it as a problem document
// after RFC 9457, to gRPC clients as a status.
package relay
