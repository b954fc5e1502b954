// Package bustest is the conformance suite of bus.Log: what every driver does, and what the bus does upon it.
package bustest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/bus"
)

// Open opens a log whose content outlives its Close: a second call within one test opens what the first has kept.
type Open func(t *testing.T) bus.Log

// Driver is a driver under test. New is called once for each test.
type Driver func(t *testing.T) Open

// Run runs the whole suite.
func Run(t *testing.T, driver Driver) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(t *testing.T, open Open)
	}{
		{"AnEventComesBackAsItWas", comesBack},
		{"OffsetsFollowEachOther", offsetsFollow},
		{"ReadingKeepsToItsLimits", readLimits},
		{"ReadingStepsOverWhatWasDropped", readGaps},
		{"WhatIsTrimmedIsGoneAndTheEndStays", trims},
		{"TimesFindOffsets", offsetAt},
		{"LargeAttributesFitEveryStream", largeAttributes},
		{"ManyAreDroppedAtOnce", dropsMany},
		{"DocumentsAreReplacedAndTakenAway", documents},
		{"StreamsAreAppendedToSideBySide", sideBySide},
		{"AllIsThereAfterReopening", reopens},
	} {
		t.Run("Log/"+c.name, func(t *testing.T) { c.run(t, driver(t)) })
	}
	runBus(t, driver)
}

// NewEvent is an event as publishers send them.
func NewEvent(topic, key, data string) *bus.Event {
	e := &bus.Event{Topic: topic, ID: bus.NewID(), Source: "/services/test", Type: topic, Time: time.Now().UTC(), DataType: "text/plain", Data: []byte(data)}
	e.SetExtension(bus.AttributeKey, key)
	return e
}

func openLog(t *testing.T, open Open) bus.Log {
	t.Helper()
	l := open(t)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func appendAll(t *testing.T, l bus.Log, stream bus.Stream, events ...*bus.Event) bus.Offset {
	t.Helper()
	first, err := l.Append(t.Context(), stream, events)
	if err != nil {
		t.Fatal(err)
	}
	return first
}

func events(n int) []*bus.Event {
	out := make([]*bus.Event, n)
	for i := range out {
		out[i] = NewEvent("order.placed", "", fmt.Sprint(i))
	}
	return out
}

func comesBack(t *testing.T, open Open) {
	t.Helper()
	l := openLog(t, open)
	e := &bus.Event{
		Topic: "order.placed", ID: "an id / with \"quotes\" and 100% ü €", Source: "/services/ö?x=1", Type: "order.placed", Subject: " 7 ",
		Time: time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC), DataType: "application/json; charset=utf-8", DataSchema: "https://example.com/s",
		Data: []byte("{\"a\":\"\r\n\x00\xff\"}"),
	}
	e.SetExtension(bus.AttributeKey, "kunde 7 \u2028")
	e.SetExtension("zzz", strings.Repeat("x", 3000))
	bare := &bus.Event{Topic: "t", ID: "1", Source: "/", Type: "t"}
	first := appendAll(t, l, bus.StreamEvents, e, bare)
	records, next, err := l.Read(t.Context(), bus.StreamEvents, first, 10, 1<<20)
	if err != nil || len(records) != 2 || next != first+2 {
		t.Fatalf("read %d records, next %d: %v", len(records), next, err)
	}
	for i, want := range []*bus.Event{e, bare} {
		got := records[i].Event
		if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", *want) && !same(got, want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
		if age := time.Since(records[i].Stored); age < -time.Second || age > time.Minute {
			t.Errorf("stored %s ago", age)
		}
	}
}

// same compares events; times are compared as moments, absent data with empty.
func same(a, b *bus.Event) bool {
	x, y := *a, *b
	if !x.Time.Equal(y.Time) || string(x.Data) != string(y.Data) {
		return false
	}
	x.Time, y.Time, x.Data, y.Data = time.Time{}, time.Time{}, nil, nil
	return fmt.Sprintf("%+v", x) == fmt.Sprintf("%+v", y)
}

func offsetsFollow(t *testing.T, open Open) {
	t.Helper()
	l := openLog(t, open)
	next := bus.Offset(1)
	for _, n := range []int{1, 2, 8, 9, 1, bus.MaxAppend, 3} {
		if first := appendAll(t, l, bus.StreamEvents, events(n)...); first != next {
			t.Fatalf("%d events begin at %d, want %d", n, first, next)
		}
		next += bus.Offset(n)
	}
	from := bus.Offset(1)
	for from < next {
		records, after, err := l.Read(t.Context(), bus.StreamEvents, from, 100, 1<<20)
		if err != nil || len(records) == 0 {
			t.Fatalf("nothing from %d on: %v", from, err)
		}
		for i, r := range records {
			if r.Offset != from+bus.Offset(i) {
				t.Fatalf("offset %d in the place of %d", r.Offset, from+bus.Offset(i))
			}
		}
		from = after
	}
	if b, err := l.Bounds(t.Context(), bus.StreamEvents); err != nil || b.First != 1 || b.Next != next || b.Records != uint64(next-1) || b.Bytes == 0 {
		t.Errorf("bounds %+v, want up to %d: %v", b, next, err)
	}
}

