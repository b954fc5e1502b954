package bus

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// TopicInfo says how a topic stands.
type TopicInfo struct {
	Name       string
	Publishers []string
	Contract   bool
	Published  uint64 // events since the start
}

// Topics lists the topics in order.
func (b *Bus) Topics() []TopicInfo {
	c := b.config.Load()
	var out []TopicInfo
	for _, name := range c.topics() {
		info := TopicInfo{Name: name, Contract: c.Topics[name].Contract != nil, Published: b.counts.of(name)}
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

	Accepted, Failed, Dead uint64 // events, attempts and dead letters since the start
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
			Floor: Offset(d.floor.Load()), Accepted: d.accepted.Load(), Failed: d.failed.Load(), Dead: d.dead.Load(),
		})
	}
	slices.SortFunc(out, func(a, b SubscriptionInfo) int { return strings.Compare(a.Name, b.Name) })
	return out
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

const maxLooked = 100_000 // records that one search reads

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
