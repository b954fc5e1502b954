package platform

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/cloudevents"
	"github.com/atollhq/atoll/internal/bus/contract"
	"github.com/atollhq/atoll/internal/bus/natsbus"
	"github.com/atollhq/atoll/internal/bus/schedule"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
)

// eventBus is the bus with what leads to it: a listener for each service that publishes, by which the service is known, and the
// door for those that speak NATS. The log is opened when an App first declares a topic.
type eventBus struct {
	dir      string // of the log
	copyName string // of an isolated copy, or ""
	listen   func(ctx context.Context, service string) (net.Listener, error)
	deliver  func(sub *subscriber) bus.Deliverer
	toSagas  func(topic string) bus.Subscription
	warn     func(*fault.Error)
	options  bus.Options
	log      *slog.Logger

	changing sync.Mutex // held while an App or a webhook is put into force; taken before mu

	mu        sync.Mutex
	server    *natsbus.Server        // guarded by mu: in this process; nil until it is needed
	store     bus.Log                // guarded by mu
	bus       *bus.Bus               // guarded by mu: nil until it is needed
	door      *natsbus.Door          // guarded by mu
	hooks     *hooks                 // guarded by mu: set with bus
	app       *manifest.App          // guarded by mu: the latest whose events the bus carries
	declared  *bus.Config            // guarded by mu: what app declares
	listeners map[string]*publishing // guarded by mu: by service
	serving   sync.WaitGroup         // for the goroutines that serve listeners
}

// publishing is where one service publishes over HTTP.
type publishing struct {
	url    string
	server *http.Server
}

// eventURLs is what a service finds in its environment.
type eventURLs struct{ http, nats string }

// usesEvents tells whether an App has anything to do with events.
func usesEvents(app *manifest.App) bool { return len(app.Topics()) > 0 }

// eventChange is an App on its way into force, as far as events go.
type eventChange struct {
	urls   map[string]eventURLs // where each service finds the bus
	commit func()               // puts it into force; cannot fail
	end    func()               // to be called in any case, when it is in force or given up
}

// prepare does all that can fail of making the bus carry what an App declares. Until the change has ended no other begins.
//
// Awaited are topics whose events instances of sagas wait for, whatever sagas the App has.
func (e *eventBus) prepare(ctx context.Context, app *manifest.App, awaited []string) (*eventChange, error) {
	e.changing.Lock()
	change := &eventChange{commit: func() {}, end: sync.OnceFunc(e.changing.Unlock)}
	if e.current() == nil && !usesEvents(app) && len(awaited) == 0 {
		return change, nil
	}
	if err := e.prepareOpen(ctx, app, awaited, change); err != nil {
		change.end()
		return nil, err
	}
	return change, nil
}

// prepareOpen prepares a change for which there is to be a bus.
func (e *eventBus) prepareOpen(ctx context.Context, app *manifest.App, awaited []string, change *eventChange) (err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.open(ctx, app); err != nil {
		return err
	}
	if change.urls, err = e.admit(ctx, app); err != nil {
		return err
	}
	c, err := e.config(app, awaited)
	if err != nil {
		return err
	}
	commit, err := e.bus.Prepare(ctx, e.withHooks(c, app))
	if err != nil {
		return err
	}
	change.commit = func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.sayWhatStays(app)
		commit()
		e.app, e.declared = app, c
		e.dismiss(app)
	}
	return nil
}

// admit lets the services of an App in, and returns where each finds the bus. The caller holds mu.
func (e *eventBus) admit(ctx context.Context, app *manifest.App) (map[string]eventURLs, error) {
	urls := map[string]eventURLs{}
	for _, s := range app.Services {
		if len(s.Publishes) == 0 && len(s.Subscribes) == 0 {
			continue
		}
		http, err := e.publishURL(ctx, s.Name)
		if err != nil {
			return nil, err
		}
		nats, err := e.door.Admit(s.Name)
		if err != nil {
			return nil, err
		}
		urls[s.Name] = eventURLs{http, nats}
	}
	return urls, nil
}

// dismiss closes the ways of services that are gone. The caller holds mu.
func (e *eventBus) dismiss(app *manifest.App) {
	for name, p := range e.listeners {
		if app.Service(name) == nil {
			e.door.Dismiss(name)
			_ = p.server.Close() // nobody is told that address any more
			delete(e.listeners, name)
		}
	}
}

// sayWhatStays tells of a change that a running bus does not take over. The caller holds mu.
func (e *eventBus) sayWhatStays(app *manifest.App) {
	if e.app != nil && (e.app.Events.NATS != app.Events.NATS || e.app.Events.Replicas != app.Events.Replicas) {
		e.warn(fault.Warn(fault.CodeRestartNeeded, "events.nats has changed, and events stay where they are until the application starts again").
			Fix("end it with atoll down and start it; events that were kept before stay there, and are not moved"))
	}
}