func readLimits(t *testing.T, open Open) {
	t.Helper()
	l := openLog(t, open)
	big := events(20)
	for _, e := range big {
		e.Data = []byte(strings.Repeat("x", 10_000))
	}
	appendAll(t, l, bus.StreamEvents, big...)
	for _, c := range []struct{ limit, bytes, least, most int }{{5, 1 << 20, 5, 5}, {20, 25_000, 2, 4}, {20, 1, 1, 1}} {
		records, next, err := l.Read(t.Context(), bus.StreamEvents, 3, c.limit, c.bytes)
		if err != nil || len(records) < c.least || len(records) > c.most || next != 3+bus.Offset(len(records)) {
			t.Errorf("limit %d, %d bytes: %d records, next %d: %v", c.limit, c.bytes, len(records), next, err)
		}
	}
	for _, beyond := range []bus.Offset{21, 500} {
		if records, next, err := l.Read(t.Context(), bus.StreamEvents, beyond, 5, 100); err != nil || len(records) != 0 || next != beyond {
			t.Errorf("from %d on: %d records, next %d: %v", beyond, len(records), next, err)
		}
	}
	if records, next, err := l.Read(t.Context(), bus.StreamDead, 1, 5, 100); err != nil || len(records) != 0 || next != 1 {
		t.Errorf("empty stream: %d records, next %d: %v", len(records), next, err)
	}
}

func readGaps(t *testing.T, open Open) {
	t.Helper()
	l := openLog(t, open)
	appendAll(t, l, bus.StreamDead, events(10)...)
	if err := l.Drop(t.Context(), bus.StreamDead, 1, 2, 5, 9, 10); err != nil {
		t.Fatal(err)
	}
	if err := l.Drop(t.Context(), bus.StreamDead, 5, 700); err != nil {
		t.Errorf("dropping what is gone: %v", err)
	}
	left(t, l, bus.StreamDead, 3, 3, 4, 6)
	// Who reads on gets past what was dropped at the end, and misses nothing that comes then.
	await(t, func() bool {
		_, next, err := l.Read(t.Context(), bus.StreamDead, 9, 3, 1<<20)
		return err == nil && next == 11
	})
	appendAll(t, l, bus.StreamDead, events(1)...)
	if records, _, err := l.Read(t.Context(), bus.StreamDead, 11, 3, 1<<20); err != nil || len(records) != 1 {
		t.Errorf("read %v: %v", offsets(records), err)
	}
}

func offsets(records []bus.Record) []bus.Offset {
	out := make([]bus.Offset, len(records))
	for i, r := range records {
		out[i] = r.Offset
	}
	return out
}

func trims(t *testing.T, open Open) {
	t.Helper()
	l := openLog(t, open)
	appendAll(t, l, bus.StreamEvents, events(10)...)
	if err := l.Trim(t.Context(), bus.StreamEvents, 8); err != nil {
		t.Fatal(err)
	}
	if next := left(t, l, bus.StreamEvents, 100, 8, 9, 10); next != 11 {
		t.Errorf("next %d", next)
	}
	if err := l.Trim(t.Context(), bus.StreamEvents, 11); err != nil {
		t.Fatal(err)
	}
	if b, err := l.Bounds(t.Context(), bus.StreamEvents); err != nil || b.First != 11 || b.Next != 11 || b.Records != 0 {
		t.Errorf("bounds %+v: %v", b, err)
	}
	if first := appendAll(t, l, bus.StreamEvents, events(1)...); first != 11 {
		t.Errorf("the next offset is %d", first)
	}
}

func offsetAt(t *testing.T, open Open) {
	t.Helper()
	l := openLog(t, open)
	if at, err := l.OffsetAt(t.Context(), bus.StreamEvents, time.Now()); err != nil || at != 1 {
		t.Errorf("an empty stream has offset %d: %v", at, err)
	}
	before := time.Now().Add(-time.Minute)
	appendAll(t, l, bus.StreamEvents, events(10)...)
	records, _, err := l.Read(t.Context(), bus.StreamEvents, 1, 100, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at   time.Time
		want bus.Offset
	}{{before, 1}, {records[0].Stored, 1}, {records[9].Stored.Add(time.Millisecond), 11}, {time.Now().Add(time.Hour), 11}} {
		if got, err := l.OffsetAt(t.Context(), bus.StreamEvents, c.at); err != nil || got != c.want {
			t.Errorf("offset at %s is %d, want %d: %v", c.at, got, c.want, err)
		}
	}
}

