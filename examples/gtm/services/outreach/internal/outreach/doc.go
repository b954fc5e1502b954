// Package outreach writes to leads that have an owner, step by step, until they answer or want no more.
//
// # Guarantees
//
// A sequence begins once for a lead, and each of its steps is taken once: a transaction notes the event, notes the step as
// taken, and makes the appointment for the next. The appointment is an event with a time before which nobody gets it, so no
// timer is lost with the process.
//
// A mail server and a database share no transaction. Should the process die after the server took a mail and before that is
// noted, the step is taken again with the same Message-ID, by which mail systems know the mail as the one they have. In no
// case is a mail left out.
//
// Whoever unsubscribed, by the link or by the one-click POST of RFC 8058, gets no mail that was not on its way already: the
// list is looked at when a mail is to be sent, not when it was planned. So it is with who answered.
//
// # Ordering and failure
//
// Steps of one lead follow each other (they share an ordering key). While the mail server is away or says "later" (4xx), the
// bus tries again with growing distance. What it refuses for good (5xx) ends the sequence, and the address is not written to
// again.
package outreach
