package platform

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/outbox"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/telemetry"
)

// outboxes forwards the outboxes of services to the bus.
type outboxes struct {
	bus  *eventBus
	log  *slog.Logger
	warn func(*fault.Error)
	say  func(service string, level telemetry.Level, text string) // beside the output of the service

	mu      sync.Mutex
	running map[string]*forwarding // guarded by mu: by service
	wait    sync.WaitGroup         // for the goroutines that forward
}

// forwarding is one service's outbox at work.
type forwarding struct {
	url string
	end context.CancelFunc
}

// prepare makes a forwarder for each service of app that has an outbox, at a database that is not forwarded yet. What it returns
// starts those and ends others.
func (o *outboxes) prepare(app *manifest.App, databases map[string]string) (commit func(ctx context.Context), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	wanted := map[string]string{}
	fresh := map[string]*outbox.Forwarder{}
	for _, s := range app.Services {
		if !s.Outbox {
			continue
		}
		wanted[s.Name] = databases[s.Name]
		if f := o.running[s.Name]; f != nil && f.url == databases[s.Name] {
			continue
		}
		if fresh[s.Name], err = o.forwarder(s.Name, databases[s.Name]); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) {
		o.mu.Lock()
		defer o.mu.Unlock()
		for name, f := range o.running {
			if wanted[name] != f.url {
				f.end()
				delete(o.running, name)
			}
		}
		for name, f := range fresh {
			ctx, end := context.WithCancel(context.WithoutCancel(ctx))
			o.running[name] = &forwarding{wanted[name], end}
			o.wait.Go(func() {
				if err := f.Run(ctx); err != nil {
					o.log.Error("outbox ends", "service", name, "error", err)
				}
			})
		}
	}, nil
}

// forwarder makes the forwarder of a service.
func (o *outboxes) forwarder(service, url string) (*outbox.Forwarder, error) {
	publish := func(ctx context.Context, events []*bus.Event) error {
		b := o.bus.current()
		if b == nil {
			return errors.New("there is no bus")
		}
		trace(events)
		_, err := b.PublishAll(ctx, service, events)
		return err
	}
	return outbox.New(url, publish, &outbox.Options{
		Logger: o.log.With("service", service), Source: "/services/" + service, Final: neverPublished,
		OnState: func(s outbox.State) {
			o.log.Info("outbox", "service", service, "phase", s.Phase)
			e, ok := errors.AsType[*fault.Error](s.Err)
			if !ok {
				return
			}
			o.say(service, telemetry.LevelWarn, "the outbox waits: "+e.Text+"; "+e.Remedy)
			if s.Phase != outbox.PhaseNoTables {
				w := *e
				w.Severity = fault.SeverityWarning
				w.Text = "the outbox of " + service + " waits: " + e.Text
				o.warn(&w)
			}
		},
		OnRefusal: func(r outbox.Refusal) {
			why, remedy := "it is no event", "mend it and insert it into atoll_outbox again"
			if e, ok := errors.AsType[*fault.Error](r.Err); ok {
				why, remedy = e.Text, e.Remedy+"; then insert it into atoll_outbox again"
			}
			o.say(service, telemetry.LevelError, fmt.Sprintf("event %s of the outbox for %s was refused and stands in atoll_outbox_refused: %s; %s", r.EventID, r.Topic, why, remedy))
			o.warn(fault.Warn(fault.CodeOutboxRow, "event %s of the outbox of %s was refused and stands in its table atoll_outbox_refused: %s", r.EventID, service, why).
				Fix("%s", remedy))
		},
	})
}

// neverPublished tells whether an event is refused, so that it is to stand aside: the others of its service must not wait for
// somebody to mend it.
func neverPublished(err error) bool {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return false
	}
	switch e.Code { //nolint:exhaustive // the others may be mended
	case fault.CodeEventInvalid, fault.CodeEventTooLarge, fault.CodeEventContract, fault.CodeEventReserved, fault.CodeEventDeliverAt,
		fault.CodePublishUndeclared:
		return true
	}
	return false
}

// close ends all, once what they are at is done.
func (o *outboxes) close() {
	o.mu.Lock()
	for name, f := range o.running {
		f.end()
		delete(o.running, name)
	}
	o.mu.Unlock()
	o.wait.Wait()
}
