package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Options are settings whose zero values are usable.
type Options struct {
	// Logger takes what operators should know. Nil discards.
	Logger *slog.Logger
	// OnAttempt is told of each attempt to deliver. It must not block.
	OnAttempt func(subscription string, d Delivery, began time.Time, o Outcome)
	// OnDead is told of each dead letter once it is kept. It must not block.
	OnDead func(DeadLetter)
	// OnLeft is told of a subscription that a Config has no more, though events wait for it. It must not block.
	OnLeft func(subscription string, waiting uint64)
	// Drain is how long attempts in flight may go on when the bus ends; 0 means 10 s.
	Drain time.Duration
}

// Bus publishes and delivers events. It is safe for concurrent use.
type Bus struct {
	log    Log
	o      Options
	logger *slog.Logger

	config  atomic.Pointer[Config]
	ring    *ring
	saver   *saver
	events  *writer
	delayed *writer
	dead    *writer
	tried   *writer // deliveries to webhooks
	alarm   *alarm
	applied atomic.Bool   // a Config has been put into force
	untidy  chan struct{} // holds one: the janitor is to look
	since   atomic.Int64  // bytes appended since it was last told to
	full    atomic.Bool   // the log has grown to its limit with events that are still needed
	counts  counts
	kept    deadKept

	applying sync.Mutex // held while a Config is put into force
	mu       sync.Mutex
	running  map[string]*dispatcher // guarded by mu: by subscription
	leaving  map[string]*dispatcher // guarded by mu: the latest of those that were taken away
	ending   bool                   // guarded by mu

	stop        context.CancelFunc // ends the delivering
	stopWriting context.CancelFunc
	abort       context.CancelFunc // ends attempts in flight
	delivering  context.Context    //nolint:containedctx // the life of what Apply starts, which outlives its caller
	attempting  context.Context    //nolint:containedctx // the same of attempts in flight
	deliverers  sync.WaitGroup
	writers     sync.WaitGroup
}

// Open returns a bus upon a log, with nobody who may publish and no subscriptions yet. It goes on where an earlier one has
// stopped. The bus does not close the log.
func Open(ctx context.Context, log Log, opts *Options) (*Bus, error) {
	b := &Bus{log: log, running: map[string]*dispatcher{}, leaving: map[string]*dispatcher{}, counts: counts{topics: map[string]*meter{}}}
	if opts != nil {
		b.o = *opts
	}
	b.o.Drain = cmp.Or(b.o.Drain, 10*time.Second)
	b.logger = cmp.Or(b.o.Logger, slog.New(slog.DiscardHandler))
	if b.o.OnAttempt == nil {
		b.o.OnAttempt = func(string, Delivery, time.Time, Outcome) {}
	}
	if b.o.OnDead == nil {
		b.o.OnDead = func(DeadLetter) {}
	}
	if b.o.OnLeft == nil {
		b.o.OnLeft = func(string, uint64) {}
	}
	b.config.Store(&Config{})
	bounds, err := log.Bounds(ctx, StreamEvents)
	if err != nil {
		return nil, fmt.Errorf("open bus: %w", err)
	}
	if err := b.pullBack(ctx, bounds.Next); err != nil {
		return nil, fmt.Errorf("open bus: %w", err)
	}
	b.untidy = make(chan struct{}, 1)
	b.ring, b.saver = newRing(bounds.Next), newSaver(log, b.logger)
	b.events = newWriter(log, StreamEvents, b.stored)
	b.dead = newWriter(log, StreamDead, nil)
	b.tried = newWriter(log, StreamDeliveries, nil)
	b.alarm = newAlarm(b)
	b.delayed = newWriter(log, StreamDelayed, b.alarm.add)
	if err := b.alarm.load(ctx); err != nil {
		return nil, fmt.Errorf("open bus: %w", err)
	}
	b.begin(ctx)
	return b, nil
}