// refresh tells the bus of webhooks that are others now.
func (e *eventBus) refresh(ctx context.Context) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.app == nil {
		return nil
	}
	return e.bus.Apply(ctx, e.withHooks(e.declared, e.app))
}

// withHooks is what the bus is told of an App and of the webhooks that there are. The caller holds mu.
func (e *eventBus) withHooks(c *bus.Config, app *manifest.App) *bus.Config {
	out := *c
	out.Subscriptions = slices.Concat(c.Subscriptions, e.hooks.subscriptions(app))
	return &out
}

// open opens the log and the bus where they are not. The caller holds mu.
func (e *eventBus) open(ctx context.Context, app *manifest.App) error {
	if e.bus != nil {
		return nil
	}
	unreachable := func(err error) error {
		at := "the server in " + e.dir
		if app.Events.NATS != "" {
			at = app.Events.NATS
		}
		return fault.New(fault.CodeEventsUnreachable, "events cannot be kept on %s", at).
			Fix("atoll explain %s says what to look at", fault.CodeEventsUnreachable).Because(err)
	}
	opts := &natsbus.ServerOptions{Logger: e.log}
	if app.Events.NATS == "" {
		opts.Dir = e.dir
		if err := os.MkdirAll(e.dir, 0o700); err != nil {
			return unreachable(err)
		}
	}
	server, err := natsbus.StartServer(ctx, opts)
	if err != nil {
		return unreachable(err)
	}
	if err := e.openOn(ctx, app, server); err != nil {
		server.Close()
		if known, ok := errors.AsType[*fault.Error](err); ok {
			return known
		}
		return unreachable(err)
	}
	e.server = server
	return nil
}

// openOn opens the log, the bus and the door. The caller holds mu.
func (e *eventBus) openOn(ctx context.Context, app *manifest.App, server *natsbus.Server) error {
	store, err := e.openLog(ctx, app, server)
	if err != nil {
		return err
	}
	b, err := bus.Open(ctx, store, &e.options)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	door, err := natsbus.OpenDoor(server, natsbus.DoorOptions{Submit: submitTraced(b), Decode: cloudevents.Decode, Logger: e.log})
	if err != nil {
		return errors.Join(err, b.Close(ctx), store.Close())
	}
	hooks, err := openHooks(ctx, hooksOptions{store: store, bus: b, changed: e.refresh, warn: e.warn, log: e.log})
	if err != nil {
		door.Close()
		return errors.Join(err, b.Close(ctx), store.Close())
	}
	e.store, e.bus, e.door, e.hooks = store, b, door, hooks
	return nil
}

// logName names the log of an App: each of its copies and environments has one of its own, which counts in a cluster.
func (e *eventBus) logName(app *manifest.App) string {
	parts := []string{app.Name, app.Environment, e.copyName}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), "-")
}

// lost tells that another Atoll has taken over the log in a cluster: nothing is published or noted here any more.
func (e *eventBus) lost(err error) {
	e.log.Error("log of events lost", "error", err)
	e.warn(fault.Warn(fault.CodeEventsOwned, "another Atoll has taken over the events of this application: here none are published any more").
		Fix("end one of the two; atoll explain %s tells more", fault.CodeEventsOwned))
}

// openLog opens the log, in this process or in a cluster.
func (e *eventBus) openLog(ctx context.Context, app *manifest.App, server *natsbus.Server) (bus.Log, error) {
	var nc *nats.Conn
	var err error
	if app.Events.NATS == "" {
		nc, err = server.Connect()
	} else {
		credentials, _ := app.Secret(app.Events.Credentials)
		nc, err = natsbus.Dial(app.Events.NATS, credentials)
	}
	if err != nil {
		return nil, err
	}
	opts := &natsbus.Options{Replicas: app.Events.Replicas, Logger: e.log, OnLost: e.lost}
	if app.Events.NATS == "" {
		opts.Server = server
	}
	store, err := natsbus.Open(ctx, nc, e.logName(app), opts)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return store, nil
}

// publishURL is where a service publishes; its listener is opened the first time. The caller holds mu.
func (e *eventBus) publishURL(ctx context.Context, service string) (string, error) {
	if p := e.listeners[service]; p != nil {
		return p.url, nil
	}
	ln, err := e.listen(ctx, service)
	if err != nil {
		return "", fmt.Errorf("listen for events of %s: %w", service, err)
	}
	p := &publishing{url: "http://" + ln.Addr().String(), server: &http.Server{
		Handler: cloudevents.Handler(service, publishTraced(e.bus), e.log), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ReadTimeout: time.Minute, ErrorLog: slog.NewLogLogger(e.log.Handler(), slog.LevelDebug),
	}}
	e.listeners[service] = p
	e.serving.Go(func() {
		if err := p.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			e.log.Error("listener for events ends", "service", service, "error", err)
		}
	})
	return p.url, nil
}

// publishTraced publishes events, each as a part of some trace.
func publishTraced(b *bus.Bus) cloudevents.Publish {
	return func(ctx context.Context, publisher, topic string, events []*bus.Event) ([]bus.Receipt, error) {
		trace(events)
		return b.Publish(ctx, publisher, topic, events)
	}
}

