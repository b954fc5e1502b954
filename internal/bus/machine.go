package bus

import (
	"cmp"
	"container/heap"
	"fmt"
	"hash/fnv"
	"slices"
	"time"
)

// Policy is how a subscription delivers.
type Policy struct {
	Concurrency int           // attempts in flight at once
	Attempts    int           // failed attempts after which an event is a dead letter; 0 means no limit
	Backoff     time.Duration // wait after the first failed attempt; it doubles
	MaxBackoff  time.Duration // the longest wait
	Ordered     bool          // events of one key one after the other
	Room        int           // events held at once
	RoomBytes   int           // bytes held at once
	// Wait, if not nil, takes the place of Backoff, MaxBackoff and Attempts: how long to wait after failed attempts, of which
	// the first was then, and of which the latest asked not to be tried again for so long; giveUp makes the event a dead
	// letter. It must be a pure function.
	Wait func(failed int, first, now time.Time, asked time.Duration) (wait time.Duration, giveUp bool)
}

func (p *Policy) withDefaults() Policy {
	out := *p
	out.Concurrency = cmp.Or(p.Concurrency, 16)
	out.Backoff = cmp.Or(p.Backoff, 500*time.Millisecond)
	out.MaxBackoff = max(out.Backoff, cmp.Or(p.MaxBackoff, 10*time.Minute))
	out.Room = cmp.Or(p.Room, 10_000)
	out.RoomBytes = cmp.Or(p.RoomBytes, 16<<20)
	return out
}

// The waits after attempts that found nobody.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = 5 * time.Second
)

// Machine decides what one subscription does: which events it delivers, when it tries again, what becomes a dead letter, and
// when it reads on. It is pure: it has no clock and does nothing by itself. A shell tells it what happened, asks Next what is
// to do, and does that.
type Machine struct {
	p     Policy
	match func(*Event) bool

	end     Offset // of the stream, as far as known
	read    Offset // the next to be read
	reading bool
	sated   bool    // the room was full, and much of it still is: reading on would bring little
	resume  *resume // what is left of an earlier run; nil once it has been read again

	room    map[Offset]*item
	bytes   int
	ready   []*item          // to be delivered, in order
	lines   map[string]*line // by key: those of a key, the first of which is under way
	backoff itemHeap         // waiting for their next attempt
	bury    []*item          // to be made dead letters
	flying  int
	dying   int    // in the room, but as good as dead letters
	discard bool   // what is being read is from before a Rewind
	rewind  Offset // to go back there once nothing is under way; 0 for none

	misses   int       // attempts in a row that found nobody
	missed   time.Time // when the latest of them ended
	paused   time.Time // nothing is tried before
	accepted time.Time // the latest time that an event was accepted
	dirty    bool      // the cursor has changed since it was taken
}

// resume is what an earlier run had not settled below the place where it would have read on.
type resume struct {
	until   Offset
	waiting map[Offset]Unsettled
}

// item is one event that is not settled.
type item struct {
	Record
	state    itemState
	attempts []Attempt
	failed   int       // attempts that failed, of which the latest are kept
	first    time.Time // of the first failed attempt
	next     time.Time // not before
	cause    string    // of a dead letter
	index    int       // in the heap
}

type itemState int

const (
	itemWaits    itemState = iota // behind another of its key
	itemReady                     // to be delivered
	itemFlies                     // being delivered
	itemBacksOff                  // until its time has come
	itemDies                      // becomes a dead letter
)

// line is the events of one key, in order. The first is under way; the others wait.
type line struct {
	items  []*item
	poison bool // an event of it was given up early, and none has been accepted since
}

// Effects is what is to do.
type Effects struct {
	Deliver []Delivery
	Bury    []DeadLetter
	Read    bool      // read on, from From
	From    Offset    // of Read
	Limit   int       // records of Read
	Wake    time.Time // ask again then; zero for never
}

// Delivery is one attempt.
type Delivery struct {
	Record
	Attempt int // 1 for the first
}

// NewMachine returns the machine of a subscription that goes on from a cursor.
func NewMachine(p Policy, match func(*Event) bool, c Cursor) *Machine {
	m := &Machine{p: p.withDefaults(), match: match, read: max(1, c.Next), room: map[Offset]*item{}, lines: map[string]*line{}}
	if len(c.Unsettled) > 0 {
		m.resume = &resume{until: c.Next, waiting: make(map[Offset]Unsettled, len(c.Unsettled))}
		for _, u := range c.Unsettled {
			m.resume.waiting[u.Offset] = u
			m.read = min(m.read, u.Offset)
		}
	}
	return m
}

