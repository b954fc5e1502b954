package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// TopicInfo says how a topic stands.
type TopicInfo struct {
	Name       string
	Publishers []string
	Contract   bool
	Published  uint64  // events since the start
	Rate       float64 // of them a second, over the last ten seconds
}

// Topics lists the topics in order.
func (b *Bus) Topics() []TopicInfo {
	c := b.config.Load()
	var out []TopicInfo
	for _, name := range c.topics() {
		info := TopicInfo{Name: name, Contract: c.Topics[name].Contract != nil}
		info.Published, info.Rate = b.counts.of(name).read(time.Now())
		for service, p := range c.Publishers {
			if slices.Contains(p.Topics, name) {
				info.Publishers = append(info.Publishers, service)
			}
		}
		slices.Sort(info.Publishers)
		out = append(out, info)
	}
	return out
}

// SubscriptionInfo says how a subscription stands.
type SubscriptionInfo struct {
	Name        string
	Topics      []string
	Paused      bool
	Unreachable bool      // nobody is there to take events
	Full        bool      // it holds as much as it may, and reads on once something is settled
	Waiting     uint64    // events that are not settled; those of other topics count where they are not read yet
	Flying      int       // attempts in flight
	Failing     int       // events that have failed at least once
	Oldest      time.Time // when the oldest event that is not settled was stored; zero for none
	Floor       Offset    // the first offset that is not settled

	Accepted, Failed, Dead uint64    // events, attempts and dead letters since the start
	Rate                   float64   // events accepted a second, over the last ten seconds
	Durations              Durations // of attempts that were accepted or failed
}

