package platform

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/alert"
	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/gateway"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/mesh"
	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/relay/std"
	"github.com/atollhq/atoll/internal/replica"
	"github.com/atollhq/atoll/internal/replica/process"
	"github.com/atollhq/atoll/internal/saga"
)

const (
	serviceVersion = "dev" // of every service, until releases give them versions
	stopLimit      = 60 * time.Second
)

// Options of Start.
type Options struct {
	Dir         string   // folder of atoll.yaml
	Environment string   // overlay
	Environ     []string // NAME=value, for ${env.NAME}, secrets and ATOLL_POSTGRES
	Copy        string   // name of an isolated copy: state of its own, free ports
	Services    []string // only these and what they call; none means all
	Watch       bool     // rebuild and reload when files change
	Version     string   // of Atoll
	Guard       []string // command that ends what is left if Atoll is killed
	Logger      *slog.Logger
}

// Platform is a running application.
type Platform struct {
	o       Options
	log     *slog.Logger
	state   *state
	started time.Time

	telemetry  *observatory
	events     *events
	driver     *process.Driver
	upstreams  *relay.Upstreams
	gateway    *gateway.Gateway
	mesh       *mesh.Mesh
	calls      *callListeners
	bus        *eventBus
	outboxes   *outboxes
	sagas      *sagas
	alerts     atomic.Pointer[alert.Engine] // nil until it runs
	databases  *databases
	supervisor *replica.Supervisor
	edge       *edge
	errors     *errorCounts
	controls   controls
	console    webConsole

	telling   sync.WaitGroup // goroutines that publish what happened to sagas; they end before the bus
	restless  restless       // of the goroutine that watches
	reloading sync.Mutex     // held while a manifest is put into force

	serving     sync.Mutex                  // orders what the relay is told
	endpointsOf map[string][]relay.Endpoint // guarded by serving: the ready replicas, by service

	mu       sync.Mutex
	app      *manifest.App       // guarded by mu: in force
	findings fault.List          // guarded by mu: of the last load
	scaled   map[string]int      // guarded by mu: replicas that scale asked for
	environs map[string][]string // guarded by mu: what the replicas of a service find, NAME=value
	stopping bool                // guarded by mu

	stop  chan struct{} // closed when Stop is asked for
	once  sync.Once     // for stop
	parts []part        // what started, in order
}

// part is something that started and must be ended.
type part struct {
	name string
	end  func(context.Context) error
}

// Start starts the application in o.Dir and returns when its gateway listens and its services are being built and
// started; they become ready by and by. A *fault.Error or fault.List says what is wrong, with nothing left running.
func Start(ctx context.Context, o Options) (*Platform, error) {
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	p := &Platform{
		o: o, log: o.Logger, started: time.Now(), stop: make(chan struct{}), scaled: map[string]int{}, endpointsOf: map[string][]relay.Endpoint{},
		events: newEvents(), errors: newErrorCounts(),
	}
	app, findings, err := p.load()
	if err != nil {
		return nil, err
	}
	p.findings = findings
	if err := p.start(ctx, app); err != nil {
		return nil, errors.Join(err, p.end(context.WithoutCancel(ctx)))
	}
	return p, nil
}

// load reads the manifests. Warnings come back as findings, errors as err.
func (p *Platform) load() (*manifest.App, fault.List, error) {
	app, findings := Load(p.o.Dir, &manifest.Options{Environment: p.o.Environment, Environ: p.o.Environ})
	if err := findings.Err(); err != nil {
		return nil, findings, err
	}
	app, err := only(app, p.o.Services)
	if err != nil {
		return nil, findings, err
	}
	if p.o.Copy != "" {
		app.Gateway.Listen = "127.0.0.1:0"
	}
	return app, findings, nil
}

// start starts the parts, each of which notes how it is ended.
func (p *Platform) start(ctx context.Context, app *manifest.App) error {
	for _, step := range []func(context.Context, *manifest.App) error{
		p.startState, p.startTelemetry, p.startDriver, p.startRelay, p.startDatabases, p.startSagas, p.startBus, p.startSupervisor, p.startAlerts,
	} {
		if err := step(ctx, app); err != nil {
			return err
		}
	}
	if err := p.putInForce(ctx, app); err != nil {
		return err
	}
	p.telemetry.run(ctx, app.Telemetry.Metrics.Every.Std(), p.targets, p.Metrics)
	if err := p.startControl(ctx); err != nil {
		return err
	}
	if p.o.Watch {
		p.startWatch(ctx)
	}
	return nil
}

// onEnd notes how a part that has started is ended.
func (p *Platform) onEnd(name string, end func(context.Context) error) {
	p.parts = append(p.parts, part{name, end})
}

