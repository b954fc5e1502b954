// Package saga runs transactions over services: steps that services take, and undo when a later one fails.
//
// # Purpose
//
// A Plan is a definition made ready. Begin makes an instance of it, and a Machine decides what that does: which calls it makes, when it
// tries again, what it undoes, when it waits for a person. The Engine does what machines decide, and a Store keeps it.
//
// # Guarantees
//
// A start is durable before it is acknowledged. What a machine has decided is durable before it is done: no call is made whose intent
// is not in the store. Every attempt of a call has the same idempotency key and the same request. An instance ends completed (every
// step was taken), or compensated (every step that was taken, or may have been, was undone, the latest first), or it is parked: it
// waits for a person who says what to do, and is told of. An attempt whose outcome is not known is not taken for one that had no
// effect: what was refused after such an attempt is undone all the same, and a pivot parks, unless its definition says how it is undone.
//
// Effects are made at least once. That they are made once is the services' part, by the idempotency key; the barrier of package sdk
// does that within a service's transaction.
//
// What is not guaranteed is isolation: others see what a saga has done so far. A lock keeps instances of one key apart, no more.
//
// # Ordering
//
// A step begins when all that it comes after have ended; an undo when all that came after it are undone. Instances of a lock have it in
// the order in which they asked. What else happens is in no order.
//
// # Backpressure
//
// Starts are refused while too many instances are in memory. Each service has so many calls under way at once; the others wait, for
// that service alone. Instances that wait for a time, an event, a child or a person are not in memory.
//
// # Failure
//
// A kill at any instruction leaves a store that the next engine goes on from. Calls that were under way are made again by the same key.
// After a commit has failed nobody knows what of it is there: the engine forgets all that is in memory and begins again from the store.
// If the store says that it is broken (a failed sync), the engine stops until the process starts again. Of several engines at one store
// each owns shards for a time; one that was too slow has its commits refused.
package saga
