package natsbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/atollhq/atoll/internal/bus"
)

// A frame is events in one message: JetStream makes it durable as a whole, by one sync. Its form is a byte for the version, the
// offset of the first event and the number of events, and then the events; numbers are unsigned varints (encoding/binary), texts
// are their length and their bytes, and so is the data. A time is 0 if there is none, and else 1, the seconds since 1970 with the
// sign last, and the nanoseconds.
const frameVersion = 2

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

// What an event has beside its data.
const (
	fixedTexts    = 7
	maxExtensions = 1 << 10
)

func appendEvent(out []byte, e *bus.Event) []byte {
	for _, text := range [...]string{e.Topic, e.ID, e.Source, e.Type, e.Subject, e.DataType, e.DataSchema} {
		out = appendText(out, text)
	}
	out = appendTime(out, e.Time)
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

func appendTime(out []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(out, 0)
	}
	out = binary.AppendUvarint(append(out, 1), zigzag(t.Unix()))
	return binary.AppendUvarint(out, uint64(t.Nanosecond()))
}

func zigzag(n int64) uint64 { return uint64(n<<1) ^ uint64(n>>63) }

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// frameHead reads where a frame begins, and how many events it holds.
func frameHead(frame []byte) (first bus.Offset, count int, err error) {
	r := reader{left: frame}
	first, count = r.head()
	return first, count, r.err
}

// readFrame reads the events of a frame. Each is in memory of its own: who keeps one does not keep the frame.
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

// event reads an event. Its texts share one piece of memory, its data has another.
func (r *reader) event() *bus.Event {
	again := reader{left: r.left}
	r.skipAttributes()
	size := len(again.left) - len(r.left)
	texts := string(again.left[:size])
	again.left = again.left[:size]
	text := func() string {
		n, end := len(again.bytes()), size-len(again.left)
		return texts[end-n : end]
	}
	e := &bus.Event{}
	if r.err != nil {
		return e
	}
	for _, into := range [...]*string{&e.Topic, &e.ID, &e.Source, &e.Type, &e.Subject, &e.DataType, &e.DataSchema} {
		*into = text()
	}
	e.Time = again.time()
	if n := again.number(maxExtensions); n > 0 {
		e.Extensions = make([]bus.Attribute, 0, n)
		for range n {
			e.Extensions = append(e.Extensions, bus.Attribute{Name: text(), Value: text()})
		}
	}
	e.Data = slices.Clone(r.bytes())
	return e
}

// skipAttributes reads up to the data of an event.
func (r *reader) skipAttributes() {
	for range fixedTexts {
		r.bytes()
	}
	r.time()
	for range 2 * r.number(maxExtensions) {
		r.bytes()
	}
}

func (r *reader) time() time.Time {
	if r.number(1) == 0 {
		return time.Time{}
	}
	seconds := unzigzag(r.number(math.MaxUint64))
	return time.Unix(seconds, int64(r.number(999_999_999))).UTC()
}

// frameSize bounds the bytes that an event takes in a frame.
func frameSize(e *bus.Event) int { return e.Size() + frameOverhead + 8*len(e.Extensions) }
