package bus

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"
)

// Deliverer makes one attempt to deliver an event to a subscriber. It is safe for concurrent use.
type Deliverer interface {
	Deliver(ctx context.Context, d Delivery) Outcome
}

// DelivererFunc is a function as a Deliverer.
type DelivererFunc func(ctx context.Context, d Delivery) Outcome

// Deliver implements Deliverer.
func (f DelivererFunc) Deliver(ctx context.Context, d Delivery) Outcome { return f(ctx, d) }

const (
	readBytes  = 1 << 20
	noteEvery  = 50 * time.Millisecond
	retryAfter = 500 * time.Millisecond // of reading, and of writing dead letters
)

// dispatcher is the shell of one subscription's machine: one goroutine owns the machine, and others, bounded in number by what
// the machine asks for, deliver, read and write for it.
type dispatcher struct {
	b        *Bus
	sub      atomic.Pointer[Subscription]
	inputs   chan func(now time.Time) // what came of what the machine wanted
	commands chan func(now time.Time) // what others want of the machine
	before   *dispatcher              // whose place this one takes, or nil
	start    Cursor                   // where there is none before
	m        *Machine
	final    Cursor        // where it stood, once it has ended
	policy   *Subscription // whose policy the machine has
	changed  chan struct{} // holds one: the subscription has changed
	rewinds  []chan error  // who waits for the machine to have rewound
	lastSave time.Time
	lastNote time.Time

	tally *tally
	floor atomic.Uint64 // the first offset that is still needed
	load  atomic.Pointer[Load]

	cancel context.CancelFunc
	done   chan struct{}
}

func cursorDocName(sub string) string { return "cursor." + docSafe(sub) }

// newDispatcher returns the dispatcher of a subscription that goes on from a cursor, or from where another stands once that has
// ended.
func newDispatcher(b *Bus, sub *Subscription, c Cursor, before *dispatcher) *dispatcher {
	d := &dispatcher{
		b: b, inputs: make(chan func(time.Time)), commands: make(chan func(time.Time)), before: before, start: c, done: make(chan struct{}),
		changed: make(chan struct{}, 1),
		tally:   &tally{},
	}
	d.sub.Store(sub)
	d.floor.Store(uint64(c.Floor()))
	d.load.Store(&Load{Held: len(c.Unsettled), Read: c.Next})
	if before != nil {
		d.floor.Store(before.floor.Load())
		d.load.Store(before.load.Load())
		d.tally = before.tally
	}
	return d
}

// begin makes the machine.
func (d *dispatcher) begin() {
	if d.before != nil {
		<-d.before.done
		d.start, d.before = d.before.final, nil
	}
	d.policy = d.sub.Load()
	d.m = NewMachine(d.policy.Policy, func(e *Event) bool { return d.sub.Load().gets(e) }, d.start)
	d.start = Cursor{}
}

// run drives the machine until ctx ends; then it waits for the attempts in flight, whose context attempts ends.
func (d *dispatcher) run(ctx, attempts context.Context) {
	defer close(d.done)
	d.begin()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	flying := 0
	stopping := ctx.Done()
	for {
		end, grown := d.b.ring.tail()
		d.m.Grown(end)
		if len(d.rewinds) > 0 && !d.m.Rewinding() {
			d.keep()
			d.answerRewinds(nil)
		}
		now := time.Now()
		var save time.Duration
		if ctx.Err() == nil {
			flying += d.perform(attempts, now, timer)
			save = d.save(now)
		} else if flying == 0 {
			break
		}
		var saveTimer <-chan time.Time
		if save > 0 {
			saveTimer = time.After(save)
		}
		select {
		case happened := <-d.inputs:
			flying--
			happened(time.Now())
		case command := <-d.commands:
			command(time.Now())
		case <-grown:
		case <-d.changed:
		case <-timer.C:
		case <-saveTimer:
		case <-stopping:
			stopping = nil
		}
	}
	d.keep()
	d.answerRewinds(errEnding())
	d.final, d.m = d.m.Cursor(), nil // what it held is given back, though it may be remembered where it stood
}