// SetPolicy changes how the machine delivers from now on, but for Ordered, which stays. Waits that have begun go on.
func (m *Machine) SetPolicy(p Policy) {
	ordered := m.p.Ordered
	m.p = p.withDefaults()
	m.p.Ordered = ordered
}

// Grown tells that the stream has grown to end.
func (m *Machine) Grown(end Offset) { m.end = max(m.end, end) }

// Took tells what reading has brought: records in order, and the offset to go on from.
func (m *Machine) Took(now time.Time, records []Record, next Offset) {
	m.reading = false
	if m.discard {
		m.discard = false
		return
	}
	for _, r := range records {
		if r.Offset >= m.read {
			m.admit(now, r)
		}
	}
	if next > m.read {
		m.read, m.dirty = next, true
	}
	if m.resume != nil && m.read >= m.resume.until {
		m.resume = nil
	}
}

// ReadFailed tells that reading has brought nothing; it is wanted again.
func (m *Machine) ReadFailed() { m.reading, m.discard = false, false }

// admit takes a record into the room, if it belongs to the subscription and is not settled.
func (m *Machine) admit(now time.Time, r Record) {
	if m.room[r.Offset] != nil || !m.match(r.Event) {
		return
	}
	it := &item{Record: r}
	if m.resume != nil && r.Offset < m.resume.until {
		u, ok := m.resume.waiting[r.Offset]
		if !ok {
			return
		}
		it.attempts, it.failed, it.first, it.next = u.Attempts, u.Failed, u.First, u.Next
		delete(m.resume.waiting, r.Offset)
	}
	m.room[r.Offset] = it
	m.bytes += r.Event.Size()
	m.dirty = true
	if key := m.key(it); key != "" {
		l := m.lines[key]
		if l == nil {
			l = &line{}
			m.lines[key] = l
		}
		l.items = append(l.items, it)
		if len(l.items) > 1 {
			return
		}
	}
	m.begin(now, it)
}

func (m *Machine) key(it *item) string {
	if !m.p.Ordered {
		return ""
	}
	return it.Event.Key()
}

// begin makes an item ready, or lets it wait for its time.
func (m *Machine) begin(now time.Time, it *item) {
	if it.next.After(now) {
		it.state = itemBacksOff
		heap.Push(&m.backoff, it)
		return
	}
	it.state = itemReady
	m.ready = append(m.ready, it)
}

// Settle tells how an attempt ended.
func (m *Machine) Settle(now time.Time, offset Offset, began time.Time, o Outcome) {
	it := m.room[offset]
	if it == nil || it.state != itemFlies {
		panic(fmt.Sprintf("bus: an attempt at offset %d ends that never began", offset))
	}
	m.flying--
	if o.Verdict != Unreachable && o.Verdict != Aborted {
		m.misses, m.paused = 0, time.Time{}
	}
	switch o.Verdict {
	case Accepted:
		m.accepted = now
		if l := m.lines[m.key(it)]; l != nil {
			l.poison = false
		}
		m.settled(now, it)
	case Refused:
		m.note(it, began, now, o)
		m.doom(it, "the subscriber refused it for good")
	case Failed:
		m.note(it, began, now, o)
		m.fail(now, it, o)
	case Unreachable, Aborted:
		if o.Verdict == Unreachable && !began.Before(m.missed) {
			m.misses++ // those that were in flight beside the one that found nobody first say nothing new
			m.missed = now
			m.paused = now.Add(jitter(offset, m.misses, exponential(firstPause, maxPause, m.misses)))
		}
		it.state = itemReady
		m.ready = slices.Insert(m.ready, 0, it)
	}
	m.rewound(now)
}

// note keeps a failed attempt.
func (m *Machine) note(it *item, began, now time.Time, o Outcome) {
	if it.failed == 0 {
		it.first = began
	}
	it.failed++
	text := o.Text
	if len(text) > maxAttemptText {
		text = text[:maxAttemptText]
	}
	it.attempts = append(it.attempts, Attempt{Time: began, Took: now.Sub(began), Status: o.Status, Text: text, By: o.By})
	if len(it.attempts) > keptAttempts {
		it.attempts = slices.Delete(it.attempts, 0, 1)
	}
	m.dirty = true
}

