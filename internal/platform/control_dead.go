package platform

import (
	"context"
	"errors"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
)

// maxFailures is how many failures of a selection are told.
const maxFailures = 20

// deadLetter is what the API says of one.
func deadLetter(d bus.DeadLetter) api.DeadLetter {
	out := api.DeadLetter{
		Offset: uint64(d.Offset), Subscription: d.Subscription, Topic: d.Event.Topic, Origin: uint64(d.Origin), Stored: d.Stored, Died: d.Died,
		Cause: d.Cause, Failed: d.Failed, Attempts: []api.Attempt{}, Event: plain(d.Event),
	}
	for _, a := range d.Attempts {
		out.Attempts = append(out.Attempts, api.Attempt{
			Time: a.Time, TookMS: a.Took.Milliseconds(), Status: a.Status, Text: a.Text, Replica: a.By,
		})
	}
	return out
}

// DeadLetters is a page of dead letters.
func (p *Platform) DeadLetters(ctx context.Context, subscription, topic string, from uint64, limit int) (api.DeadLetters, error) {
	out := api.DeadLetters{DeadLetters: []api.DeadLetter{}}
	b := p.bus.current()
	if b == nil {
		return out, nil
	}
	list, next, err := b.DeadLetters(ctx, subscription, max(1, bus.Offset(from)), limit)
	if err != nil {
		return out, err
	}
	for _, d := range list {
		if topic == "" || topic == d.Event.Topic {
			out.DeadLetters = append(out.DeadLetters, deadLetter(d))
		}
	}
	bounds, err := b.Bounds(ctx, bus.StreamDead)
	if next < bounds.Next {
		out.Next = uint64(next)
	}
	return out, err
}

// DeadLetter is one of them.
func (p *Platform) DeadLetter(ctx context.Context, offset uint64) (api.DeadLetter, error) {
	b, err := p.needBus()
	if err != nil {
		return api.DeadLetter{}, err
	}
	d, err := b.DeadLetter(ctx, bus.Offset(offset))
	if err != nil {
		return api.DeadLetter{}, err
	}
	return deadLetter(d), nil
}

// ReplayDead delivers dead letters again.
func (p *Platform) ReplayDead(ctx context.Context, s api.Selection) (api.Settled, error) {
	if s.Data != nil && len(s.Offsets) != 1 {
		return api.Settled{}, fault.New(fault.CodeBadRequest, "other data are for one dead letter").Fix("name one offset, or leave data away")
	}
	return p.settleDead(ctx, s, func(b *bus.Bus, at bus.Offset) error { return b.Revive(ctx, at, s.Data) })
}

// DropDead drops dead letters.
func (p *Platform) DropDead(ctx context.Context, s api.Selection) (api.Settled, error) {
	if s.Data != nil {
		return api.Settled{}, fault.New(fault.CodeBadRequest, "what is dropped takes no data").Fix("leave data away")
	}
	return p.settleDead(ctx, s, func(b *bus.Bus, at bus.Offset) error { return b.DropDead(ctx, at) })
}

// settleDead does something to each dead letter of a selection. Those that die while it works are not among them.
func (p *Platform) settleDead(ctx context.Context, s api.Selection, do func(*bus.Bus, bus.Offset) error) (api.Settled, error) {
	out := api.Settled{Failed: []api.SettleFailure{}}
	b, err := p.needBus()
	if err != nil {
		return out, err
	}
	for _, offset := range s.Offsets {
		if err := settleOne(&out, offset, do(b, bus.Offset(offset))); err != nil {
			return out, err
		}
	}
	if !s.All {
		return out, nil
	}
	bounds, err := b.Bounds(ctx, bus.StreamDead)
	if err != nil {
		return out, err
	}
	for from := bounds.First; from < bounds.Next; {
		list, next, err := b.DeadLetters(ctx, s.Subscription, from, 1000)
		if err != nil {
			return out, err
		}
		for _, d := range list {
			if d.Offset >= bounds.Next || s.Topic != "" && s.Topic != d.Event.Topic {
				continue
			}
			if err := settleOne(&out, uint64(d.Offset), do(b, d.Offset)); err != nil {
				return out, err
			}
		}
		if next == from {
			break
		}
		from = next
	}
	return out, nil
}

// settleOne notes what became of one of a selection. Only what is not for users is an error.
func settleOne(out *api.Settled, offset uint64, err error) error {
	f, told := errors.AsType[*fault.Error](err)
	switch {
	case err == nil:
		out.Done++
	case !told:
		return err
	case len(out.Failed) < maxFailures:
		out.Failed = append(out.Failed, api.SettleFailure{Offset: offset, Fault: f})
	}
	return nil
}

// DelayedEvents is a page of events that wait for their time.
func (p *Platform) DelayedEvents(ctx context.Context, from uint64, limit int) (api.DelayedEvents, error) {
	out := api.DelayedEvents{Events: []api.StoredEvent{}}
	b := p.bus.current()
	if b == nil {
		return out, nil
	}
	records, next, err := b.Find(ctx, bus.StreamDelayed, max(1, bus.Offset(from)), limit, nil)
	if err != nil {
		return out, err
	}
	for _, r := range records {
		out.Events = append(out.Events, storedEvent(r))
	}
	bounds, err := b.Bounds(ctx, bus.StreamDelayed)
	if next < bounds.Next {
		out.Next = uint64(next)
	}
	return out, err
}

// DropDelayed drops events that wait for their time.
func (p *Platform) DropDelayed(ctx context.Context, s api.Selection) (api.Settled, error) {
	out := api.Settled{Failed: []api.SettleFailure{}}
	b, err := p.needBus()
	if err != nil {
		return out, err
	}
	if s.All || s.Data != nil {
		return out, fault.New(fault.CodeBadRequest, "delayed events are dropped one by one").Fix("name their offsets")
	}
	for _, offset := range s.Offsets {
		if err := settleOne(&out, offset, b.DropDelayed(ctx, bus.Offset(offset))); err != nil {
			return out, err
		}
	}
	return out, nil
}
