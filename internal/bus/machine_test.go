package bus_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/internal/bus"
)

// world is a subscription's machine with a stream, and an oracle that knows no more than the promises: it looks at every event
// that there ever was, each time.
type world struct {
	m      *bus.Machine
	policy bus.Policy
	now    time.Time
	stream []*fact // by offset, from 1 on

	read    bus.Offset // the next that the machine reads
	reading *bus.Effects
	sated   bool // the room was full, and much of it still is
	stale   bool // what is being read is from before a rewind

	accepted time.Time       // the latest acceptance
	poisoned map[string]bool // keys of which an event was given up to make room, and none accepted since
}

// fact is what the oracle knows of an event.
type fact struct {
	record  bus.Record
	matches bool

	settled     bool // accepted or a dead letter, in the present pass
	flies       bool
	dies        bool
	burying     bool // it is being made a dead letter
	failed      int
	failedFirst time.Time
	notBefore   time.Time
	stray       bool // was under way when the subscription was rewound
}

// policies are small, so that the machine is often full.
func policies() *rapid.Generator[bus.Policy] {
	return rapid.Custom(func(t *rapid.T) bus.Policy {
		return bus.Policy{
			Concurrency: rapid.IntRange(1, 4).Draw(t, "concurrency"), Attempts: rapid.IntRange(0, 4).Draw(t, "attempts"),
			Backoff: time.Second, MaxBackoff: 8 * time.Second, Ordered: rapid.Bool().Draw(t, "ordered"),
			Room: rapid.IntRange(1, 8).Draw(t, "room"), RoomBytes: rapid.SampledFrom([]int{400, 1 << 20}).Draw(t, "bytes"),
		}
	})
}

func matches(e *bus.Event) bool { return e.Topic == "mine" }

func newWorld(t *rapid.T) *world {
	w := &world{policy: policies().Draw(t, "policy"), now: time.Unix(1_000_000, 0), read: 1, poisoned: map[string]bool{}}
	w.m = bus.NewMachine(w.policy, matches, bus.Cursor{Next: 1})
	return w
}

func (w *world) key(f *fact) string {
	if !w.policy.Ordered {
		return ""
	}
	return f.record.Event.Key()
}

func (w *world) at(offset bus.Offset) *fact { return w.stream[offset-1] }

// count counts the events for which something holds.
func (w *world) count(holds func(f *fact) bool) int {
	n := 0
	for _, f := range w.stream {
		if holds(f) {
			n++
		}
	}
	return n
}

