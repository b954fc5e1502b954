// Package tracking takes page views and clicks, and tells when somebody seems to want to buy.
//
// # Guarantees
//
// Events that were acknowledged (202) are on disk. An event that is sent again, with the same visitor and id, counts once.
// A rule publishes signal.detected at most once per subject and window, also after a restart: events, windows and outbox are
// one transaction.
//
// # Time
//
// Windows go by when things happened, not by when they arrived: events may come late and out of order. A browser's clock may
// be wrong, so an event may say when it was sent by the same clock (sent_at); the difference to the time of arrival is
// added. What then still lies in the future happened now; what lies further back than Retention is refused.
//
// Each event is looked at together with those around it: if it completes a rule within any window that holds it, the window
// begins at the first event that was needed. Events within a window that has told are spent: the next window of the rule and
// subject begins after it, so that no two of them overlap. Events that arrive so late that they fall into a window that has
// told change nothing.
//
// # Backpressure and failure
//
// Batches are bounded (MaxBatch events, maxBody bytes). Writers share commits (package lite); when its queue is full a
// request waits until its client or the gateway gives up. A batch is stored whole or not at all, but for the events in it
// that are invalid: those are named in the answer, and the others are stored.
package tracking
