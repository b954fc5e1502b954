// Package alert tells people when something is wrong.
//
// # Purpose
//
// A Rule asks a question again and again and compares the answer with a threshold; an SLO asks how fast an error budget is used up. Each
// set of labels in the answer is an alert of its own. Alerts that are wrong for long enough fire, and receivers are told of them in groups.
//
// # Guarantees
//
// What fires stays firing until it was seen to be fine for a while (Policy.Keep), or was not seen at all for longer than Policy.Stale: that
// there is no data is not taken for good news at once. A question that cannot be answered changes nothing: its error is shown, and what fires goes on firing.
// State is durable (Store), so that a restart neither forgets what fires nor tells of it again. Who was told that something fires is told when it is
// over, also where that takes long (a day at most) or its rule is gone. A receiver is told at least once: who is
// killed between telling and noting that tells a second time, with the same Notification.ID.
//
// # Ordering
//
// Answers to one rule are handled in the order in which they were asked for. A receiver is told of one group at a time, and what it is told is how
// things are at that moment, not every step on the way: nothing waits in a queue that could be out of date.
//
// # Backpressure
//
// At most Config.AtOnce questions are asked at once, each for at most Config.Timeout; a rule whose question is still under way is not asked again.
// A rule has at most MaxAlerts alerts, and as many that are over, a receiver at most MaxGroups groups, the history MaxHistory entries and there are at most MaxSilences
// silences; what does not fit is dropped and counted, an alert that exists before one that does not, or refused.
//
// # Failure
//
// A receiver that fails is tried again after a delay that doubles from one second to five minutes, with chance in it, and then told of how things
// are by then. It holds up no other receiver. When state cannot be kept that is an Event, and the engine goes on with what is in memory.
package alert