// pullBack brings places that lie beyond the end of the log back to it. A log whose unsynced end was delivered, and then lost with
// the power, leaves such places; what is published next would lie before them, and be taken for settled.
func (b *Bus) pullBack(ctx context.Context, end Offset) error {
	docs, err := b.log.Load(ctx, "cursor.")
	if err != nil {
		return err
	}
	back := map[string][]byte{}
	for name, doc := range docs {
		var c Cursor
		if err := json.Unmarshal(doc, &c); err != nil {
			return fmt.Errorf("place of subscription %s: %w", name, err)
		}
		if c.Next <= end {
			continue
		}
		b.logger.Warn("place of a subscription lies beyond the end of the log, and is brought back", "document", name, "place", c.Next, "end", end)
		c.Next = end
		c.Unsettled = slices.DeleteFunc(c.Unsettled, func(u Unsettled) bool { return u.Offset >= end })
		if back[name], err = json.Marshal(c); err != nil {
			return fmt.Errorf("place of subscription %s: %w", name, err)
		}
	}
	if len(back) == 0 {
		return nil
	}
	return b.log.Save(ctx, back)
}

// begin starts what runs until Close.
func (b *Bus) begin(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	writing, stopWriting := context.WithCancel(ctx)
	b.stopWriting = stopWriting
	b.delivering, b.stop = context.WithCancel(ctx)
	b.attempting, b.abort = context.WithCancel(ctx)
	for _, w := range []*writer{b.events, b.delayed, b.dead, b.tried} {
		b.writers.Go(func() { w.run(writing) })
	}
	b.writers.Go(func() { b.saver.run(writing) })
	b.deliverers.Go(func() { b.alarm.run(b.delivering) })
	b.deliverers.Go(func() { b.janitor(b.delivering) })
	b.deliverers.Go(func() { b.runSchedules(b.delivering) })
}

// Drain ends the delivering: attempts in flight may end, within Options.Drain, and nothing becomes a dead letter by it. Events are
// still taken for publishing.
func (b *Bus) Drain() {
	b.mu.Lock()
	b.ending = true
	b.mu.Unlock()
	b.stop()
	timer := time.AfterFunc(b.o.Drain, b.abort)
	b.deliverers.Wait()
	timer.Stop()
	b.abort()
}

// Close ends the bus, after Drain. What was accepted for publishing is published.
func (b *Bus) Close(ctx context.Context) error {
	b.Drain()
	b.stopWriting()
	b.writers.Wait()
	return b.saver.flush(ctx)
}

// Apply puts a Config into force. A subscription that is new gets what is published from now on; one that was there before, in
// this run or an earlier one, goes on where it stood. When Apply returns, the places of new ones are durable.
func (b *Bus) Apply(ctx context.Context, c *Config) error {
	commit, err := b.Prepare(ctx, c)
	if err != nil {
		return err
	}
	commit()
	return nil
}

// Prepare does of Apply what can fail, and returns the rest. No other Config may be prepared or put into force in between.
func (b *Bus) Prepare(ctx context.Context, c *Config) (commit func(), err error) {
	b.applying.Lock()
	defer b.applying.Unlock()
	kept, err := b.log.Load(ctx, "cursor.")
	if err != nil {
		return nil, fmt.Errorf("load places of subscriptions: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ending {
		return nil, errEnding()
	}
	cursors, err := b.place(ctx, c, kept)
	if err != nil {
		return nil, err
	}
	return func() { b.commit(c, cursors) }, nil //nolint:contextcheck // what it starts ends by Close, not with this call
}

// commit puts a Config into force whose new subscriptions have their places.
func (b *Bus) commit(c *Config, cursors map[string]Cursor) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ending {
		return
	}
	b.config.Store(c)
	wanted := map[string]bool{}
	for i := range c.Subscriptions {
		sub := &c.Subscriptions[i]
		wanted[sub.Name] = true
		b.launch(sub, cursors[sub.Name])
	}
	end, _ := b.ring.tail()
	for name, d := range b.running {
		if wanted[name] {
			continue
		}
		d.cancel()
		b.leaving[name] = d
		delete(b.running, name)
		load := d.load.Load()
		if waiting := uint64(load.Held) + uint64(max(end, load.Read)-load.Read); waiting > 0 {
			b.o.OnLeft(name, waiting)
		}
	}
	b.applied.Store(true)
}

