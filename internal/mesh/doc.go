// Package mesh carries calls between services. Each pair of caller and callee has a listener of its own, so the
// caller is known without a library in it and cannot claim to be another.
//
// What the caller's manifest declares may be called; anything else is refused with the line that would allow it.
// Atoll-Caller names the caller to the callee; whatever a caller sends under a name that Atoll reserves is taken
// out, except Atoll-Subject and Atoll-Auth in their plain spelling: they are what the caller says of the client for
// whom it works, and the callee reads them together with Atoll-Caller.
//
// A change of who may call whom is one new snapshot. Waiting, balancing, repeating and their bounds are the relay's.
// Calls to a service that speaks tcp are relayed byte by byte to an endpoint chosen when the connection opens.
package mesh