// look makes the dispatcher look at its subscription, which has changed.
func (d *dispatcher) look() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// perform does what the machine wants done, and returns how many inputs will come of it.
func (d *dispatcher) perform(ctx context.Context, now time.Time, timer *time.Timer) int {
	sub := d.sub.Load()
	if sub != d.policy {
		d.policy = sub
		d.m.SetPolicy(sub.Policy)
	}
	if sub.Paused {
		timer.Reset(time.Hour)
		d.note(now)
		return 0
	}
	n := 0
	eff := d.m.Next(now)
	for {
		for _, delivery := range eff.Deliver {
			go d.deliver(ctx, sub, delivery)
		}
		for i := range eff.Bury {
			go d.buryLetter(ctx, sub, eff.Bury[i])
		}
		n += len(eff.Deliver) + len(eff.Bury)
		if !eff.Read {
			break
		}
		records, next, ok := d.b.ring.read(eff.From, eff.Limit, readBytes)
		if !ok {
			go d.read(ctx, eff)
			n++
			break
		}
		d.m.Took(now, records, next)
		eff = d.m.Next(now)
	}
	wake := time.Hour
	if !eff.Wake.IsZero() {
		wake = max(0, eff.Wake.Sub(now))
	}
	timer.Reset(wake)
	d.note(now)
	return n
}

// note keeps how much work there is for those who ask, now and then: it looks at all that is held.
func (d *dispatcher) note(now time.Time) {
	if now.Sub(d.lastNote) < noteEvery && d.m.Held() > 64 {
		return
	}
	d.lastNote = now
	load := d.m.Load()
	d.load.Store(&load)
}

// tell hands an input to the goroutine that owns the machine, which waits for as many as perform has promised.
func (d *dispatcher) tell(happened func(now time.Time)) { d.inputs <- happened }

// deliver makes one attempt.
func (d *dispatcher) deliver(ctx context.Context, sub *Subscription, delivery Delivery) {
	began := time.Now()
	o := sub.Deliver.Deliver(ctx, delivery)
	if ctx.Err() != nil && o.Verdict != Accepted {
		o = Outcome{Verdict: Aborted}
	}
	if o.Verdict != Unreachable && o.Verdict != Aborted {
		now := time.Now()
		d.tally.attempt(now, now.Sub(began), o.Verdict == Accepted)
	}
	d.b.o.OnAttempt(sub.Name, delivery, began, o)
	d.tell(func(now time.Time) { d.m.Settle(now, delivery.Offset, began, o) })
}

// buryLetter keeps a dead letter.
func (d *dispatcher) buryLetter(ctx context.Context, sub *Subscription, letter DeadLetter) {
	letter.Subscription = sub.Name
	err := d.b.dead.append(ctx, []*Event{letter.record()})
	if err == nil {
		d.tally.dead.Add(1)
		d.b.o.OnDead(letter)
		d.tell(func(now time.Time) { d.m.Buried(now, letter.Origin) })
		return
	}
	d.b.logger.Error("dead letter not kept, trying again", "subscription", sub.Name, "offset", letter.Origin, "error", err)
	wait(ctx, retryAfter)
	d.tell(func(time.Time) { d.m.BuryFailed(letter.Origin) })
}

// read brings records from the log.
func (d *dispatcher) read(ctx context.Context, eff Effects) {
	records, next, err := d.b.log.Read(ctx, StreamEvents, eff.From, eff.Limit, readBytes)
	if err == nil {
		d.tell(func(now time.Time) { d.m.Took(now, records, next) })
		return
	}
	if ctx.Err() == nil {
		d.b.logger.Error("events not read, trying again", "subscription", d.sub.Load().Name, "error", err)
	}
	wait(ctx, retryAfter)
	d.tell(func(time.Time) { d.m.ReadFailed() })
}

// save hands the cursor to the saver where it has changed, not more often than the saver writes. It returns when to try again.
func (d *dispatcher) save(now time.Time) time.Duration {
	if !d.m.Changed() {
		return 0
	}
	if left := saveEvery - now.Sub(d.lastSave); left > 0 {
		return left
	}
	d.lastSave = now
	d.keep()
	return 0
}

func (d *dispatcher) keep() {
	c := d.m.Cursor()
	doc, err := json.Marshal(c)
	if err != nil {
		panic("bus: a cursor cannot be written: " + err.Error())
	}
	name := d.sub.Load().Name
	d.b.saver.put(cursorDocName(name), doc)
	d.floor.Store(uint64(c.Floor()))
}

// rewind makes the subscription read again from an offset on, once the attempts in flight have ended. It returns when that is so, and
// durable.
func (d *dispatcher) rewind(ctx context.Context, from Offset) error {
	rewound := make(chan error, 1)
	rewind := func(now time.Time) {
		d.m.Rewind(now, from)
		d.rewinds = append(d.rewinds, rewound)
	}
	select {
	case d.commands <- rewind:
	case <-d.done:
		return errEnding()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-rewound:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return d.b.saver.flush(ctx)
}

// answerRewinds tells those who wait for a rewind what came of it.
func (d *dispatcher) answerRewinds(err error) {
	for _, rewound := range d.rewinds {
		rewound <- err
	}
	d.rewinds = nil
}

// wait returns after a while, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
