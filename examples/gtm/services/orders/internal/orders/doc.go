// Package orders takes orders, and has each taken to cash by the saga order-to-cash.
//
// # Guarantees
//
// An order that was answered with 201 is on disk, and its saga is started once. The order's id is the Idempotency-Key of the
// start: what was not heard of, because the answer or the process was lost, is started again, which is the same start. An order
// that is sent again under its id is the same order.
//
// What is known of an order beyond what it says is its saga's: it is asked for when somebody wants to see it. How it ended is
// kept, since sagas are forgotten some time after their end.
//
// # Failure
//
// While sagas cannot be started, orders are taken and wait, in the state "starting". A saga that cannot be asked makes the state
// "unknown". A saga that does not take an order's input for good makes it "refused".
package orders
