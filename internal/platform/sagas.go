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
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/bus/schedule"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/define"
	"github.com/atollhq/atoll/internal/saga/pgsaga"
	"github.com/atollhq/atoll/internal/saga/sagahttp"
	"github.com/atollhq/atoll/internal/saga/sqlitesaga"
)

// sagas is the saga engine with what leads to it: a listener for each service that uses it, by which the service is known. The
// store is opened when an App first defines a saga.
type sagas struct {
	dir      string // of the store, where that is SQLite
	listen   func(ctx context.Context, service string) (net.Listener, error)
	postgres func(ctx context.Context, app *manifest.App, service string) (url string, err error)
	caller   saga.Caller
	options  saga.Options
	warn     func(*fault.Error)
	log      *slog.Logger
	counts   sagaCounts

	changing sync.Mutex // held while an App is put into force; taken before mu

	// What requests and calls read, which must not wait for a slow store.
	live    atomic.Pointer[saga.Engine]
	inForce atomic.Pointer[manifest.App]
	doors   sync.Map // URLs of listeners, by service

	mu        sync.Mutex
	store     saga.Store               // guarded by mu: nil until it is needed
	engine    *saga.Engine             // guarded by mu: nil until it is needed
	running   bool                     // guarded by mu
	app       *manifest.App            // guarded by mu: the latest whose sagas run
	listeners map[string]*sagaEntrance // guarded by mu: by service
	serving   sync.WaitGroup           // for the goroutines that serve listeners
}

// sagaEntrance is where one service finds sagas.
type sagaEntrance struct {
	url    string
	server *http.Server
}

// sagaService names the database of sagas among those of services. No service has such a name.
const sagaService = "atoll_sagas"

// sagaChange is an App on its way into force, as far as sagas go.
type sagaChange struct {
	urls   map[string]string // where each service finds sagas
	topics []string          // whose events instances wait for that have not ended, whatever sagas the App has
	commit func()            // puts it into force; cannot fail
	end    func()            // to be called in any case
}

// usesSagas tells whether a service has to do with sagas, so that it finds SAGAS_URL in its environment: it says so, or a step that
// it takes may end later.
func usesSagas(app *manifest.App, s *manifest.Service) bool {
	if len(s.Sagas) > 0 {
		return true
	}
	for _, def := range app.Sagas {
		for i := range def.Steps {
			do := def.Steps[i].Do
			if do == nil || do.Async == nil {
				continue
			}
			if _, service, _, ok := manifest.ParseSagaCall(do.Call); ok && service == s.Name {
				return true
			}
		}
	}
	return false
}

// prepare does all that can fail of running the sagas of an App. Until the change has ended no other begins.
func (h *sagas) prepare(ctx context.Context, app *manifest.App) (*sagaChange, error) {
	h.changing.Lock()
	change := &sagaChange{commit: func() {}, end: sync.OnceFunc(h.changing.Unlock)}
	if h.current() == nil && len(app.Sagas) == 0 && !h.left(app) {
		return change, nil
	}
	if err := h.prepareOpen(ctx, app, change); err != nil {
		change.end()
		return nil, err
	}
	return change, nil
}

// left tells whether a manifest that had sagas may have left instances that go on.
func (h *sagas) left(app *manifest.App) bool {
	if k := app.SagaStore.Database.Kind; k == manifest.DatabasePostgres || k == manifest.DatabaseExisting {
		return true
	}
	_, err := os.Stat(h.file())
	return err == nil
}

// file is the store, where that is SQLite.
func (h *sagas) file() string { return filepath.Join(h.dir, "sagas.db") }

func (h *sagas) prepareOpen(ctx context.Context, app *manifest.App, change *sagaChange) error {
	all, faults := plans(app)
	if err := faults.Err(); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.open(ctx, app); err != nil {
		return err
	}
	var err error
	if change.topics, err = h.engine.Awaited(ctx); err != nil {
		return h.unreachable(app, err)
	}
	change.urls = map[string]string{}
	for _, s := range app.Services {
		if !usesSagas(app, s) {
			continue
		}
		url, err := h.entrance(ctx, s.Name)
		if err != nil {
			return err
		}
		change.urls[s.Name] = url
	}
	commit, err := h.engine.Prepare(ctx, all)
	if err != nil {
		return h.unreachable(app, err)
	}
	change.commit = func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.sayWhatStays(app)
		h.app = app
		h.inForce.Store(app)
		commit()
		if !h.running {
			h.running = true
			h.engine.Run()
		}
		for name, e := range h.listeners {
			if app.Service(name) == nil {
				_ = e.server.Close() // nobody is told that address any more
				delete(h.listeners, name)
				h.doors.Delete(name)
			}
		}
	}
	return nil
}

// sayWhatStays tells of a change that a running engine does not take over. The caller holds mu.
func (h *sagas) sayWhatStays(app *manifest.App) {
	if h.app != nil && h.app.SagaStore != app.SagaStore {
		h.warn(fault.Warn(fault.CodeRestartNeeded, "saga_store has changed, and sagas stay where they are until the application starts again").
			Fix("end it with atoll down and start it; instances in another database stay there, and are not moved"))
	}
}