// Subscriptions lists the subscriptions in order.
func (b *Bus) Subscriptions() []SubscriptionInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]SubscriptionInfo, 0, len(b.running))
	end, _ := b.ring.tail()
	for name, d := range b.running {
		sub, load := d.sub.Load(), d.load.Load()
		out = append(out, SubscriptionInfo{
			Name: name, Topics: sub.Topics, Paused: sub.Paused, Unreachable: load.Unreachable, Full: load.Full,
			Waiting: uint64(load.Held) + uint64(max(end, load.Read)-load.Read), Flying: load.Flying, Failing: load.Failing, Oldest: load.Oldest,
			Floor: Offset(d.floor.Load()), Failed: d.tally.failed.Load(), Dead: d.tally.dead.Load(), Durations: d.tally.took(),
		})
		last := &out[len(out)-1]
		last.Accepted, last.Rate = d.tally.accepted.read(time.Now())
	}
	slices.SortFunc(out, func(a, b SubscriptionInfo) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Get returns one record of a stream.
func (b *Bus) Get(ctx context.Context, stream Stream, offset Offset) (Record, error) {
	records, _, err := b.log.Read(ctx, stream, offset, 1, 1)
	if err != nil {
		return Record{}, err
	}
	if len(records) == 0 || records[0].Offset != offset {
		return Record{}, fault.New(fault.CodeOffsetGone, "there is nothing at the offset %d", offset).
			Fix("it never was, has been dropped, or is older than what is kept")
	}
	return records[0], nil
}

// DropDelayed drops an event that waits for its time.
func (b *Bus) DropDelayed(ctx context.Context, offset Offset) error {
	waiting, ok := b.alarm.remove(offset)
	if !ok {
		return fault.New(fault.CodeOffsetGone, "no event waits at the offset %d", offset).
			Fix("its time has come, or it has been dropped; see those that wait with atoll events delayed")
	}
	if err := b.log.Drop(ctx, StreamDelayed, offset); err != nil {
		b.alarm.put([]dueEvent{waiting})
		return err
	}
	return nil
}

// Forget drops the place of a subscription that the Config no longer has: one of its name would begin anew. It waits for the
// attempts that are still in flight.
func (b *Bus) Forget(ctx context.Context, subscription string) error {
	b.mu.Lock()
	if b.running[subscription] != nil {
		b.mu.Unlock()
		return fmt.Errorf("forget subscription %s: it runs", subscription)
	}
	d := b.leaving[subscription]
	delete(b.leaving, subscription)
	b.mu.Unlock()
	if d != nil {
		select {
		case <-d.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err := b.saver.flush(ctx); err != nil { // what it has put there last must not come after
		return err
	}
	return b.log.Save(ctx, map[string][]byte{cursorDocName(subscription): nil})
}

// Delayed is how many events wait for their time.
func (b *Bus) Delayed() int { return b.alarm.waiting() }

// Bounds says what a stream holds.
func (b *Bus) Bounds(ctx context.Context, stream Stream) (Bounds, error) {
	return b.log.Bounds(ctx, stream)
}

// Find returns records of a stream from an offset on for which match holds, at most limit, and the offset to go on from; a
// search that has looked at very many records returns what it has found so far. A nil match takes all.
func (b *Bus) Find(ctx context.Context, stream Stream, from Offset, limit int, match func(*Event) bool) ([]Record, Offset, error) {
	var out []Record
	for looked := 0; len(out) < limit && looked < maxLooked; {
		records, next, err := b.log.Read(ctx, stream, from, 1000, readBytes)
		if bad, ok := errors.AsType[*RecordError](err); ok {
			b.logger.Error("record passed over", "stream", stream, "error", err)
			from = bad.Offset + 1
			continue
		}
		if err != nil {
			return nil, from, err
		}
		if len(records) == 0 {
			return out, max(from, next), nil
		}
		for _, r := range records {
			from = r.Offset + 1
			if match == nil || match(r.Event) {
				if out = append(out, r); len(out) == limit {
					return out, from, nil
				}
			}
		}
		from = max(from, next)
		looked += len(records)
	}
	return out, from, nil
}

// Newest returns the last records of a stream below an offset, 0 meaning its end, for which match holds, at most limit, in
// order. Like Find it ends after very many.
func (b *Bus) Newest(ctx context.Context, stream Stream, before Offset, limit int, match func(*Event) bool) ([]Record, error) {
	bounds, err := b.log.Bounds(ctx, stream)
	if err != nil {
		return nil, err
	}
	end := bounds.Next
	if before > 0 {
		end = min(end, before)
	}
	var out []Record
	step := Offset(max(limit, 100))
	for looked := 0; end > bounds.First && len(out) < limit && looked < maxLooked; step = min(2*step, 10_000) {
		from := bounds.First
		if end > bounds.First+step {
			from = end - step
		}
		found, err := b.between(ctx, stream, from, end, match)
		if err != nil {
			return nil, err
		}
		looked += int(end - from)
		out, end = append(found, out...), from
	}
	return out[max(0, len(out)-limit):], nil
}

// between returns the records from one offset on and below another for which match holds.
func (b *Bus) between(ctx context.Context, stream Stream, from, end Offset, match func(*Event) bool) ([]Record, error) {
	var out []Record
	for from < end {
		records, next, err := b.log.Read(ctx, stream, from, int(end-from), readBytes)
		if err != nil {
			return nil, err
		}
		if len(records) == 0 {
			break
		}
		for _, r := range records {
			if r.Offset < end && (match == nil || match(r.Event)) {
				out = append(out, r)
			}
		}
		from = max(next, records[len(records)-1].Offset+1)
	}
	return out, nil
}

const maxLooked = 100_000 // records that one search reads

// DeadKept counts the dead letters that are kept of each subscription; of very many it counts the first.
func (b *Bus) DeadKept(ctx context.Context) (map[string]uint64, error) {
	bounds, err := b.log.Bounds(ctx, StreamDead)
	if err != nil {
		return nil, err
	}
	b.kept.mu.Lock()
	defer b.kept.mu.Unlock()
	if b.kept.count != nil && b.kept.bounds == bounds {
		return maps.Clone(b.kept.count), nil
	}
	count := map[string]uint64{}
	for from, looked := bounds.First, 0; from < bounds.Next && looked < maxLooked; {
		records, next, err := b.log.Read(ctx, StreamDead, from, 1000, readBytes)
		if err != nil {
			return nil, err
		}
		if len(records) == 0 {
			break
		}
		for _, r := range records {
			if d, err := readDeadLetter(r); err == nil {
				count[d.Subscription]++
			}
		}
		from, looked = next, looked+len(records)
	}
	b.kept.bounds, b.kept.count = bounds, count
	return maps.Clone(count), nil
}

// deadKept is the last count of the dead letters that are kept.
type deadKept struct {
	mu     sync.Mutex
	bounds Bounds            // guarded by mu: of the stream then
	count  map[string]uint64 // guarded by mu: by subscription
}

// Grown returns the end of the stream of events, and a channel that is closed when it grows.
func (b *Bus) Grown() (Offset, <-chan struct{}) { return b.ring.tail() }

// OffsetAt returns the offset of the first event stored at or after t.
func (b *Bus) OffsetAt(ctx context.Context, t time.Time) (Offset, error) {
	return b.log.OffsetAt(ctx, StreamEvents, t)
}

// Replay delivers to one subscription what was published from an offset on, again, whatever it has settled since. It returns
// the first offset that is still kept of those.
func (b *Bus) Replay(ctx context.Context, subscription string, from Offset) (Offset, error) {
	d, err := b.dispatcher(subscription)
	if err != nil {
		return 0, err
	}
	bounds, err := b.log.Bounds(ctx, StreamEvents)
	if err != nil {
		return 0, err
	}
	if from > bounds.Next {
		return 0, fault.New(fault.CodeOffsetGone, "there is no offset %d yet", from).Fix("the next event gets %d", bounds.Next)
	}
	from = max(from, bounds.First)
	return from, d.rewind(ctx, from)
}

func (b *Bus) dispatcher(subscription string) (*dispatcher, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d := b.running[subscription]; d != nil {
		return d, nil
	}
	var names []string
	for name := range b.running {
		names = append(names, name)
	}
	slices.Sort(names)
	e := fault.New(fault.CodeSubscriptionUnknown, "there is no subscription %q", subscription)
	if len(names) == 0 {
		return nil, e.Fix("no service subscribes to anything yet")
	}
	return nil, e.Fix("there are %s", strings.Join(names, ", "))
}

// DeadLetters returns dead letters of a subscription, or of all for "", from an offset on, and the offset to go on from.
func (b *Bus) DeadLetters(ctx context.Context, subscription string, from Offset, limit int) ([]DeadLetter, Offset, error) {
	records, next, err := b.Find(ctx, StreamDead, from, limit, func(e *Event) bool {
		d, err := readDeadLetter(Record{Event: e})
		if err != nil {
			b.logger.Error("dead letter not readable", "error", err)
		}
		return err == nil && (subscription == "" || d.Subscription == subscription)
	})
	if err != nil {
		return nil, from, err
	}
	out := make([]DeadLetter, 0, len(records))
	for _, r := range records {
		d, err := readDeadLetter(r)
		if err != nil {
			return nil, from, err
		}
		out = append(out, d)
	}
	return out, next, nil
}

// DeadLetter returns one.
func (b *Bus) DeadLetter(ctx context.Context, offset Offset) (DeadLetter, error) {
	records, _, err := b.log.Read(ctx, StreamDead, offset, 1, 1)
	if err != nil {
		return DeadLetter{}, err
	}
	if len(records) == 0 || records[0].Offset != offset {
		return DeadLetter{}, fault.New(fault.CodeDeadLetterUnknown, "there is no dead letter %d", offset).
			Fix("atoll events dead lists those that are kept; it may have been replayed or dropped")
	}
	return readDeadLetter(records[0])
}

// Revive publishes a dead letter again, to the subscription alone that has given it up, and drops it. With data, the event gets
// that in the place of its own. The event keeps its id. A crash in between leaves the dead letter as well.
func (b *Bus) Revive(ctx context.Context, offset Offset, data []byte) error {
	letter, err := b.DeadLetter(ctx, offset)
	if err != nil {
		return err
	}
	if _, err := b.dispatcher(letter.Subscription); err != nil {
		return err
	}
	e := letter.Event.Clone()
	if data != nil {
		e.Data = data
		if err := b.check(b.config.Load().Topics[e.Topic], e); err != nil {
			return err
		}
	}
	e.SetExtension(AttributeOnly, letter.Subscription)
	if err := b.events.append(ctx, []*Event{e}); err != nil {
		return err
	}
	return b.log.Drop(ctx, StreamDead, offset)
}

// DropDead drops a dead letter.
func (b *Bus) DropDead(ctx context.Context, offset Offset) error {
	if _, err := b.DeadLetter(ctx, offset); err != nil {
		return err
	}
	return b.log.Drop(ctx, StreamDead, offset)
}

// Address publishes an event to one subscription alone, whatever its topic.
func (b *Bus) Address(ctx context.Context, subscription string, e *Event) error {
	if _, err := b.dispatcher(subscription); err != nil {
		return err
	}
	e = e.Clone()
	e.SetExtension(AttributeOnly, subscription)
	return b.events.append(ctx, []*Event{e})
}

// NoteDelivery keeps a record of an attempt to deliver to somebody outside, in the stream of deliveries.
func (b *Bus) NoteDelivery(ctx context.Context, e *Event) error {
	return b.tried.append(ctx, []*Event{e})
}