// place finds where each subscription that does not run goes on, and keeps the places of those that are new. The caller holds
// mu.
func (b *Bus) place(ctx context.Context, c *Config, kept map[string][]byte) (map[string]Cursor, error) {
	cursors := map[string]Cursor{}
	fresh := map[string][]byte{}
	end, _ := b.ring.tail()
	for i := range c.Subscriptions {
		name := c.Subscriptions[i].Name
		if b.running[name] != nil {
			continue
		}
		var cursor Cursor
		if doc, ok := kept[cursorDocName(name)]; ok {
			if err := json.Unmarshal(doc, &cursor); err != nil {
				return nil, fmt.Errorf("place of subscription %s: %w", name, err)
			}
		} else {
			cursor.Next = end
			doc, err := json.Marshal(cursor)
			if err != nil {
				return nil, fmt.Errorf("place of subscription %s: %w", name, err)
			}
			fresh[cursorDocName(name)] = doc
		}
		cursors[name] = cursor
	}
	if len(fresh) == 0 {
		return cursors, nil
	}
	if err := b.log.Save(ctx, fresh); err != nil {
		return nil, fmt.Errorf("keep places of new subscriptions: %w", err)
	}
	return cursors, nil
}

// launch starts a subscription, or changes the one that runs. The caller holds mu.
func (b *Bus) launch(sub *Subscription, c Cursor) {
	before := b.running[sub.Name]
	if before != nil && before.sub.Load().Policy.Ordered == sub.Policy.Ordered {
		before.sub.Store(sub)
		before.look()
		return
	}
	if before != nil {
		before.cancel()
	} else if before = b.leaving[sub.Name]; before != nil {
		delete(b.leaving, sub.Name)
	}
	d := newDispatcher(b, sub, c, before)
	ctx, cancel := context.WithCancel(b.delivering)
	d.cancel = cancel
	b.running[sub.Name] = d
	b.deliverers.Go(func() { d.run(ctx, b.attempting) })
}

// Receipt says where an event went.
type Receipt struct {
	ID      string
	Offset  Offset    // in the stream of events; 0 for one that is delayed
	Delayed time.Time // when it is due; zero for now
}

// Publish publishes events of one service to a topic. All of them are durable when it returns without an error, in their order,
// and stay together. With a *fault.Error nothing was published; after any other error it is not known, and the publisher is to try
// again with the same ids.
func (b *Bus) Publish(ctx context.Context, publisher, topic string, events []*Event) ([]Receipt, error) {
	return await(ctx, func(done func([]Receipt, error)) error { return b.Submit(publisher, topic, events, done) })
}

// PublishFrom is Publish for what comes from no service, but from the gateway or an operator: any topic of the Config will do. The
// origin takes the place of the publisher.
func (b *Bus) PublishFrom(ctx context.Context, origin, topic string, events []*Event) ([]Receipt, error) {
	t := b.config.Load().Topics[topic]
	if t == nil {
		return nil, fault.New(fault.CodeTopicUnknown, "there is no topic %q", topic).
			Fix("the topics are %s", cmp.Or(strings.Join(b.config.Load().topics(), ", "), "none: no service publishes or subscribes to anything"))
	}
	return await(ctx, func(done func([]Receipt, error)) error { return b.take(origin, t, events, done) })
}

