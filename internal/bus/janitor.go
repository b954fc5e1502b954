package bus

import (
	"cmp"
	"context"
	"math"
	"time"
)

const (
	janitorEvery     = 10 * time.Second
	defaultKeepAge   = 7 * 24 * time.Hour
	defaultKeepBytes = 10 << 30
	keepDeliveries   = 100_000 // records of deliveries to webhooks
)

// janitor drops what is old or too much, and no subscription needs, until ctx ends. It also finds what others have appended.
func (b *Bus) janitor(ctx context.Context) {
	ticker := time.NewTicker(janitorEvery)
	defer ticker.Stop()
	for {
		if err := b.Tidy(ctx, time.Now()); err != nil && ctx.Err() == nil {
			b.logger.Error("log of events not tidied, trying again", "error", err)
		}
		select {
		case <-ticker.C:
		case <-b.untidy:
		case <-ctx.Done():
			return
		}
	}
}

// stored takes note of what was appended. Once it is a good part of what may be kept, the janitor looks without delay.
func (b *Bus) stored(records []Record) {
	b.ring.add(records)
	bytes := b.since.Load()
	for i := range records {
		bytes += int64(records[i].Event.Size())
	}
	if limit := cmp.Or(b.config.Load().KeepBytes, defaultKeepBytes); bytes > limit/20 {
		bytes = 0
		select {
		case b.untidy <- struct{}{}:
		default:
		}
	}
	b.since.Store(bytes)
}

// Tidy drops what need not be kept. The bus does so by itself, every ten seconds. Before the first Config is in force nobody knows
// what is needed, so nothing is dropped.
func (b *Bus) Tidy(ctx context.Context, now time.Time) error {
	if !b.applied.Load() {
		return nil
	}
	c := b.config.Load()
	bounds, err := b.log.Bounds(ctx, StreamEvents)
	if err != nil {
		return err
	}
	b.ring.see(bounds.Next)
	cut, err := b.log.OffsetAt(ctx, StreamEvents, now.Add(-cmp.Or(c.KeepAge, defaultKeepAge)))
	if err != nil {
		return err
	}
	limit := uint64(cmp.Or(c.KeepBytes, defaultKeepBytes))
	least := limit * 9 / 10
	if b.full.Load() {
		limit = limit * 19 / 20 // so that it does not change with every event
	}
	if bounds.Bytes > limit && bounds.Records > 0 { // about as many records as bytes are too many
		excess := float64(bounds.Bytes-least) / float64(bounds.Bytes)
		cut = max(cut, bounds.First+Offset(math.Ceil(excess*float64(bounds.Next-bounds.First))))
	}
	if cut = min(cut, b.needed(bounds.Next)); cut > bounds.First {
		if err := b.log.Trim(ctx, StreamEvents, cut); err != nil {
			return err
		}
		if bounds, err = b.log.Bounds(ctx, StreamEvents); err != nil {
			return err
		}
	}
	b.full.Store(bounds.Bytes > limit)
	return b.tidyDeliveries(ctx)
}

func (b *Bus) tidyDeliveries(ctx context.Context) error {
	bounds, err := b.log.Bounds(ctx, StreamDeliveries)
	if err != nil || bounds.Records <= keepDeliveries {
		return err
	}
	return b.log.Trim(ctx, StreamDeliveries, bounds.Next-keepDeliveries*9/10)
}

// needed is the first offset that some subscription needs that is not paused: one that nobody may ever wake must not stop all
// others.
func (b *Bus) needed(end Offset) Offset {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.running {
		if d.sub.Load().Paused {
			continue
		}
		end = min(end, Offset(d.floor.Load()))
	}
	return end
}

// slowest is the subscription that is the furthest behind, and by how much.
func (b *Bus) slowest() (name string, lag uint64) {
	end, _ := b.ring.tail()
	b.mu.Lock()
	defer b.mu.Unlock()
	for n, d := range b.running {
		if d.sub.Load().Paused {
			continue
		}
		if l := uint64(end) - d.floor.Load(); name == "" || l > lag || l == lag && n < name {
			name, lag = n, l
		}
	}
	return name, lag
}
