package natsbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/atollhq/atoll/internal/bus"
)

// A frame is the events of one Append in one message: JetStream makes it durable as a whole, by one sync. Its form is a byte
// for the version, the offset of the first event and the number of events, and then the events; numbers are unsigned
// varints (encoding/binary), texts are their length and their bytes, and so is the data.
const frameVersion = 1

var errFrame = errors.New("this is no frame of events")

// frameOverhead bounds the bytes that a frame needs beside the events, and those that an event needs beside its texts.
const frameOverhead = 64

// appendFrame writes a frame.
func appendFrame(out []byte, first bus.Offset, events []*bus.Event) []byte {
	out = append(out, frameVersion)
	out = binary.AppendUvarint(out, uint64(first))
	out = binary.AppendUvarint(out, uint64(len(events)))
	for _, e := range events {
		out = appendEvent(out, e)
	}
	return out
}

func appendEvent(out []byte, e *bus.Event) []byte {
	for _, text := range [...]string{e.Topic, e.ID, e.Source, e.Type, e.Subject, e.DataType, e.DataSchema} {
		out = appendText(out, text)
	}
	var at uint64 // nanoseconds since 1970 with the sign last, and one added: 0 is no time
	if !e.Time.IsZero() {
		at = zigzag(e.Time.UnixNano()) + 1
	}
	out = binary.AppendUvarint(out, at)
	out = binary.AppendUvarint(out, uint64(len(e.Extensions)))
	for _, a := range e.Extensions {
		out = appendText(appendText(out, a.Name), a.Value)
	}
	out = binary.AppendUvarint(out, uint64(len(e.Data)))
	return append(out, e.Data...)
}

func appendText(out []byte, s string) []byte {
	return append(binary.AppendUvarint(out, uint64(len(s))), s...)
}

func zigzag(n int64) uint64 { return uint64(n<<1) ^ uint64(n>>63) }

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// frameHead reads where a frame begins, and how many events it holds.
func frameHead(frame []byte) (first bus.Offset, count int, err error) {
	r := reader{left: frame}
	first, count = r.head()
	return first, count, r.err
}

// readFrame reads the events of a frame, which share memory with it.
func readFrame(frame []byte) (first bus.Offset, events []*bus.Event, err error) {
	r := reader{left: frame}
	first, count := r.head()
	for range count {
		if r.err != nil {
			break
		}
		events = append(events, r.event())
	}
	if r.err == nil && len(r.left) > 0 {
		r.err = fmt.Errorf("%w: %d bytes are left", errFrame, len(r.left))
	}
	return first, events, r.err
}

// reader reads what the functions above have written. After an error it reads nothing more.
type reader struct {
	left []byte
	err  error
}

func (r *reader) head() (first bus.Offset, count int) {
	if len(r.left) == 0 || r.left[0] != frameVersion {
		r.err = errFrame
		return 0, 0
	}
	r.left = r.left[1:]
	first = bus.Offset(r.number(math.MaxInt64))
	return first, int(r.number(bus.MaxAppend))
}

// number reads a number of at most so much.
func (r *reader) number(most uint64) uint64 {
	n, size := binary.Uvarint(r.left)
	if size <= 0 || n > most {
		r.fail()
		return 0
	}
	r.left = r.left[size:]
	return n
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = errFrame
	}
	r.left = nil
}

func (r *reader) bytes() []byte {
	n := r.number(math.MaxInt32)
	if uint64(len(r.left)) < n {
		r.fail()
		return nil
	}
	out := r.left[:n:n]
	r.left = r.left[n:]
	return out
}

func (r *reader) event() *bus.Event {
	e := &bus.Event{}
	for _, text := range [...]*string{&e.Topic, &e.ID, &e.Source, &e.Type, &e.Subject, &e.DataType, &e.DataSchema} {
		*text = string(r.bytes())
	}
	if at := r.number(math.MaxUint64); at > 0 {
		e.Time = time.Unix(0, unzigzag(at-1)).UTC()
	}
	if n := r.number(1 << 10); n > 0 {
		e.Extensions = make([]bus.Attribute, 0, n)
		for range n {
			e.Extensions = append(e.Extensions, bus.Attribute{Name: string(r.bytes()), Value: string(r.bytes())})
		}
	}
	e.Data = r.bytes()
	return e
}

// frameSize bounds the bytes that an event takes in a frame.
func frameSize(e *bus.Event) int { return e.Size() + frameOverhead + 8*len(e.Extensions) }