// pick draws one of the events for which something holds; nil if there is none.
func (w *world) pick(t *rapid.T, holds func(f *fact) bool) *fact {
	var found []*fact
	for _, f := range w.stream {
		if holds(f) {
			found = append(found, f)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return rapid.SampledFrom(found).Draw(t, "event")
}

func (w *world) publish(t *rapid.T) {
	offset := bus.Offset(len(w.stream) + 1)
	e := &bus.Event{Topic: rapid.SampledFrom([]string{"mine", "mine", "mine", "other"}).Draw(t, "topic"), ID: fmt.Sprint(offset), Source: "/", Type: "t"}
	e.SetExtension(bus.AttributeKey, rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "key"))
	e.Data = make([]byte, rapid.SampledFrom([]int{1, 100}).Draw(t, "size"))
	w.stream = append(w.stream, &fact{record: bus.Record{Offset: offset, Stored: w.now, Event: e}, matches: matches(e)})
	w.m.Grown(offset + 1)
}

// next asks what is to do, and holds it against the promises.
func (w *world) next(t *rapid.T) {
	flying := w.count(func(f *fact) bool { return f.flies })
	w.fill()
	eff := w.m.Next(w.now)
	for _, d := range eff.Deliver {
		w.delivered(t, d)
	}
	for _, d := range eff.Bury {
		w.buries(t, d, w.sated && flying == 0 && len(eff.Deliver) == 0)
	}
	if n := w.count(func(f *fact) bool { return f.flies }); n > w.policy.Concurrency {
		t.Fatalf("%d attempts are in flight, at most %d may be", n, w.policy.Concurrency)
	}
	if eff.Read {
		if w.reading != nil || eff.From != w.read || eff.Limit < 1 || eff.Limit > max(1, w.policy.Room-w.m.Held()) {
			t.Fatalf("it reads %d from %d on, should from %d on; reads already: %v", eff.Limit, eff.From, w.read, w.reading != nil)
		}
		w.reading, w.stale = &eff, false
	}
	if !eff.Wake.IsZero() && eff.Wake.Before(w.now) && len(eff.Deliver) == 0 && flying < w.policy.Concurrency {
		t.Fatalf("it wants to be woken %s ago, and did nothing", w.now.Sub(eff.Wake))
	}
}

// fill notes whether the room is full, or was and has not a quarter of it free again.
func (w *world) fill() {
	held, bytes := w.m.Held(), w.m.Load().Bytes
	switch {
	case held >= w.policy.Room || bytes >= w.policy.RoomBytes:
		w.sated = true
	case held <= w.policy.Room*3/4 && bytes <= w.policy.RoomBytes*3/4:
		w.sated = false
	}
}

func (w *world) delivered(t *rapid.T, d bus.Delivery) {
	f := w.at(d.Offset)
	switch {
	case !f.matches:
		t.Fatalf("%d is none of the subscription's", d.Offset)
	case f.settled, f.flies, f.dies:
		t.Fatalf("%d is delivered again: settled %v, in flight %v, dying %v", d.Offset, f.settled, f.flies, f.dies)
	case d.Attempt != f.failed+1:
		t.Fatalf("%d is delivered as attempt %d, after %d that failed", d.Offset, d.Attempt, f.failed)
	case w.now.Before(f.notBefore):
		t.Fatalf("%d is delivered %s early", d.Offset, f.notBefore.Sub(w.now))
	}
	for _, other := range w.stream {
		if key := w.key(f); key == "" || !other.matches || other == f || w.key(other) != key {
			continue
		}
		if other.flies || other.dies {
			t.Fatalf("%d is delivered while %d of the same key is under way", d.Offset, other.record.Offset)
		}
		if other.record.Offset < d.Offset && !other.settled && !f.stray {
			t.Fatalf("%d is delivered before %d of the same key", d.Offset, other.record.Offset)
		}
	}
	f.flies = true
}

// buries holds what is given up against the reasons there are. Early is whether one may be given up to make room.
func (w *world) buries(t *rapid.T, d bus.DeadLetter, early bool) {
	f := w.at(d.Origin)
	if f.burying {
		t.Fatalf("%d becomes a dead letter twice", d.Origin)
	}
	f.burying = true
	if f.dies {
		return // for a reason that was looked at
	}
	if f.settled || f.flies || d.Failed != f.failed || len(d.Attempts) != f.failed {
		t.Fatalf("%d becomes a dead letter with %d attempts of %d: settled %v, in flight %v", d.Origin, len(d.Attempts), f.failed, f.settled, f.flies)
	}
	ill := f.failed >= 3 && w.accepted.After(f.failedFirst) || f.failed > 0 && w.poisoned[w.key(f)]
	if !early || !ill {
		t.Fatalf("%d becomes a dead letter after %d of %d attempts, and nothing forces that", d.Origin, f.failed, w.policy.Attempts)
	}
	f.dies = true
	if key := w.key(f); key != "" {
		w.poisoned[key] = true
	}
}

func (w *world) settle(t *rapid.T) {
	f := w.pick(t, func(f *fact) bool { return f.flies })
	if f == nil {
		t.Skip()
	}
	o := bus.Outcome{Verdict: rapid.SampledFrom([]bus.Verdict{
		bus.Accepted, bus.Accepted, bus.Refused, bus.Failed, bus.Failed, bus.Unreachable, bus.Aborted,
	}).Draw(t, "verdict")}
	if o.Verdict == bus.Failed && rapid.IntRange(0, 4).Draw(t, "asks") == 0 {
		o.After = 20 * time.Second
	}
	w.settleAs(f, o)
}

func (w *world) settleAs(f *fact, o bus.Outcome) {
	w.m.Settle(w.now, f.record.Offset, w.now, o)
	f.flies = false
	switch o.Verdict {
	case bus.Accepted:
		w.accepted = w.now
		delete(w.poisoned, w.key(f))
		w.done(f)
	case bus.Refused:
		f.failed++
		f.dies = true
	case bus.Failed:
		if f.failed++; f.failed == 1 {
			f.failedFirst = w.now
		}
		f.dies = w.policy.Attempts > 0 && f.failed >= w.policy.Attempts
		wait := min(w.policy.MaxBackoff, w.policy.Backoff<<(f.failed-1)) / 2
		f.notBefore = w.now.Add(max(wait, o.After))
	case bus.Unreachable, bus.Aborted:
	}
}

// done is an event accepted, or kept as a dead letter. Where the machine will read it once more, that is another pass.
func (w *world) done(f *fact) {
	f.settled, f.dies, f.burying, f.stray = f.record.Offset < w.read, false, false, false
	if !f.settled {
		f.failed, f.notBefore = 0, time.Time{}
	}
}

func (w *world) bury(t *rapid.T) {
	f := w.pick(t, func(f *fact) bool { return f.burying })
	if f == nil {
		t.Skip()
	}
	if rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
		f.burying = false
		w.m.BuryFailed(f.record.Offset)
		return
	}
	w.m.Buried(w.now, f.record.Offset)
	w.done(f)
}

