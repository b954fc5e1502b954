// Package block keeps spans and log records on disk: in a write-ahead log first, in memory for a while, then in immutable Parquet
// files by day that any program can read as they lie.
//
// Append returns when its rows are durable: written to the log and synced; what comes together is synced together. They can be
// asked for from then on. When a table in memory has enough rows, or is old enough, it becomes one block or a few (each of the
// loudest services has blocks of its own), and its part of the log is removed when all of them are durable. A crash at any moment
// loses nothing that Append has acknowledged and brings nothing twice; rows that were not acknowledged may come back.
//
// Rows have no order but their times. Find answers the newest first.
//
// Everything is bounded. Where the disk does not keep up, Append waits for some seconds and then refuses with *telemetry.Busy; nothing
// of what it refuses is kept (but of a batch with both spans and records it may have kept the spans). Where all services together send more than the limit of rate, the loudest are held to the level at which
// the sum fits, from the second on that follows, errors last; where blocks take more than the limit of size, the oldest blocks of the loudest service go first. Both
// are counted by service. Traces can be sampled when they go to blocks: those that failed and the slowest are kept always.
//
// Each block names the checksum of its footer, which has those of all its parts. One that does not hold what it says is moved to the
// folder torn when it is opened or read, told of in Usage and the log, and believed in nothing; its rows are lost. So is a part of the
// write-ahead log whose rows no block can hold, which would be tried for ever otherwise. Of blocks in that folder the eight of each signal that
// were set aside last are kept, to be looked at. A table has at most 400 columns of attributes
// and as many of resources, with keys of at most 256 bytes; what goes beyond is kept in a column of JSON, of a resource at most 1 KiB: the
// rest is left out, and the log tells how many attributes that were. A block names 1000 services.
//
// Goroutines: for each signal a writer, a keeper and a flusher, and one janitor; they end with Close.
package block
