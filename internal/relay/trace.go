package relay

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
)

// TraceID names a trace; its zero value is not valid.
type TraceID [16]byte

// String is 32 lower-case hexadecimal digits.
func (t TraceID) String() string { return hex.EncodeToString(t[:]) }

// SpanID names a span; its zero value is not valid.
type SpanID [8]byte

// String is 16 lower-case hexadecimal digits.
func (s SpanID) String() string { return hex.EncodeToString(s[:]) }

// Trace is the place of one hop in a trace, after W3C Trace Context Level 1 (https://www.w3.org/TR/trace-context/).
type Trace struct {
	ID     TraceID
	Span   SpanID // of this hop
	Parent SpanID // of the hop before, or zero
	Flags  byte   // bit 0: sampled
}

// The headers of W3C Trace Context.
const (
	headerTraceparent = "Traceparent"
	headerTracestate  = "Tracestate"
)

// ContinueTrace continues the trace that the header of a request speaks of, or begins one. A tracestate without a
// valid traceparent is taken out of the header.
func ContinueTrace(h Header) Trace {
	t := NewTrace()
	values := h.Values(headerTraceparent)
	if len(values) == 1 {
		if id, parent, flags, ok := ParseTraceparent(values[0]); ok {
			t.ID, t.Parent, t.Flags = id, parent, flags
			return t
		}
	}
	h.Del(headerTracestate)
	return t
}

// NewTrace begins a trace.
func NewTrace() Trace { return Trace{ID: newTraceID(), Span: newSpanID(), Flags: 1} }

// Traceparent is the header value that makes the next hop a child of this one.
func (t Trace) Traceparent() string {
	b := make([]byte, 0, 55)
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, t.ID[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, t.Span[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, []byte{t.Flags})
	return string(b)
}

// ParseTraceparent reads a traceparent of version 00, and of later versions what version 00 says of it.
func ParseTraceparent(s string) (id TraceID, parent SpanID, flags byte, ok bool) {
	const length = 55
	if len(s) < length || s[2] != '-' || s[35] != '-' || s[52] != '-' || strings.ToLower(s) != s {
		return id, parent, 0, false
	}
	var version, flag [1]byte
	for _, part := range []struct {
		to   []byte
		text string
	}{{version[:], s[:2]}, {id[:], s[3:35]}, {parent[:], s[36:52]}, {flag[:], s[53:length]}} {
		if _, err := hex.Decode(part.to, []byte(part.text)); err != nil {
			return TraceID{}, SpanID{}, 0, false
		}
	}
	later := version[0] != 0
	switch {
	case version[0] == 0xff, id == TraceID{}, parent == SpanID{}:
	case !later && len(s) != length, later && len(s) > length && s[length] != '-':
	default:
		return id, parent, flag[0] & 1, true
	}
	return TraceID{}, SpanID{}, 0, false
}

func newTraceID() (t TraceID) {
	binary.BigEndian.PutUint64(t[:8], rand.Uint64())
	binary.BigEndian.PutUint64(t[8:], rand.Uint64()|1)
	return t
}

func newSpanID() (s SpanID) {
	binary.BigEndian.PutUint64(s[:], rand.Uint64()|1)
	return s
}