func (w *world) took(t *rapid.T) {
	if w.reading == nil {
		t.Skip()
	}
	from, limit := w.reading.From, w.reading.Limit
	w.reading = nil
	if rapid.IntRange(0, 5).Draw(t, "fails") == 0 {
		w.m.ReadFailed()
		return
	}
	var records []bus.Record
	next := from
	for n := rapid.IntRange(1, limit).Draw(t, "records"); n > 0 && int(next) <= len(w.stream); n-- {
		records = append(records, w.at(next).record)
		next++
	}
	w.m.Took(w.now, records, next)
	if !w.stale {
		w.read = max(w.read, next)
	}
}

func (w *world) rewind(t *rapid.T) {
	from := bus.Offset(rapid.IntRange(1, len(w.stream)+1).Draw(t, "from"))
	w.m.Rewind(w.now, from)
	w.read, w.stale = min(w.read, from), true
	for _, f := range w.stream {
		switch {
		case f.record.Offset < from:
		case f.flies, f.dies:
			f.stray = true
		default:
			f.settled, f.failed, f.notBefore = false, 0, time.Time{}
		}
	}
}

// restart goes on from the cursor alone.
func (w *world) restart(t *rapid.T) {
	text, err := json.Marshal(w.m.Cursor())
	if err != nil {
		t.Fatal(err)
	}
	var c bus.Cursor
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	w.m, w.reading = bus.NewMachine(w.policy, matches, c), nil
	w.m.Grown(bus.Offset(len(w.stream) + 1))
	w.read = max(1, min(c.Next, c.Floor()))
	w.accepted, w.poisoned, w.sated = time.Time{}, map[string]bool{}, false
	for _, f := range w.stream {
		f.stray = false
		if f.flies || f.dies { // it was broken off
			f.flies, f.dies, f.burying, f.notBefore = false, false, false, time.Time{}
		}
		if f.record.Offset >= c.Next { // it is read as new
			f.settled, f.failed, f.notBefore = false, 0, time.Time{}
		}
	}
}

// check holds what is always so.
func (w *world) check(t *rapid.T) {
	l := w.m.Load()
	if l.Held > w.policy.Room && !w.rewound() {
		t.Fatalf("%d events are held, at most %d may be", l.Held, w.policy.Room)
	}
	if n := w.count(func(f *fact) bool { return f.flies }); n != l.Flying {
		t.Fatalf("it says that %d are in flight, %d are", l.Flying, n)
	}
	c := w.m.Cursor()
	for _, f := range w.stream {
		if f.matches && !f.settled && f.record.Offset < c.Floor() {
			t.Fatalf("%d is not settled, and may be dropped below %d", f.record.Offset, c.Floor())
		}
	}
}

// rewound tells whether something that was under way at a rewind still is: that is held beside what is read.
func (w *world) rewound() bool {
	return w.count(func(f *fact) bool { return f.stray }) > 0
}

// finish lets everything succeed and expects that nothing is left.
func (w *world) finish(t *rapid.T) {
	for range 20 * (len(w.stream) + 10) {
		for _, f := range w.stream {
			if f.flies {
				w.settleAs(f, bus.Outcome{})
			}
			if f.burying {
				w.m.Buried(w.now, f.record.Offset)
				w.done(f)
			}
		}
		if w.reading != nil {
			w.took(t)
		}
		w.next(t)
		w.now = w.now.Add(5 * time.Second)
	}
	for _, f := range w.stream {
		if f.matches && !f.settled {
			t.Fatalf("%d is never settled; the machine holds %+v", f.record.Offset, w.m.Load())
		}
	}
	if l := w.m.Load(); l.Held != 0 || l.Bytes != 0 {
		t.Fatalf("all is settled, and it holds %+v", l)
	}
}

func TestEveryEventIsSettledOnceInOrderWhateverHappens(t *testing.T) {
	for range 5 { // a hundred runs each
		rapid.Check(t, func(t *rapid.T) {
			w := newWorld(t)
			for range 8 { // runs are to be long enough for a room to fill, and events to be given up
				t.Repeat(w.actions())
			}
			w.finish(t)
		})
	}
}

func (w *world) actions() map[string]func(*rapid.T) {
	wait := func(t *rapid.T) {
		w.now = w.now.Add(time.Duration(rapid.IntRange(0, 10_000).Draw(t, "ms")) * time.Millisecond)
	}
	rarely := func(do func(*rapid.T)) func(*rapid.T) {
		return func(t *rapid.T) {
			if rapid.IntRange(0, 7).Draw(t, "rarely") > 0 {
				t.Skip()
			}
			do(t)
		}
	}
	return map[string]func(*rapid.T){
		"publish": w.publish, "next": w.next, "next again": w.next, "settle": w.settle, "settle again": w.settle,
		"took": w.took, "bury": w.bury, "wait": wait, "rewind": rarely(w.rewind), "restart": rarely(w.restart), "": w.check,
	}
}