func (p *Platform) startState(ctx context.Context, _ *manifest.App) error {
	state, err := takeState(StateDir(p.o.Dir, p.o.Copy))
	if err != nil {
		return err
	}
	p.state = state
	p.onEnd("state", func(context.Context) error { return state.release() })
	ended, err := process.CleanLeftovers(ctx, state.dir, p.log)
	if err != nil {
		return fmt.Errorf("clean what an earlier run left: %w", err)
	}
	if ended > 0 {
		p.notice(fmt.Sprintf("ended %d processes that an earlier run had left", ended))
	}
	return nil
}

func (p *Platform) startTelemetry(_ context.Context, app *manifest.App) error {
	watch, err := openObservatory(p.state.path, &app.Telemetry, p.log, p.warn) //nolint:contextcheck // what it starts ends by close, not with this call
	if err != nil {
		return err
	}
	p.telemetry = watch
	p.onEnd("telemetry", func(context.Context) error { return watch.close() }) //nolint:contextcheck // it bounds its end itself
	// The control API starts last but ends late, so that who asks can see how the rest ends.
	p.onEnd("control", func(context.Context) error { return p.controls.close() })
	p.onEnd("events", func(context.Context) error { p.events.close(); return nil })
	return nil
}

func (p *Platform) startDriver(context.Context, *manifest.App) error {
	driver, err := process.New(&process.Options{Dir: p.state.dir, Logger: p.log, Guard: p.o.Guard, Warn: p.warn})
	if err != nil {
		return err
	}
	p.driver = driver
	p.onEnd("driver", func(context.Context) error { return driver.Close() })
	return nil
}

func (p *Platform) startRelay(context.Context, *manifest.App) error {
	p.upstreams = relay.NewUpstreams(std.New(), &relay.Options{Logger: p.log, OnHop: p.hop})
	p.onEnd("relay", func(context.Context) error { return p.upstreams.Close() })
	p.bus = &eventBus{
		dir: p.state.path("events"), copyName: p.o.Copy, listen: p.driver.Listen, deliver: p.deliverer, warn: p.warn, log: p.log,
		options: bus.Options{Logger: p.log, OnDead: p.deadLetter, OnLeft: p.left}, listeners: map[string]*publishing{}, toSagas: p.sagaSubscription,
	}
	p.gateway = gateway.New(p.upstreams, &gateway.Options{
		Logger: p.log, AccessLog: p.accessLog(), Webhook: newVerifier, Publisher: inbound{p.bus, p.log}, Starter: starter{p},
	})
	p.mesh = mesh.New(p.upstreams, &mesh.Options{Logger: p.log})
	p.calls = &callListeners{
		listen: p.driver.Listen, serve: p.mesh.Serve, log: p.log, open: map[pair]*callListener{},
	}
	p.onEnd("calls", func(context.Context) error { p.calls.close(); return nil })
	p.onEnd("taking in telemetry", func(context.Context) error { p.telemetry.stopTaking(); return nil })
	return nil
}

func (p *Platform) startDatabases(context.Context, *manifest.App) error {
	p.databases = &databases{
		dir: p.state.dir, driver: p.driver, log: p.log, record: p.record, notice: p.notice,
	}
	p.onEnd("databases", func(context.Context) error { p.databases.close(); return nil })
	return nil
}

func (p *Platform) startSagas(context.Context, *manifest.App) error {
	p.sagas = &sagas{
		dir: p.state.path("sagas"), listen: p.driver.Listen, postgres: p.databases.provisionPostgres, caller: sagaCaller{p}, warn: p.warn, log: p.log,
		options: saga.Options{Logger: p.log, OnBroken: p.sagasBroken}, listeners: map[string]*sagaEntrance{},
	}
	counts := &p.sagas.counts
	p.sagas.options.OnStarted = func(name string) { counts.add(sagaStarted, name, "") }
	p.sagas.options.OnEnded = func(i *saga.Instance) { counts.add(sagaEnded, i.Saga, string(i.Phase)) }
	p.sagas.options.OnAttempt = func(o *saga.Outgoing, _ time.Time, r *saga.Result) {
		counts.add(sagaAttempts, o.Request.Service, attemptOutcome(r))
	}
	p.sagas.options.OnParked = func(i *saga.Instance) { //nolint:contextcheck // it ends with the bus
		counts.add(sagaParkings, i.Saga, "")
		p.parked(i)
	}
	p.onEnd("sagas", p.sagas.close)
	return nil
}