// fail lets an item wait for another attempt, or gives it up.
func (m *Machine) fail(now time.Time, it *item, o Outcome) {
	wait, giveUp := m.wait(now, it, o.After)
	if giveUp {
		m.doom(it, fmt.Sprintf("%d attempts failed", it.failed))
		return
	}
	it.next = now.Add(wait)
	it.state = itemBacksOff
	heap.Push(&m.backoff, it)
}

// wait is how long an item that has failed waits for another attempt, of which the subscriber asked to be spared for a while.
func (m *Machine) wait(now time.Time, it *item, asked time.Duration) (wait time.Duration, giveUp bool) {
	if m.p.Wait != nil {
		return m.p.Wait(it.failed, it.first, now, asked)
	}
	wait = jitter(it.Offset, it.failed, exponential(m.p.Backoff, m.p.MaxBackoff, it.failed))
	return max(wait, min(asked, time.Hour)), m.p.Attempts > 0 && it.failed >= m.p.Attempts
}

// doom sends an item to the dead letters. It is not settled, and holds up its key, until it has arrived there.
func (m *Machine) doom(it *item, cause string) {
	it.state, it.cause = itemDies, cause
	m.dying++
	m.bury = append(m.bury, it)
}

// Buried tells that a dead letter is durable.
func (m *Machine) Buried(now time.Time, offset Offset) {
	if it := m.room[offset]; it != nil && it.state == itemDies {
		m.dying--
		m.settled(now, it)
		m.rewound(now)
	}
}

// BuryFailed tells that a dead letter could not be kept; that is tried again.
func (m *Machine) BuryFailed(offset Offset) {
	if it := m.room[offset]; it != nil && it.state == itemDies {
		m.bury = append(m.bury, it)
	}
}

// settled forgets an item and lets the next of its key begin.
func (m *Machine) settled(now time.Time, it *item) {
	delete(m.room, it.Offset)
	m.bytes -= it.Event.Size()
	m.dirty = true
	key := m.key(it)
	if key == "" {
		return
	}
	l := m.lines[key]
	l.items[0] = nil
	l.items = l.items[1:]
	if len(l.items) == 0 {
		delete(m.lines, key)
		return
	}
	m.begin(now, l.items[0])
}

// Held is how many events the machine holds.
func (m *Machine) Held() int { return len(m.room) }

// full tells whether no more is taken in.
func (m *Machine) full() bool { return len(m.room) >= m.p.Room || m.bytes >= m.p.RoomBytes }

// satisfied tells whether there is no need to read on. Once the room is full that is so until a quarter of it is free again, for
// records are read in large pieces.
func (m *Machine) satisfied() bool {
	if m.full() {
		m.sated = true
	} else if len(m.room) <= m.p.Room*3/4 && m.bytes <= m.p.RoomBytes*3/4 {
		m.sated = false
	}
	return m.sated
}

// Next says what is to do now. Everything in it is under way from then on.
func (m *Machine) Next(now time.Time) Effects {
	var eff Effects
	for len(m.backoff) > 0 && !m.backoff[0].next.After(now) {
		it := heap.Pop(&m.backoff).(*item)
		it.state = itemReady
		m.ready = append(m.ready, it)
	}
	eff.Deliver = m.launch(now)
	m.relieve()
	for _, it := range m.bury {
		eff.Bury = append(eff.Bury, it.letter(now))
	}
	m.bury = m.bury[:0]
	if !m.reading && m.rewind == 0 && !m.satisfied() && m.read < m.end {
		m.reading, eff.Read, eff.From = true, true, m.read
		eff.Limit = max(1, min(m.p.Room-len(m.room), 1000))
	}
	eff.Wake = m.wake(now)
	return eff
}

// launch takes what may be delivered now. While nobody is there, one attempt at a time finds out.
func (m *Machine) launch(now time.Time) []Delivery {
	limit := m.p.Concurrency
	if m.misses > 0 {
		limit = 1
	}
	if now.Before(m.paused) || m.rewind > 0 {
		return nil
	}
	var out []Delivery
	for len(m.ready) > 0 && m.flying < limit {
		it := m.ready[0]
		m.ready[0] = nil
		m.ready = m.ready[1:]
		it.state = itemFlies
		m.flying++
		out = append(out, Delivery{Record: it.Record, Attempt: it.failed + 1})
	}
	return out
}

