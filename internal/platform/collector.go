package platform

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
)

const (
	gatherFor    = 100 * time.Millisecond // how long rows wait for others, so that one sync serves them all
	gatherRows   = 2048                   // rows at which they wait no longer
	gatherBytes  = 4 << 20                // of records, likewise
	maxGathered  = 32 * 1024              // spans, and records, that wait at most
	maxBytes     = 16 << 20               // of records, likewise: lines may be long
	gatherAgain  = 500 * time.Millisecond
	collectorEnd = 5 * time.Second  // what cannot be kept within this when Atoll ends is lost
	linePatience = 15 * time.Second // how long a line, and with it the replica that writes it, waits for a store that takes nothing
	settleFor    = time.Second      // how long a reader waits at most for what was seen before it asked
)

// collector gathers what Atoll itself sees, spans of hops and lines of output, and hands it on in batches. It never stops a request:
// where the store does not keep up, spans and lines of the access log are dropped and counted. Other lines wait for a while, and with them the replica that writes them, and are dropped then.
type collector struct {
	take func(context.Context, *telemetry.Batch) error
	log  *slog.Logger

	mu      sync.Mutex
	spans   []telemetry.Span   // guarded by mu
	records []telemetry.Record // guarded by mu
	bytes   int                // guarded by mu: of records, about
	dropped int64              // guarded by mu: spans, and lines
	shed    bool               // guarded by mu: a line has waited in vain; until there is room no other one waits
	closing bool               // guarded by mu
	room    chan struct{}      // guarded by mu: closed when records were taken out

	enough chan struct{} // holds one
	asked  chan chan struct{}
	stop   chan struct{}
	last   time.Time // when nothing is tried any more; set before stop is closed
	done   chan struct{}
}

func newCollector(take func(context.Context, *telemetry.Batch) error, log *slog.Logger) *collector {
	c := &collector{
		take: take, log: log, room: make(chan struct{}), enough: make(chan struct{}, 1), asked: make(chan chan struct{}),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	go c.run()
	return c
}

// span takes a span.
func (c *collector) span(s *telemetry.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spans) >= maxGathered {
		c.dropped++
		return
	}
	c.spans = append(c.spans, *s)
	if len(c.spans) == gatherRows {
		c.hurry()
	}
}

// offer takes a record if there is room, for those who may not wait: a request does not wait for its line in the access log. What there was no
// room for is counted.
func (c *collector) offer(r *telemetry.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.records) >= maxGathered || c.bytes >= maxBytes {
		c.dropped++
		return
	}
	c.add(r)
}

// add takes a record. The caller holds mu.
func (c *collector) add(r *telemetry.Record) {
	c.records = append(c.records, *r)
	c.bytes += len(r.Body.Str())
	if len(c.records) == gatherRows || c.bytes >= gatherBytes {
		c.hurry()
	}
}

// record takes a record; while too many wait it waits too, but not for ever: a disk that takes nothing shall not stop the replicas. When a line has waited
// for linePatience it is dropped and counted, and those after it at once, until there is room again.
func (c *collector) record(r *telemetry.Record) {
	var patience <-chan time.Time
	for {
		c.mu.Lock()
		if len(c.records) < maxGathered && c.bytes < maxBytes || c.closing {
			break
		}
		if c.shed {
			c.dropped++
			c.mu.Unlock()
			return
		}
		room := c.room
		c.mu.Unlock()
		if patience == nil {
			timer := time.NewTimer(linePatience)
			defer timer.Stop()
			patience = timer.C
		}
		select {
		case <-room:
		case <-patience:
			c.giveUp(room)
			patience = nil
		}
	}
	defer c.mu.Unlock()
	if len(c.records) >= 2*maxGathered || c.bytes >= 2*maxBytes {
		return // it is ending, and the disk takes nothing
	}
	c.add(r)
}

// giveUp lets no line wait any more, unless there has been room since the one began that had none.
func (c *collector) giveUp(room chan struct{}) {
	c.mu.Lock()
	first := c.room == room && !c.shed
	c.shed = c.shed || first
	c.mu.Unlock()
	if first {
		c.log.Error("lines of replicas are dropped: the store of telemetry takes nothing")
	}
}

// hurry asks for the batch at once. The caller holds mu.
func (c *collector) hurry() {
	select {
	case c.enough <- struct{}{}:
	default:
	}
}

// left is how many spans, and lines, there was no room for.
func (c *collector) left() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

func (c *collector) run() {
	defer close(c.done)
	tick := time.NewTicker(gatherFor)
	defer tick.Stop()
	var spare telemetry.Batch
	for {
		select {
		case <-tick.C:
		case <-c.enough:
		case settled := <-c.asked:
			c.hand(context.Background(), &spare)
			close(settled)
			continue
		case <-c.stop:
			ctx, cancel := context.WithDeadline(context.Background(), c.last)
			c.hand(ctx, &spare)
			cancel()
			return
		}
		c.hand(context.Background(), &spare)
	}
}

// hand hands on what there is. The lists of the batch before are used again.
func (c *collector) hand(ctx context.Context, spare *telemetry.Batch) {
	c.mu.Lock()
	batch := &telemetry.Batch{Spans: c.spans, Records: c.records}
	c.spans, c.records, c.bytes, c.shed = spare.Spans[:0], spare.Records[:0], 0, false
	close(c.room)
	c.room = make(chan struct{})
	c.mu.Unlock()
	// Each by itself: where the store takes the one and not the other, what is tried again must not come twice.
	if len(batch.Spans) > 0 {
		c.keep(ctx, &telemetry.Batch{Spans: batch.Spans})
	}
	if len(batch.Records) > 0 {
		c.keep(ctx, &telemetry.Batch{Records: batch.Records})
	}
	clear(batch.Spans)
	clear(batch.Records)
	*spare = telemetry.Batch{Spans: batch.Spans, Records: batch.Records}
}

// keep tries until the batch is kept, cannot be, or the collector ends and collectorEnd with it.
func (c *collector) keep(ctx context.Context, b *telemetry.Batch) {
	ending := ctx.Done() != nil
	for {
		err := c.take(ctx, b)
		if err == nil {
			return
		}
		if _, busy := errors.AsType[*telemetry.Busy](err); !busy || ctx.Err() != nil {
			c.log.Error("telemetry of Atoll's own is lost", "spans", len(b.Spans), "records", len(b.Records), "error", err)
			return
		}
		wait := time.NewTimer(gatherAgain)
		if ending {
			<-wait.C
			continue
		}
		select {
		case <-wait.C:
		case <-c.stop: // what is at hand has its last chances, too
			wait.Stop()
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, c.last)
			defer cancel()
			ending = true
		}
	}
}

// settle hands on what waits and returns when it is kept, so that a reader finds what was seen before it asked. Where the store does
// not keep up it returns without.
func (c *collector) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	settled := make(chan struct{})
	select {
	case c.asked <- settled:
	case <-ctx.Done():
		return
	case <-c.done:
		return
	}
	select {
	case <-settled:
	case <-ctx.Done():
	}
}

// close hands on what waits, and ends.
func (c *collector) close() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.last = time.Now().Add(collectorEnd)
	close(c.stop)
	<-c.done
}
