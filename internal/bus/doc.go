// Package bus carries events from the services that publish them to the services that subscribe.
//
// # Purpose
//
// A publisher appends events to a log and is told once they are durable. Each subscription reads that log at its own pace and
// delivers what belongs to it, one event at a time for each ordering key, until the subscriber has taken it or it is a dead
// letter.
//
// # Guarantees
//
// What was acknowledged to a publisher is on disk. It is delivered to every subscription that there was then, at least once:
// until the subscriber accepts it, refuses it for good, or has failed it as often as its subscription allows; then it is
// kept as a dead letter, with every attempt. A duplicate is a redelivery of the same id.
//
// # Ordering
//
// Events of one publisher and ordering key are appended in the order in which it published them, and delivered in that order.
// An event that fails holds up its own key alone. Events without a key are in no order.
//
// # Backpressure
//
// Publishers wait in a bounded queue and are refused beyond it. A subscription holds a bounded number of events and bytes;
// what it cannot take yet stays in the log. The log keeps what some subscription has not settled; when it has grown to its
// limit with such events, publishing is refused. A subscription that is paused has no such right: what it has not settled is
// kept as long as what all have settled.
//
// # Failure
//
// A kill at any instruction leaves a log that goes on. What subscribers settled within the last moments may be delivered
// again.
package bus
