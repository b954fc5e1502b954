// Package outbox publishes what services put into the table atoll_outbox of their own databases.
//
// # Purpose
//
// A service that changes its data and publishes an event about it does two things of which the second may fail. With an
// outbox it does one: the event is a row that its transaction inserts. A [Forwarder] takes the rows that have been
// committed, publishes them, and deletes them. [Schema] is the SQL of the tables, for PostgreSQL, MySQL or MariaDB, and
// SQLite.
//
// # Guarantees
//
// Each row that was committed is published at least once, and no other. A row is deleted only once it is published, so
// after a crash between the two it is published again, with the same id. As sets of ids, published is committed. The one
// exception is a row that the bus refuses for good: it is moved, with the reason, to the table atoll_outbox_refused.
//
// # Ordering
//
// Rows are found by being there, never by being later than one seen before: ids are given out when rows are inserted, not
// when they are committed, and a reader that remembers how far it came skips what commits late. Of the rows that it
// finds, a Forwarder publishes those with lower ids first. So rows of one ordering key keep their order if the service
// commits one before it inserts the next. A lock in the database sees to it that one Forwarder works at a time.
//
// # Backpressure
//
// A Forwarder holds one batch, at most 1,000 rows and 4 MiB of data. While the bus does not take it, rows stay in the
// table, and the table grows; the service is not held up. What the Forwarder locks are the rows that it deletes; with
// SQLite it is the file, for the time of one delete and never while it publishes.
//
// # Failure
//
// A database that cannot be reached is tried again after 100 ms, then more and more seldom up to every 5 s; so is a bus
// that does not take a batch. Tables that are not there yet are waited for. Nothing ends Run but its context.
package outbox