// await submits and waits for what comes of it.
func await(ctx context.Context, submit func(done func([]Receipt, error)) error) ([]Receipt, error) {
	type result struct {
		receipts []Receipt
		err      error
	}
	results := make(chan result, 1)
	if err := submit(func(r []Receipt, err error) { results <- result{r, err} }); err != nil {
		return nil, err
	}
	select {
	case r := <-results:
		return r.receipts, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Submit is Publish for who does not wait: events submitted one after the other keep that order. Once they are durable, or it has
// failed, done is called, once; it must not block. An error says that they were not taken, and done is not called.
func (b *Bus) Submit(publisher, topic string, events []*Event, done func([]Receipt, error)) error {
	t, err := b.config.Load().allowed(publisher, topic)
	if err != nil {
		return err
	}
	return b.take(publisher, t, events, done)
}

// PublishAll is Publish for events of several topics, which they name.
func (b *Bus) PublishAll(ctx context.Context, publisher string, events []*Event) ([]Receipt, error) {
	c := b.config.Load()
	for i, e := range events {
		t, err := c.allowed(publisher, e.Topic)
		if err == nil {
			err = b.check(t, e)
		}
		if err != nil {
			return nil, ofSeveral(events, i, err)
		}
		e.SetExtension(AttributePublisher, publisher)
	}
	return await(ctx, func(done func([]Receipt, error)) error { return b.submit(events, done) })
}

// take submits events to a topic, if they fit it.
func (b *Bus) take(publisher string, t *Topic, events []*Event, done func([]Receipt, error)) error {
	for i, e := range events {
		if err := b.check(t, e); err != nil {
			return ofSeveral(events, i, err)
		}
		e.Topic = t.Name
		e.SetExtension(AttributePublisher, publisher)
	}
	return b.submit(events, done)
}

// ofSeveral is the refusal of one of the events that come together.
func ofSeveral(events []*Event, i int, err error) error {
	if len(events) == 1 {
		return err
	}
	return InBatch(i, events[i].ID, err)
}

// submit queues events, each for the stream that it belongs to.
func (b *Bus) submit(events []*Event, done func([]Receipt, error)) error {
	if len(events) == 0 || len(events) > MaxAppend {
		return fault.New(fault.CodeEventInvalid, "there are %d events to publish at once", len(events)).
			Fix("send between 1 and %d", MaxAppend)
	}
	if b.full.Load() {
		return b.errFull()
	}
	return b.sort(events, done)
}

// check tells whether an event fits a topic.
func (b *Bus) check(t *Topic, e *Event) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if err := checkSize(e, b.log.MaxRecord()); err != nil {
		return err
	}
	if t != nil && t.Contract != nil {
		return t.Contract.Check(e)
	}
	return nil
}

// sort queues events that are due for the one stream, those that are delayed for the other.
func (b *Bus) sort(events []*Event, done func([]Receipt, error)) error {
	var now, later []*Event
	for _, e := range events {
		if due, ok := e.dueAt(); ok && due.After(time.Now()) {
			later = append(later, e)
		} else {
			now = append(now, e)
		}
	}
	if len(later) == 0 {
		return b.submitNow(now, done)
	}
	if !b.alarm.fits(len(later)) {
		return fault.New(fault.CodeBusBusy, "%d events wait for their time already, more are not taken", maxDelayed).
			Fix("publish them nearer to their time, or keep them in the service's own database until then")
	}
	return b.delayed.submit(later, func(_ Offset, err error) {
		if err == nil && len(now) > 0 {
			err = b.submitNow(now, func(r []Receipt, err error) { done(merge(events, r), err) })
		} else {
			done(merge(events, nil), err)
			return
		}
		if err != nil {
			done(nil, err)
		}
	})
}

// submitNow queues events that are due.
func (b *Bus) submitNow(events []*Event, done func([]Receipt, error)) error {
	return b.events.submit(events, func(first Offset, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		b.counts.published(events)
		receipts := make([]Receipt, len(events))
		for i, e := range events {
			receipts[i] = Receipt{ID: e.ID, Offset: first + Offset(i)}
		}
		done(receipts, nil)
	})
}

// merge puts the receipts of events that are due among those of events that are delayed.
func merge(events []*Event, due []Receipt) []Receipt {
	out := make([]Receipt, len(events))
	for i, e := range events {
		if len(due) > 0 && due[0].ID == e.ID {
			out[i], due = due[0], due[1:]
			continue
		}
		at, _ := e.dueAt()
		out[i] = Receipt{ID: e.ID, Delayed: at}
	}
	return out
}

func (b *Bus) errFull() error {
	name, lag := b.slowest()
	return fault.New(fault.CodeBusFull, "the log of events has grown to its limit with events that are still needed").
		Fix("%s is the furthest behind, by %d events: mend or remove that subscription, or raise events.keep.size", name, lag)
}

// counts counts what was published since the start.
type counts struct {
	mu     sync.Mutex
	topics map[string]*meter // guarded by mu
}

func (c *counts) published(events []*Event) {
	now := time.Now()
	for len(events) > 0 { // most are of one topic
		n := 1
		for n < len(events) && events[n].Topic == events[0].Topic {
			n++
		}
		c.of(events[0].Topic).add(now, n)
		events = events[n:]
	}
}

// of is the meter of a topic, which outlives every Config.
func (c *counts) of(topic string) *meter {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.topics[topic]
	if m == nil {
		m = &meter{}
		c.topics[topic] = m
	}
	return m
}

// docSafe is a name as documents may have it.
func docSafe(name string) string { return strings.ReplaceAll(name, "/", ".") }