// open opens the store and the engine where they are not. The caller holds mu.
func (h *sagas) open(ctx context.Context, app *manifest.App) error {
	if h.engine != nil {
		return nil
	}
	store, err := h.openStore(ctx, app)
	if err != nil {
		return h.unreachable(app, err)
	}
	options := h.options
	options.Keep = app.SagaStore.Keep.Std()
	options.Compile = h.compileKept
	options.Next = func(c manifest.Cron, zone string, after time.Time) (time.Time, error) {
		s, err := schedule.New(c, cmp.Or(zone, "UTC"))
		if err != nil {
			return time.Time{}, err
		}
		return s.Next(after), nil
	}
	engine, err := saga.Open(ctx, store, h.caller, &options)
	if err != nil {
		return h.unreachable(app, errors.Join(err, store.Close()))
	}
	h.store, h.engine = store, engine
	h.live.Store(engine)
	return nil
}

func (h *sagas) unreachable(app *manifest.App, err error) error {
	if known, ok := errors.AsType[*fault.Error](err); ok {
		return known
	}
	where := "the file in " + h.dir
	if app.SagaStore.Database.Kind != manifest.DatabaseSQLite {
		where = "PostgreSQL"
	}
	return fault.New(fault.CodeSagaStoreUnreachable, "sagas cannot be kept in %s", where).
		Fix("atoll explain %s says what to look at", fault.CodeSagaStoreUnreachable).Because(err)
}

func (h *sagas) openStore(ctx context.Context, app *manifest.App) (saga.Store, error) {
	url := app.SagaStore.Database.URL
	switch app.SagaStore.Database.Kind {
	case manifest.DatabasePostgres:
		var err error
		if url, err = h.postgres(ctx, app, sagaService); err != nil {
			return nil, err
		}
	case manifest.DatabaseExisting:
	default:
		if err := os.MkdirAll(h.dir, 0o700); err != nil {
			return nil, err
		}
		return sqlitesaga.Open(ctx, h.file(), nil)
	}
	return pgsaga.Open(ctx, url, nil)
}

// compileKept makes a plan of a definition that instances run which were started by an earlier manifest. It was sound when they
// began: a child that has no undo could be compensated then.
func (h *sagas) compileKept(source []byte) (*saga.Plan, error) {
	def, err := define.Decode(source)
	if err != nil {
		return nil, err
	}
	others := map[string]*manifest.Saga{}
	for i := range def.Steps {
		if s := &def.Steps[i]; s.Child != nil && s.Undo == nil {
			others[s.Child.Saga] = &manifest.Saga{Name: s.Child.Saga}
		}
	}
	plan, faults := define.Compile(def, define.Options{Others: others})
	return plan, faults.Err()
}

// entrance is where a service finds sagas; its listener is opened the first time. The caller holds mu.
func (h *sagas) entrance(ctx context.Context, service string) (string, error) {
	if e := h.listeners[service]; e != nil {
		return e.url, nil
	}
	ln, err := h.listen(ctx, service)
	if err != nil {
		return "", fmt.Errorf("listen for sagas of %s: %w", service, err)
	}
	handler := sagahttp.Handler(sagahttp.Options{
		Service: service, Declared: func() sagahttp.Declared { return h.declared(service) }, Engine: h.current, Logger: h.log,
	})
	e := &sagaEntrance{url: "http://" + ln.Addr().String(), server: &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
	}}
	h.listeners[service] = e
	h.doors.Store(service, e.url)
	h.serving.Go(func() {
		if err := e.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			h.log.Error("listener for sagas ends", "service", service, "error", err)
		}
	})
	return e.url, nil
}

// declared is what a service declares now.
func (h *sagas) declared(service string) sagahttp.Declared {
	app := h.inForce.Load()
	d := sagahttp.Declared{File: "services/" + service + "/service.yaml"}
	if app == nil {
		return d
	}
	if s := app.Service(service); s != nil {
		d.Sagas, d.File = s.Sagas, app.FileOf(s)
	}
	return d
}

// callback is the address where a service tells the end of a step.
func (h *sagas) callback(service string) string {
	url, _ := h.doors.Load(service)
	text, _ := url.(string)
	return text
}

// current is the engine, or nil while there is none.
func (h *sagas) current() *saga.Engine { return h.live.Load() }

// drain ends the calling. Sagas may still be asked for.
func (h *sagas) drain() {
	if e := h.current(); e != nil {
		e.Drain()
	}
}

// close ends everything.
func (h *sagas) close(ctx context.Context) error {
	h.mu.Lock()
	engine, store, listeners := h.engine, h.store, h.listeners
	h.listeners = map[string]*sagaEntrance{}
	h.mu.Unlock()
	var failed error
	if engine != nil {
		engine.Close()
	}
	for _, e := range listeners {
		failed = errors.Join(failed, e.server.Shutdown(ctx))
	}
	h.serving.Wait()
	if store != nil {
		failed = errors.Join(failed, store.Close())
	}
	return failed
}
