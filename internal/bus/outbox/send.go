package outbox

import (
	"context"
	"errors"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/fault"
)

// outcome is what became of rows; those that are in neither list stay in the table.
type outcome struct {
	published []int64
	refused   []refused
	oldest    time.Time // when the oldest of them happened
}

// item is a row and its event.
type item struct {
	row   *row
	event *bus.Event
}

// send publishes the events of rows in order. The error is why the bus does not take the rest.
func (f *Forwarder) send(ctx context.Context, rows []row) (outcome, error) {
	var out outcome
	items := make([]item, 0, len(rows))
	for i := range rows {
		e, err := rows[i].event(f.opts.Source)
		if err != nil {
			out.refuse(&rows[i], err)
			continue
		}
		items = append(items, item{&rows[i], e})
	}
	err := f.sendItems(ctx, items, &out)
	return out, err
}

// sendItems publishes a batch. If the bus refuses it for good it is halved until the one is found that is refused, so that
// the others get through, in their order.
func (f *Forwarder) sendItems(ctx context.Context, items []item, out *outcome) error {
	if len(items) == 0 {
		return nil
	}
	events := make([]*bus.Event, len(items))
	for i := range items {
		events[i] = items[i].event
	}
	err := f.publish(ctx, events)
	switch {
	case err == nil:
		out.publish(items)
		return nil
	case !f.opts.Final(err):
		return err
	case len(items) == 1:
		out.refuse(items[0].row, err)
		return nil
	}
	half := len(items) / 2
	if err := f.sendItems(ctx, items[:half], out); err != nil {
		return err
	}
	return f.sendItems(ctx, items[half:], out)
}

func (o *outcome) publish(items []item) {
	for _, it := range items {
		o.published = append(o.published, it.row.id)
		if o.oldest.IsZero() || it.event.Time.Before(o.oldest) {
			o.oldest = it.event.Time
		}
	}
}

func (o *outcome) refuse(r *row, err error) {
	reason, ok := errors.AsType[*fault.Error](err)
	if !ok {
		reason = fault.New(fault.CodeInternal, "the bus refused the event").Because(err)
	}
	o.refused = append(o.refused, refused{r, reason})
}
