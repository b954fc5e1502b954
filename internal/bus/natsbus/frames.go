package natsbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atollhq/atoll/internal/bus"
)

// frames is the stream of events: a sequence of frames. JetStream numbers the frames, we the events; which frame holds which event
// is remembered for the latest frames, and searched for by halving for those before. It is safe for concurrent use.
type frames struct {
	l *Log

	appending sync.Mutex // one append at a time

	mu      sync.Mutex
	next    bus.Offset // guarded by mu: of the next event
	last    bus.Offset // guarded by mu: the latest message
	trimmed bus.Offset // guarded by mu: all before is dropped, though the frame that it is in may be there
	known   []place    // guarded by mu: the latest frames, in order; what it holds is never changed, only added to
	window  int        // guarded by mu: so many frames are known at least, if there are so many; twice as many at most
}

// place says in which message a frame is.
type place struct {
	first bus.Offset
	seq   bus.Offset // JetStream's
}

const maxKnown = 64 << 10 // frames whose places are remembered, of 16 bytes each

// openFrames finds where the stream ends. The last frame is never dropped, so that offsets go on where they were.
func openFrames(ctx context.Context, l *Log) (*frames, error) {
	state, err := l.state(ctx, bus.StreamEvents)
	f := &frames{l: l, window: maxKnown, next: 1, last: bus.Offset(state.LastSeq)}
	if err != nil || state.Msgs == 0 {
		return f, err
	}
	err = l.get(ctx, bus.StreamEvents, getRequest{Seq: bus.Offset(state.LastSeq), Batch: 1}, func(m *nats.Msg) error {
		first, count, err := frameHead(m.Data)
		f.next = first + bus.Offset(count)
		f.known = []place{{first, bus.Offset(state.LastSeq)}}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find end of %s: %w", bus.StreamEvents, err)
	}
	return f, nil
}

// append writes events as one frame, or as several where one would be larger than the server takes.
func (f *frames) append(ctx context.Context, events []*bus.Event) (bus.Offset, error) {
	f.appending.Lock()
	defer f.appending.Unlock()
	f.mu.Lock()
	start := f.next
	f.mu.Unlock()
	room := int(f.l.nc.MaxPayload()) - frameOverhead
	for len(events) > 0 {
		n, size := 1, frameSize(events[0])
		if size > room {
			return 0, fmt.Errorf("an event takes %d bytes, and the server takes %d in one message", size, room)
		}
		for n < len(events) && size+frameSize(events[n]) <= room {
			size += frameSize(events[n])
			n++
		}
		if err := f.appendOne(ctx, events[:n], size); err != nil {
			return 0, err
		}
		events = events[n:]
	}
	return start, f.l.queue(bus.StreamEvents).blocks.settle()
}

// appendOne writes one frame. The caller holds appending.
func (f *frames) appendOne(ctx context.Context, events []*bus.Event, size int) error {
	f.mu.Lock()
	first, last := f.next, f.last
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	m := &nats.Msg{
		Subject: f.l.subject(bus.StreamEvents, "frame"), Data: appendFrame(make([]byte, 0, size+frameOverhead), first, events),
		// A frame that was given up and is written after all, or one of somebody else, makes the server refuse this one: no
		// offset is there twice.
		Header: nats.Header{jetstream.ExpectedLastSeqHeader: {strconv.FormatUint(uint64(last), 10)}},
	}
	answer, err := f.l.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return f.unsure(ctx, err)
	}
	a, err := readAck(answer)
	if err != nil {
		return f.unsure(ctx, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next, f.last = first+bus.Offset(len(events)), a.Seq
	f.known = append(f.known, place{first, a.Seq})
	if len(f.known) > 2*f.window {
		f.known = slices.Clone(f.known[len(f.known)-f.window:]) // not in place: find searches it without mu
	}
	return nil
}

// unsure is called when it is not known whether a frame was written: it asks where the stream ends now, and returns the cause.
func (f *frames) unsure(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestLimit)
	defer cancel()
	now, err := openFrames(ctx, f.l)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && now.last > f.last {
		f.next, f.last = now.next, now.last
		f.known = append(f.known, now.known...)
	}
	return cause
}

// find returns the message from which on an offset is found.
func (f *frames) find(ctx context.Context, offset bus.Offset) (bus.Offset, error) {
	f.mu.Lock()
	known := f.known
	f.mu.Unlock()
	if i := sort.Search(len(known), func(i int) bool { return known[i].first > offset }); i > 0 {
		return known[i-1].seq, nil
	}
	state, err := f.l.state(ctx, bus.StreamEvents)
	if err != nil || len(known) == 0 || state.Msgs == 0 {
		return bus.Offset(state.FirstSeq), err
	}
	low, high := bus.Offset(state.FirstSeq), known[0].seq // the frame is at low or behind it, before high
	for high-low > 1 {
		middle := low + (high-low)/2
		first, err := f.firstOf(ctx, middle)
		if err != nil {
			return 0, err
		}
		if first <= offset {
			low = middle
		} else {
			high = middle
		}
	}
	return low, nil
}

// firstOf returns the first offset of the frame in a message.
func (f *frames) firstOf(ctx context.Context, seq bus.Offset) (first bus.Offset, err error) {
	err = f.l.get(ctx, bus.StreamEvents, getRequest{Seq: seq, Batch: 1}, func(m *nats.Msg) error {
		first, _, err = frameHead(m.Data)
		return err
	})
	return first, err
}

// read returns records from an offset on.
func (f *frames) read(ctx context.Context, from bus.Offset, limit, maxBytes int) ([]bus.Record, bus.Offset, error) {
	f.mu.Lock()
	from = max(from, f.trimmed, 1)
	end := f.next
	f.mu.Unlock()
	if from >= end {
		return nil, from, nil
	}
	seq, err := f.find(ctx, from)
	if err != nil {
		return nil, from, err
	}
	var out []bus.Record
	bytes := 0
	full := func() bool { return len(out) == limit || len(out) > 0 && bytes >= maxBytes }
	take := func(m *nats.Msg) error {
		first, events, err := readFrame(m.Data)
		if err != nil {
			return fmt.Errorf("read frame %s: %w", m.Header.Get(gotSequence), err)
		}
		stored, err := time.Parse(time.RFC3339Nano, m.Header.Get(gotTime))
		if err != nil {
			return fmt.Errorf("read time: %w", err)
		}
		for i, e := range events {
			if offset := first + bus.Offset(i); offset >= from && !full() {
				out = append(out, bus.Record{Offset: offset, Stored: stored, Event: e})
				bytes += e.Size()
			}
		}
		return nil
	}
	// The first frame may end before from; then its successor has what is looked for. The last frame is never dropped, so that
	// it is there, or comes.
	for len(out) == 0 {
		n := 0
		_, err := f.l.settle(ctx, bus.StreamEvents, seq, func() (int, error) {
			err := f.l.get(ctx, bus.StreamEvents, getRequest{Seq: seq, Batch: max(2, limit), MaxBytes: maxBytes}, func(m *nats.Msg) error {
				n++
				return take(m)
			})
			return n, err
		})
		if err != nil {
			return nil, from, err
		}
		if n == 0 {
			return nil, from, errors.New("frames are gone that were acknowledged")
		}
		seq += bus.Offset(n)
	}
	return out, out[len(out)-1].Offset + 1, nil
}

// at returns the first offset stored at or after a time.
func (f *frames) at(ctx context.Context, t time.Time) (bus.Offset, error) {
	f.mu.Lock()
	found, trimmed := f.next, f.trimmed
	f.mu.Unlock()
	err := f.l.get(ctx, bus.StreamEvents, getRequest{StartTime: &t, NextFor: ">", Batch: 1}, func(m *nats.Msg) error {
		first, _, err := frameHead(m.Data)
		found = min(found, first)
		return err
	})
	return max(found, trimmed), err
}

// bounds says what there is.
func (f *frames) bounds(ctx context.Context) (bus.Bounds, error) {
	state, err := f.l.state(ctx, bus.StreamEvents)
	if err != nil {
		return bus.Bounds{}, err
	}
	f.mu.Lock()
	b := bus.Bounds{First: f.next, Next: f.next, Bytes: state.Bytes}
	trimmed := f.trimmed
	f.mu.Unlock()
	if state.Msgs > 0 {
		first, err := f.firstOf(ctx, bus.Offset(state.FirstSeq))
		if err != nil {
			return b, err
		}
		b.First = min(b.Next, max(first, trimmed))
	}
	b.Records = uint64(b.Next - b.First)
	return b, nil
}

// trim drops the frames that lie wholly before an offset, but never the last.
func (f *frames) trim(ctx context.Context, before bus.Offset) error {
	f.mu.Lock()
	f.trimmed = max(f.trimmed, min(before, f.next))
	f.mu.Unlock()
	seq, err := f.find(ctx, before)
	if err != nil {
		return err
	}
	return f.l.purge(ctx, bus.StreamEvents, seq)
}
