package bus

import (
	"context"
	"fmt"
	"time"
)

// Offset is the place of a record in a stream. The first is 1; they grow, and have gaps where records were dropped.
type Offset uint64

// Stream is one of the sequences of records that a Log keeps.
type Stream string

// The streams.
const (
	StreamEvents     Stream = "events"     // what was published, in order: all topics
	StreamDelayed    Stream = "delayed"    // published, but not yet due
	StreamDead       Stream = "dead"       // dead letters
	StreamDeliveries Stream = "deliveries" // what was tried to be delivered to webhooks
)

// Streams lists them.
func Streams() []Stream { return []Stream{StreamEvents, StreamDelayed, StreamDead, StreamDeliveries} }

// Record is an event in a stream.
type Record struct {
	Offset Offset
	Stored time.Time
	Event  *Event
}

// Bounds says what a stream holds.
type Bounds struct {
	First, Next Offset // the first record kept, and the offset that the next one gets; equal if there is none
	Records     uint64
	Bytes       uint64
}

// RecordError says that a record is there and cannot be read. Those behind it can, perhaps.
type RecordError struct {
	Offset Offset
	Err    error
}

// Error implements error.
func (e *RecordError) Error() string { return fmt.Sprintf("read record %d: %s", e.Offset, e.Err) }

// Unwrap is the cause.
func (e *RecordError) Unwrap() error { return e.Err }

// CircumstancesRoom is how many bytes the bus itself adds to an event at most: the circumstances of a dead letter.
const CircumstancesRoom = 64 << 10

// MaxAppend is how many events one Append takes at most.
const MaxAppend = 1000

// Log keeps streams of records, and small documents beside them, on stable storage. It is the driver of the bus: one
// process writes it. It is safe for concurrent use. An error that is not a *fault.Error is for operators.
type Log interface {
	// Append adds events to the end of a stream, in order, and returns the offset of the first once all of them are durable;
	// the others follow without a gap. After an error none, some or all of them are there, and the caller does not know which.
	Append(ctx context.Context, stream Stream, events []*Event) (Offset, error)
	// MaxRecord is how many bytes one event may take that is published; what the bus itself adds to one may take CircumstancesRoom
	// more.
	MaxRecord() int
	// Read returns records from an offset on, in order, at most limit of them and about maxBytes of data, but at least one if
	// there is one; and the offset to go on from. It does not wait for records. An offset beyond the end is no error. Where the
	// first of them cannot be read, the error is a *RecordError.
	Read(ctx context.Context, stream Stream, from Offset, limit, maxBytes int) ([]Record, Offset, error)
	// OffsetAt returns the offset of the first record stored at or after t, the stream's next if there is none.
	OffsetAt(ctx context.Context, stream Stream, t time.Time) (Offset, error)
	// Bounds returns what a stream holds.
	Bounds(ctx context.Context, stream Stream) (Bounds, error)
	// Trim drops all records before an offset. They are gone when it returns, but in a cluster a server that lags may answer a Read
	// with them for a moment more.
	Trim(ctx context.Context, stream Stream, before Offset) error
	// Drop drops single records, as Trim does. Those that are gone already are no error.
	Drop(ctx context.Context, stream Stream, offsets ...Offset) error

	// Save keeps documents by name in the place of those before; nil takes one away. All are durable when it returns.
	// Names consist of letters, digits, "-", "_" and ".", documents have at most 512 KiB.
	Save(ctx context.Context, docs map[string][]byte) error
	// Load returns all documents whose names begin with a prefix.
	Load(ctx context.Context, prefix string) (map[string][]byte, error)
	// Close gives back what the log holds. What was appended stays.
	Close() error
}