func (p *Platform) startBus(context.Context, *manifest.App) error {
	p.onEnd("bus", p.bus.close)
	p.onEnd("tellings", func(context.Context) error { p.telling.Wait(); return nil })
	p.outboxes = &outboxes{bus: p.bus, log: p.log, warn: p.warn, say: p.sayOf, running: map[string]*forwarding{}}
	p.onEnd("outboxes", func(context.Context) error { p.outboxes.close(); return nil })
	return nil
}

func (p *Platform) startSupervisor(context.Context, *manifest.App) error {
	p.supervisor = replica.NewSupervisor(p.driver, &replica.Options{
		Logger: p.log, OnChange: p.change, OnLine: p.line, OnEndpoints: p.endpoints, Drain: p.upstreams.Drain,
	})
	p.onEnd("replicas", p.supervisor.Stop)
	p.onEnd("deliveries", func(context.Context) error { p.bus.drain(); return nil })
	p.onEnd("calls of sagas", func(context.Context) error { p.sagas.drain(); return nil })
	p.edge = &edge{serve: p.gateway.Serve, log: p.log}
	p.onEnd("gateway", func(context.Context) error { p.edge.close(); return nil })
	return nil
}

// putInForce makes all that an App needs and lets every part change over to it. What can fail comes first, so that a
// failure leaves what was in force.
func (p *Platform) putInForce(ctx context.Context, app *manifest.App) error {
	urls, err := p.databases.provision(ctx, app)
	if err != nil {
		return err
	}
	dropCalls, err := p.calls.apply(ctx, app)
	if err != nil {
		return errors.Join(err, p.undeclareCalls(ctx))
	}
	sagas, err := p.sagas.prepare(ctx, app)
	if err != nil {
		return errors.Join(err, p.undeclareCalls(ctx))
	}
	defer sagas.end()
	events, err := p.bus.prepare(ctx, app, sagas.topics)
	if err != nil {
		return errors.Join(err, p.undeclareCalls(ctx))
	}
	defer events.end()
	intake, err := p.telemetry.intake.prepare(ctx, &app.Telemetry.OTLP, p.o.Copy != "")
	if err != nil {
		return errors.Join(err, p.undeclareCalls(ctx))
	}
	defer intake.abandon()
	services, err := p.services(app, &found{urls, events.urls, sagas.urls, intake})
	if err != nil {
		return errors.Join(err, p.undeclareCalls(ctx))
	}
	commitGateway, err := p.gateway.Prepare(ctx, app, app.Secret)
	if err != nil {
		return errors.Join(err, p.undeclareCalls(ctx))
	}
	if err := p.edge.prepare(ctx, &app.Gateway); err != nil {
		return errors.Join(err, p.undeclareCalls(ctx))
	}
	if err := p.consoleStays(app); err != nil {
		return errors.Join(err, p.undeclareCalls(ctx))
	}
	if err := checkReceivers(app); err != nil {
		return errors.Join(err, p.undeclareCalls(ctx))
	}
	commitOutboxes, err := p.outboxes.prepare(app, urls)
	if err != nil {
		return errors.Join(err, p.undeclareCalls(ctx))
	}
	// From here on nothing fails. What is gone stays known until nothing leads to it any more.
	p.declare(p.current(), app)
	p.telemetry.apply(ctx, app, intake)
	p.alerts.Load().Apply(p.alertSettings(app))
	events.commit()
	commitGateway()
	p.edge.commit(ctx)
	p.mesh.Apply(app)
	p.mu.Lock()
	p.forgetScale(app)
	p.app = app
	p.environs = map[string][]string{}
	for i := range services {
		p.environs[services[i].Name] = services[i].Env
	}
	p.mu.Unlock()
	commitOutboxes(ctx)
	sagas.commit()
	p.supervisor.Apply(services) //nolint:contextcheck // what it starts ends by Stop, not with this call
	dropCalls()
	p.declare(app)
	return nil
}

// undeclareCalls closes the listeners that were opened for an App that is not put into force.
func (p *Platform) undeclareCalls(ctx context.Context) error {
	before := p.current()
	if before == nil {
		return nil // the start has failed, and ends them all
	}
	drop, err := p.calls.apply(ctx, before)
	if err != nil {
		return err
	}
	drop()
	return nil
}

// declare tells the relay which services there are, and again which replicas stand ready: of a service that it sees as
// a new one, because its protocol is another or it was gone for a while, it knows none. Of several Apps the last says
// what a service speaks.
func (p *Platform) declare(apps ...*manifest.App) {
	p.serving.Lock()
	defer p.serving.Unlock()
	p.upstreams.Declare(protocols(apps...))
	for service, endpoints := range p.endpointsOf {
		p.upstreams.Set(service, endpoints)
	}
}

