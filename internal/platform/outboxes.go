package platform

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/outbox"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

// outboxes forwards the outboxes of services to the bus.
type outboxes struct {
	bus  *eventBus
	log  *slog.Logger
	warn func(*fault.Error)

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
			if e, ok := errors.AsType[*fault.Error](s.Err); ok && s.Phase != outbox.PhaseNoTables {
				w := *e
				w.Severity = fault.SeverityWarning
				w.Text = "the outbox of " + service + " waits: " + e.Text
				o.warn(&w)
			}
		},
		OnRefusal: func(r outbox.Refusal) {
			w := fault.Warn(fault.CodeOutboxRow, "an event of the outbox of %s is refused for good: %v", service, r.Err).
				Fix("it stands in the table atoll_outbox_refused, with the reason; mend it and insert it into atoll_outbox again")
			o.warn(w)
		},
	})
}

// neverPublished tells whether an event is refused for good. What the manifest does not declare is not: a line there lets it through.
func neverPublished(err error) bool {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return false
	}
	switch e.Code { //nolint:exhaustive // the others may be mended
	case fault.CodeEventInvalid, fault.CodeEventTooLarge, fault.CodeEventContract, fault.CodeEventReserved, fault.CodeEventDeliverAt:
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
