package otlp

import (
	"fmt"
	"time"
)

// Limits bound what a request may make a Decoder do. A zero field is the default.
type Limits struct {
	// Request is the bytes of a request at most, after decompression. The default is 16 MiB.
	Request int64
	// Decoded is the bytes of memory at most that a decoded request takes beside its own bytes. The default is 64 MiB.
	Decoded int64
	// Value is the bytes of a text at most; a longer one is cut. The default is 64 KiB.
	Value int
	// Body is the bytes of the body of a log record at most; a longer one is cut. The default is 256 KiB.
	Body int
	// Attrs is how many attributes a span, an event, a link, a record, a point or a resource has at most; the others
	// are dropped. The default is 1,024.
	Attrs int
	// Events is how many events and how many links a span has at most; the others are dropped. The default is 1,024.
	Events int
	// Depth is how deep arrays and maps may nest in a value; what lies deeper is null. The default is 32.
	Depth int
}

func (l Limits) withDefaults() Limits {
	or(&l.Request, 16<<20)
	or(&l.Decoded, 64<<20)
	or(&l.Value, 64<<10)
	or(&l.Body, 256<<10)
	or(&l.Attrs, 1024)
	or(&l.Events, 1024)
	or(&l.Depth, 32)
	return l
}

func or[T int | int64 | time.Duration](p *T, value T) {
	if *p <= 0 {
		*p = value
	}
}

// Partial is what a request held that was not taken.
type Partial struct {
	Rejected int64  // spans, records or points
	Why      string // the first reason
	Cut      int64  // texts, attributes, events and links that were cut or dropped for being more than the limits
}

// Malformed is the error of a request that is not what it should be. Its text is for the sender.
type Malformed struct {
	Where  string // such as resource_spans.scope_spans.spans
	Offset int    // where in the request it cannot be read on, in bytes
	Why    string
}

func (e *Malformed) Error() string {
	return fmt.Sprintf("%s at byte %d: %s", e.Where, e.Offset, e.Why)
}

// TooLarge is the error of a request that is larger than the limits. Its text is for the sender.
type TooLarge struct{ Why string }

func (e *TooLarge) Error() string { return e.Why }

// size is a number of bytes as people read it.
func size(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
