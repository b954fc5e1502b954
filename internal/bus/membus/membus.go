// Package membus keeps the events of the bus in memory: for tests, and for programs that need nothing kept. What it holds
// is bounded by what its users drop.
package membus

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/bus"
)

// Log is a bus.Log in memory.
type Log struct {
	mu      sync.Mutex
	streams map[bus.Stream]*stream // guarded by mu
	docs    map[string][]byte      // guarded by mu
}

type stream struct {
	next    bus.Offset
	bytes   uint64
	records []bus.Record // in order, with gaps
}

var _ bus.Log = (*Log)(nil)

// New returns an empty log.
func New() *Log {
	l := &Log{streams: map[bus.Stream]*stream{}, docs: map[string][]byte{}}
	for _, s := range bus.Streams() {
		l.streams[s] = &stream{next: 1}
	}
	return l
}

// at is the index of the first record that has not a smaller offset.
func (s *stream) at(offset bus.Offset) int {
	i, _ := slices.BinarySearchFunc(s.records, offset, func(r bus.Record, o bus.Offset) int {
		switch {
		case r.Offset < o:
			return -1
		case r.Offset > o:
			return 1
		}
		return 0
	})
	return i
}

// MaxRecord implements bus.Log.
func (l *Log) MaxRecord() int { return 8 << 20 }

// Append implements bus.Log.
func (l *Log) Append(_ context.Context, name bus.Stream, events []*bus.Event) (bus.Offset, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[name]
	first, now := s.next, time.Now()
	for _, e := range events {
		s.records = append(s.records, bus.Record{Offset: s.next, Stored: now, Event: e})
		s.next++
		s.bytes += uint64(e.Size())
	}
	return first, nil
}

// Read implements bus.Log.
func (l *Log) Read(_ context.Context, name bus.Stream, from bus.Offset, limit, maxBytes int) ([]bus.Record, bus.Offset, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[name]
	var out []bus.Record
	bytes := 0
	for _, r := range s.records[s.at(from):] {
		if len(out) == limit || len(out) > 0 && bytes >= maxBytes {
			return out, out[len(out)-1].Offset + 1, nil
		}
		bytes += r.Event.Size()
		out = append(out, r)
	}
	return out, max(from, s.next), nil
}

// OffsetAt implements bus.Log.
func (l *Log) OffsetAt(_ context.Context, name bus.Stream, t time.Time) (bus.Offset, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[name]
	for _, r := range s.records {
		if !r.Stored.Before(t) {
			return r.Offset, nil
		}
	}
	return s.next, nil
}

// Bounds implements bus.Log.
func (l *Log) Bounds(_ context.Context, name bus.Stream) (bus.Bounds, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[name]
	b := bus.Bounds{First: s.next, Next: s.next, Records: uint64(len(s.records)), Bytes: s.bytes}
	if len(s.records) > 0 {
		b.First = s.records[0].Offset
	}
	return b, nil
}

// Trim implements bus.Log.
func (l *Log) Trim(_ context.Context, name bus.Stream, before bus.Offset) error {
	return l.drop(name, func(r bus.Record) bool { return r.Offset < before })
}

// Drop implements bus.Log.
func (l *Log) Drop(_ context.Context, name bus.Stream, offsets ...bus.Offset) error {
	return l.drop(name, func(r bus.Record) bool { return slices.Contains(offsets, r.Offset) })
}

func (l *Log) drop(name bus.Stream, gone func(bus.Record) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[name]
	s.records = slices.DeleteFunc(s.records, func(r bus.Record) bool {
		if !gone(r) {
			return false
		}
		s.bytes -= uint64(r.Event.Size())
		return true
	})
	return nil
}

// Save implements bus.Log.
func (l *Log) Save(_ context.Context, docs map[string][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, doc := range docs {
		if doc == nil {
			delete(l.docs, name)
		} else {
			l.docs[name] = slices.Clone(doc)
		}
	}
	return nil
}

// Load implements bus.Log.
func (l *Log) Load(_ context.Context, prefix string) (map[string][]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := maps.Clone(l.docs)
	maps.DeleteFunc(out, func(name string, _ []byte) bool { return !strings.HasPrefix(name, prefix) })
	return out, nil
}

// Close implements bus.Log. The log can be used on; what it holds stays until nobody refers to it.
func (l *Log) Close() error { return nil }