// relieve gives up an event early when the room is full and everything in it waits behind events that fail, while the
// subscriber has accepted others: it is then the event, not the subscriber, that is ill, and all other keys would stand still
// for it. The one behind which most wait is given up; those of its key that follow it get one attempt each while the room is
// full.
func (m *Machine) relieve() {
	if !m.satisfied() || m.flying > 0 || m.dying > 0 || len(m.ready) > 0 {
		return
	}
	var worst *item
	most := 0
	for _, it := range m.backoff {
		n, l := 1, m.lines[m.key(it)]
		if l != nil {
			n = len(l.items)
		}
		ill := it.failed >= minAttempts && m.accepted.After(it.first)
		if !ill && (l == nil || !l.poison || it.failed == 0) {
			continue
		}
		if n > most || n == most && it.Offset < worst.Offset {
			worst, most = it, n
		}
	}
	if worst == nil {
		return
	}
	heap.Remove(&m.backoff, worst.index)
	if l := m.lines[m.key(worst)]; l != nil {
		l.poison = true
	}
	m.doom(worst, fmt.Sprintf("%d attempts failed, and it holds up others: all that can be held waits behind events that fail", worst.failed))
}

// minAttempts is how often an event is tried at least before it is given up early.
const minAttempts = 3

// wake is when something is to do without anything happening.
func (m *Machine) wake(now time.Time) time.Time {
	var at time.Time
	if len(m.backoff) > 0 {
		at = m.backoff[0].next
	}
	if len(m.ready) > 0 && m.paused.After(now) && (at.IsZero() || m.paused.Before(at)) {
		at = m.paused
	}
	return at
}

// Rewind makes the subscription read again from an offset on, whatever was settled since. It takes effect once what is under way has
// ended, so that nothing of before comes between; until then nothing new begins.
func (m *Machine) Rewind(now time.Time, from Offset) {
	from = max(1, from)
	if m.rewind == 0 || from < m.rewind {
		m.rewind = from
	}
	m.rewound(now)
}

// Rewinding tells whether a Rewind has not taken effect yet.
func (m *Machine) Rewinding() bool { return m.rewind > 0 }

// rewound lets a Rewind take effect, if there is one and nothing is under way.
func (m *Machine) rewound(now time.Time) {
	if m.rewind == 0 || m.flying > 0 || m.dying > 0 {
		return
	}
	from := m.rewind
	m.rewind = 0
	for offset, it := range m.room {
		if offset >= from {
			m.forget(it)
		}
	}
	gone := func(it *item) bool { return m.room[it.Offset] != it }
	m.ready = slices.DeleteFunc(m.ready, gone)
	m.backoff = slices.DeleteFunc(m.backoff, gone)
	for i, it := range m.backoff {
		it.index = i
	}
	heap.Init(&m.backoff)
	for _, l := range m.lines {
		if l.items[0].state == itemWaits {
			m.begin(now, l.items[0])
		}
	}
	if m.resume != nil {
		m.resume.until = min(m.resume.until, from)
	}
	m.discard = m.reading
	m.read, m.dirty = min(m.read, from), true
}

// forget takes an item out of the room, and of its line.
func (m *Machine) forget(it *item) {
	delete(m.room, it.Offset)
	m.bytes -= it.Event.Size()
	key := m.key(it)
	l := m.lines[key]
	if key == "" || l == nil {
		return
	}
	l.items = slices.DeleteFunc(l.items, func(other *item) bool { return other == it })
	if len(l.items) == 0 {
		delete(m.lines, key)
	}
}

// exponential is the wait after the n-th failure.
func exponential(first, most time.Duration, n int) time.Duration {
	if n > 40 {
		return most
	}
	return min(most, first<<(n-1))
}

// jitter shortens a wait by up to a half. The same failure of the same event always waits as long, so that a machine's
// decisions follow from what it was told.
func jitter(offset Offset, n int, wait time.Duration) time.Duration {
	h := fnv.New32a()
	fmt.Fprintf(h, "%d/%d", offset, n)
	return wait - time.Duration(float64(wait)/2*float64(h.Sum32())/float64(1<<32))
}

// itemHeap orders items by the time of their next attempt.
type itemHeap []*item

func (h itemHeap) Len() int { return len(h) }

func (h itemHeap) Less(i, j int) bool { return h[i].next.Before(h[j].next) }

func (h itemHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *itemHeap) Push(x any) {
	it := x.(*item)
	it.index = len(*h)
	*h = append(*h, it)
}

// Pop implements heap.Interface.
func (h *itemHeap) Pop() any {
	last := len(*h) - 1
	it := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return it
}