// submitTraced is publishTraced for who does not wait.
func submitTraced(b *bus.Bus) natsbus.Submit {
	return func(publisher, topic string, events []*bus.Event, done func([]bus.Receipt, error)) error {
		trace(events)
		return b.Submit(publisher, topic, events, done)
	}
}

// trace begins a trace for each event that belongs to none, so that all its deliveries are parts of one.
func trace(events []*bus.Event) {
	for _, e := range events {
		if e.Extension(bus.AttributeTrace) == "" {
			e.SetExtension(bus.AttributeTrace, relay.NewTrace().Traceparent())
		}
	}
}

// config is what the bus is told of an App. The caller holds mu.
func (e *eventBus) config(app *manifest.App, awaited []string) (*bus.Config, error) {
	c := &bus.Config{
		Topics: map[string]*bus.Topic{}, Publishers: map[string]bus.Publisher{},
		KeepAge: app.Events.Keep.Age.Std(), KeepBytes: int64(app.Events.Keep.Size),
	}
	contracts, err := contract.Compile(app)
	if err != nil {
		return nil, err
	}
	for _, t := range app.Topics() {
		c.Topics[t.Name] = &bus.Topic{Name: t.Name}
		if contracts.Has(t.Name) {
			c.Topics[t.Name].Contract = contracts
		}
		if len(t.Sagas) > 0 {
			awaited = append(awaited, t.Name)
		}
	}
	slices.Sort(awaited)
	for _, topic := range slices.Compact(awaited) {
		if c.Topics[topic] == nil { // nobody names it any more, but an operator may publish what an instance waits for
			c.Topics[topic] = &bus.Topic{Name: topic}
		}
		c.Subscriptions = append(c.Subscriptions, e.toSagas(topic))
	}
	for _, s := range app.Services {
		p := bus.Publisher{File: app.FileOf(s)}
		for _, published := range s.Publishes {
			p.Topics = append(p.Topics, published.Topic)
		}
		c.Publishers[s.Name] = p
		for topic, sub := range s.Subscribes {
			c.Subscriptions = append(c.Subscriptions, e.subscription(s.Name, topic, sub))
		}
		for _, published := range s.Schedules {
			sched, err := schedule.New(published.Cron, published.Zone)
			if err != nil {
				return nil, err
			}
			c.Schedules = append(c.Schedules, bus.Schedule{
				Name: s.Name + "/" + published.Name, Publisher: s.Name,
				Topic: published.Publish, Data: []byte(published.Data),
				Next: sched.Next, Missed: published.Missed == manifest.MissedOnce,
			})
		}
	}
	return c, nil
}

// subscription is what the bus is told of one.
func (e *eventBus) subscription(service, topic string, s manifest.Subscription) bus.Subscription {
	sub := &subscriber{
		name: service + "/" + topic, service: service, topic: topic, path: s.To, direct: s.Direct(), timeout: s.Timeout.Std(), door: e.door,
	}
	return bus.Subscription{
		Name: sub.name, Topics: []string{topic}, Deliver: e.deliver(sub),
		Policy: bus.Policy{
			Concurrency: s.Concurrency, Attempts: s.Attempts, Backoff: s.Backoff.Std(), MaxBackoff: s.MaxBackoff.Std(),
			Ordered: s.Order != manifest.OrderNone,
		},
	}
}

// webhooks is what sends to parties outside, or nil while there is no bus.
func (e *eventBus) webhooks() *hooks {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.hooks
}

// current is the bus, or nil while there is none.
func (e *eventBus) current() *bus.Bus {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.bus
}

// drain ends deliveries. Events are still taken.
func (e *eventBus) drain() {
	if b := e.current(); b != nil {
		b.Drain()
	}
}

// close ends everything, when nobody publishes any more.
func (e *eventBus) close(ctx context.Context) error {
	if h := e.webhooks(); h != nil {
		h.close() // it may wait for mu
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var failed error
	for _, p := range e.listeners {
		failed = errors.Join(failed, p.server.Shutdown(ctx))
	}
	e.serving.Wait()
	if e.bus == nil {
		return failed
	}
	e.door.Close()
	failed = errors.Join(failed, e.bus.Close(ctx), e.store.Close())
	e.hooks.sender.Close()
	e.server.Close()
	return failed
}

// subscriber is where the events of a subscription go.
type subscriber struct {
	name, service, topic string
	path                 string // of the service
	direct               bool   // over NATS
	timeout              time.Duration
	door                 *natsbus.Door
}

// retryAfter reads the header Retry-After, in seconds or as a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if text == "" {
		return 0
	}
	if seconds, err := time.ParseDuration(text + "s"); err == nil {
		return max(0, seconds)
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// firstLine is the beginning of an answer, for people.
func firstLine(body []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return cmp.Or(strings.ToValidUTF8(line, "�"), "no text")
}