// forgetScale forgets the numbers that scale asked for where the manifest's own number is another now, as the
// supervisor does. The caller holds mu.
func (p *Platform) forgetScale(app *manifest.App) {
	for name := range p.scaled {
		s := app.Service(name)
		if s == nil || p.app.Service(name) == nil || s.Replicas.Min != p.app.Service(name).Replicas.Min {
			delete(p.scaled, name)
		}
	}
}

func protocols(apps ...*manifest.App) map[string]manifest.Protocol {
	out := map[string]manifest.Protocol{}
	for _, app := range apps {
		if app == nil {
			continue
		}
		for _, s := range app.Services {
			out[s.Name] = s.Protocol
		}
	}
	return out
}

// found is what services find in their environments, by service.
type found struct {
	databases map[string]string
	events    map[string]eventURLs
	sagas     map[string]string
	telemetry *opening
}

// services is what the supervisor is told.
func (p *Platform) services(app *manifest.App, f *found) ([]replica.Service, error) {
	out := make([]replica.Service, 0, len(app.Services))
	for _, s := range app.Services {
		env, err := p.environ(app, s, f)
		if err != nil {
			return nil, err
		}
		addr := func(callee string) string { return p.calls.addr(s.Name, callee) }
		out = append(out, replica.Service{
			Name: s.Name, Version: serviceVersion, Dir: s.Dir, Build: s.Build,
			Run: manifest.ExpandCalls(s.Run, addr), Env: env, BuildEnv: os.Environ(),
			Port: s.Port, Protocol: s.Protocol, Ready: s.Ready, Replicas: s.Replicas.Min,
			Grace: s.Grace.Std(), StartLimit: s.StartLimit.Std(), Limits: s.Limits,
		})
	}
	return out, nil
}

// only is app with no more than the named services and what they call.
func only(app *manifest.App, names []string) (*manifest.App, error) {
	if len(names) == 0 {
		return app, nil
	}
	wanted := map[string]bool{}
	var want func(name string)
	want = func(name string) {
		s := app.Service(name)
		if s == nil || wanted[name] {
			return
		}
		wanted[name] = true
		for _, call := range s.Calls {
			want(call.Service)
		}
	}
	for _, name := range names {
		if app.Service(name) == nil {
			return nil, fault.New(fault.CodeServiceUnknown, "there is no service %q to start", name).
				Fix("see the services with atoll check --format json, or leave names out to start all")
		}
		want(name)
	}
	out := *app
	out.Services = nil
	for _, s := range app.Services {
		if wanted[s.Name] {
			out.Services = append(out.Services, s)
		}
	}
	out.Gateway.Routes = nil
	for _, r := range app.Gateway.Routes {
		if r.Publish != "" || r.Start != "" || wanted[r.To] {
			out.Gateway.Routes = append(out.Gateway.Routes, r)
		}
	}
	return &out, nil
}

// Wait returns when the application was asked to stop, or ctx ends.
func (p *Platform) Wait(ctx context.Context) {
	select {
	case <-p.stop:
	case <-ctx.Done():
	}
}

// Stop asks the application to end; Wait returns then, and Close does the work.
func (p *Platform) Stop() { p.once.Do(func() { close(p.stop) }) }

// Stopped tells whether the application was asked to end.
func (p *Platform) Stopped() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}

// Close ends the application: the gateway takes no more requests and those in flight finish, replicas drain and end,
// then everything else. It returns when nothing is left.
func (p *Platform) Close(ctx context.Context) error {
	p.Stop()
	p.mu.Lock()
	p.stopping = true
	p.mu.Unlock()
	return p.end(ctx)
}

// end ends the parts in reverse order.
func (p *Platform) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	var failed error
	for len(p.parts) > 0 {
		last := p.parts[len(p.parts)-1]
		p.parts = p.parts[:len(p.parts)-1]
		if err := last.end(ctx); err != nil {
			failed = errors.Join(failed, fmt.Errorf("end %s: %w", last.name, err))
		}
	}
	return failed
}

// StateDir is the folder that holds the application's state.
func (p *Platform) StateDir() string { return p.state.dir }

// warn tells of something that is not as it was asked for.
func (p *Platform) warn(f *fault.Error) {
	p.events.add(api.Event{Time: time.Now(), Kind: api.EventNotice, Text: f.Text, Fault: f})
}

// notice tells of something that is nobody's fault.
func (p *Platform) notice(text string) {
	p.log.Info(text)
	p.events.add(api.Event{Time: time.Now(), Kind: api.EventNotice, Text: text})
}