func largeAttributes(t *testing.T, open Open) {
	t.Helper()
	l := openLog(t, open)
	large := NewEvent("order.placed", "", strings.Repeat("x", bus.MaxData))
	for i := range bus.MaxAttributes {
		large.SetExtension(fmt.Sprintf("ext%d", i), strings.Repeat("v", bus.MaxAttribute))
	}
	if room := l.MaxRecord(); large.Size() > room {
		large.Data = large.Data[large.Size()-room:]
	}
	large.SetExtension("atolldead", strings.Repeat("c", bus.CircumstancesRoom-200))
	for _, stream := range bus.Streams() {
		small := events(2)
		first := appendAll(t, l, stream, small[0], large, small[1])
		if single := appendAll(t, l, stream, large); single != first+3 {
			t.Errorf("%s: three begin at %d, and the fourth is %d", stream, first, single)
		}
		for from := first; from < first+4; from++ {
			records, _, err := l.Read(t.Context(), stream, from, 1, 1)
			want := []*bus.Event{small[0], large, small[1], large}[from-first]
			if err != nil || len(records) != 1 || records[0].Offset != from || !same(records[0].Event, want) {
				t.Errorf("%s: record %d came back as something else: %v", stream, from, err)
			}
		}
	}
}

func dropsMany(t *testing.T, open Open) {
	t.Helper()
	l := openLog(t, open)
	appendAll(t, l, bus.StreamDelayed, events(bus.MaxAppend)...)
	last := appendAll(t, l, bus.StreamDelayed, events(bus.MaxAppend)...) + bus.MaxAppend - 1
	all := make([]bus.Offset, last-1)
	for i := range all {
		all[i] = bus.Offset(i + 1)
	}
	if err := l.Drop(t.Context(), bus.StreamDelayed, all...); err != nil {
		t.Fatal(err)
	}
	left(t, l, bus.StreamDelayed, 10, last)
}

// left waits until a Read from the beginning answers these records alone, and returns where it goes on from: what was dropped may be
// read for a moment more.
func left(t *testing.T, l bus.Log, stream bus.Stream, limit int, want ...bus.Offset) (next bus.Offset) {
	t.Helper()
	var got []bus.Offset
	defer func() {
		if t.Failed() {
			t.Logf("left are %v, should be %v", got, want)
		}
	}()
	await(t, func() bool {
		records, n, err := l.Read(t.Context(), stream, 1, limit, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		got, next = offsets(records), n
		return slices.Equal(got, want)
	})
	return next
}

func documents(t *testing.T, open Open) {
	t.Helper()
	l := openLog(t, open)
	many := map[string][]byte{}
	for i := range 1500 {
		many[fmt.Sprintf("many.%d", i)] = []byte("x")
	}
	for _, docs := range []map[string][]byte{
		{"cursor.a": []byte("1"), "cursor.b": []byte("1"), "other": []byte("1")}, {"cursor.a": []byte("2"), "cursor.b": nil}, many,
	} {
		if err := l.Save(t.Context(), docs); err != nil {
			t.Fatal(err)
		}
	}
	got, err := l.Load(t.Context(), "cursor.")
	if err != nil || len(got) != 1 || string(got["cursor.a"]) != "2" {
		t.Errorf("loaded %q: %v", got, err)
	}
	if got, err = l.Load(t.Context(), "many."); err != nil || len(got) != 1500 {
		t.Errorf("loaded %d documents: %v", len(got), err)
	}
	large := []byte(strings.Repeat("x", 512<<10))
	if err := l.Save(t.Context(), map[string][]byte{"large": large}); err != nil {
		t.Error(err)
	}
}

func sideBySide(t *testing.T, open Open) {
	t.Helper()
	l := openLog(t, open)
	var wg sync.WaitGroup
	for _, stream := range bus.Streams() {
		wg.Go(func() {
			for range 5 {
				if _, err := l.Append(t.Context(), stream, events(30)); err != nil {
					t.Error(err)
				}
				if err := l.Save(t.Context(), map[string][]byte{"doc." + string(stream): []byte("x")}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, stream := range bus.Streams() {
		if b, err := l.Bounds(t.Context(), stream); err != nil || b.Records != 150 {
			t.Errorf("%s holds %d records: %v", stream, b.Records, err)
		}
	}
}

func reopens(t *testing.T, open Open) {
	t.Helper()
	l := open(t)
	appendAll(t, l, bus.StreamEvents, events(20)...)
	appendAll(t, l, bus.StreamDead, events(2)...)
	if err := l.Save(t.Context(), map[string][]byte{"a": []byte("1")}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, open)
	records, _, err := l.Read(t.Context(), bus.StreamEvents, 1, 100, 1<<20)
	if err != nil || len(records) != 20 {
		t.Errorf("%d events: %v", len(records), err)
	}
	if docs, err := l.Load(t.Context(), ""); err != nil || string(docs["a"]) != "1" {
		t.Errorf("documents %q: %v", docs, err)
	}
	if first := appendAll(t, l, bus.StreamEvents, events(1)...); first != 21 {
		t.Errorf("the next offset is %d", first)
	}
}
