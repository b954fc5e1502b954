package replica

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Options tune a Supervisor; nil and the zero value are usable.
type Options struct {
	Logger *slog.Logger // for operators; nil discards

	// OnChange takes every change of a replica's state, OnLine every line of output, OnEndpoints the whole
	// set of a service's endpoints whenever it changes: before a drain begins, after a replica is ready.
	// Package doc: ordering, backpressure.
	OnChange    func(Change)
	OnLine      func(Line)
	OnEndpoints func(service string, ready []Endpoint)

	// Drain waits until the relay has nothing in flight to a replica that was withdrawn; it returns when the
	// context ends at the latest. Nil: there is nothing to wait for.
	Drain func(ctx context.Context, service, id string) error

	DrainLimit   time.Duration // longest wait for Drain; 30 s
	ProbeTimeout time.Duration // of one probe; 2 s
	KillLimit    time.Duration // how long Stop waits for what it killed; 5 s
	Builds       int           // builds at a time; the number of processors
	TailLines    int           // lines of output in a Change; 20
	Policy       Policy

	Jitter func() float64 // random numbers in [0, 1); math/rand/v2
}

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	out.Logger = cmp.Or(out.Logger, slog.New(slog.DiscardHandler))
	out.DrainLimit = cmp.Or(out.DrainLimit, 30*time.Second)
	out.ProbeTimeout = cmp.Or(out.ProbeTimeout, 2*time.Second)
	out.KillLimit = cmp.Or(out.KillLimit, 5*time.Second)
	out.Builds = cmp.Or(out.Builds, runtime.NumCPU())
	out.TailLines = cmp.Or(out.TailLines, 20)
	if out.Jitter == nil {
		out.Jitter = rand.Float64
	}
	return out
}

// Supervisor keeps services as it was last told they should be. Its methods may be called by many goroutines
// at once, also from its callbacks (but for those that wait: Restart, Scale, Stop).
type Supervisor struct {
	driver Driver
	o      Options
	builds chan struct{} // a token for each build that runs

	tell  sync.Mutex // held while OnChange or OnEndpoints runs
	lines sync.Mutex // held while OnLine runs

	mu       sync.Mutex // guards what follows, and the requests of every actor
	actors   map[string]*actor
	stopping bool
}

// NewSupervisor returns a supervisor of no services.
func NewSupervisor(d Driver, o *Options) *Supervisor {
	s := &Supervisor{driver: d, o: o.withDefaults(), actors: map[string]*actor{}}
	s.builds = make(chan struct{}, s.o.Builds)
	return s
}

// Apply makes services the whole desired state and returns at once. New ones are built and started side by
// side, those that are gone are drained and stopped, changed ones are rolled (after a build, if that
// changed), changed counts are scaled. A count set by Scale holds until the service's own count changes.
// Crashed replicas are started again at once. Names must be unique. After Stop it does nothing.
func (s *Supervisor) Apply(services []Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return
	}
	named := make(map[string]bool, len(services))
	for _, svc := range services {
		named[svc.Name] = true
		if svc.most(svc.Replicas) < svc.Replicas {
			s.o.Logger.Warn("a fixed port allows one replica", "service", svc.Name, "port", svc.Port, "replicas", svc.Replicas)
		}
		a := s.actors[svc.Name]
		if a == nil {
			a = newActor(s, svc.Name)
			s.actors[svc.Name] = a
			go a.run()
		}
		a.req.service, a.req.stop = &svc, false
		a.nudge()
	}
	for name, a := range s.actors {
		if !named[name] {
			a.req = requests{stop: true, waiters: a.req.waiters}
			a.nudge()
		}
	}
}

// Restart replaces every replica of a service without a gap (with a fixed port: the old one ends, then the
// new one starts), and waits until the new ones serve. It returns the fault if a new replica crashes, while
// the old ones go on serving and new ones are tried on; a *fault.Error with code replica-unknown if there is
// no such service; or the context's error.
func (s *Supervisor) Restart(ctx context.Context, service string) error {
	return s.request(ctx, service, func(a *actor) error {
		a.req.restart = true
		return nil
	})
}

// Scale sets how many replicas a service has, and waits until that many serve and no more. Errors are those
// of Restart, and one with code replica-fixed-port for more than one on a fixed port.
func (s *Supervisor) Scale(ctx context.Context, service string, n int) error {
	return s.request(ctx, service, func(a *actor) error {
		if port := a.port(); port != 0 && n > 1 {
			return fault.New(fault.CodeReplicaFixedPort, "%s cannot have %d replicas: each would need port %d", service, n, port).
				Fix("let the program listen on PORT and remove port: from the manifest of %s", service)
		}
		a.req.scale = &n
		return nil
	})
}

// Rebuild builds a service and then replaces its replicas as Restart does; it does not wait. A build that
// fails leaves the replicas as they are and becomes a Change to Crashed with the compiler's lines. Calls
// during a build become one more build after it. A service that is not there is ignored.
func (s *Supervisor) Rebuild(service string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.actors[service]; a != nil && !s.stopping && !a.req.stop {
		a.req.rebuild = true
		a.nudge()
	}
}

// request adds a request to a service's actor and waits until the service has settled after it.
func (s *Supervisor) request(ctx context.Context, service string, add func(*actor) error) error {
	s.mu.Lock()
	a := s.actors[service]
	if a == nil || s.stopping || a.req.stop || a.stopAsked && a.req.service == nil {
		s.mu.Unlock()
		return fault.New(fault.CodeReplicaUnknown, "no service named %q is running", service).
			Fix("atoll ps lists those that are")
	}
	if err := add(a); err != nil {
		s.mu.Unlock()
		return err
	}
	waiter := make(chan error, 1)
	a.req.waiters = append(a.req.waiters, waiter)
	a.nudge()
	s.mu.Unlock()
	select {
	case err := <-waiter:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Status tells how every replica stands, by service and number. It is cheap: a snapshot, with what the
// driver knows of each process added.
func (s *Supervisor) Status() []Status {
	s.mu.Lock()
	actors := make([]*actor, 0, len(s.actors))
	for _, a := range s.actors {
		actors = append(actors, a)
	}
	s.mu.Unlock()
	slices.SortFunc(actors, func(a, b *actor) int { return cmp.Compare(a.name, b.name) })
	var out []Status
	stable := s.o.Policy.withDefaults().Stable
	for _, a := range actors {
		for _, e := range *a.snapshot.Load() {
			st := e.status()
			if !st.Served.IsZero() && time.Since(st.Served) >= stable {
				st.Looping = false // the machine forgets it when the replica crashes next
			}
			out = append(out, st)
		}
	}
	return out
}

// Stop drains and stops every service, side by side, and returns when nothing is left. When the context ends
// first, what is left is killed, and Stop returns the context's error once that is gone too.
func (s *Supervisor) Stop(ctx context.Context) error {
	actors := s.stopAll(false)
	err := waitAll(ctx, actors)
	if err == nil {
		return nil
	}
	s.stopAll(true)
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.KillLimit)
	defer cancel()
	if waitAll(bound, actors) != nil {
		s.o.Logger.Error("processes outlived SIGKILL")
	}
	return err
}

func (s *Supervisor) stopAll(kill bool) []*actor {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	var actors []*actor
	for _, a := range s.actors {
		a.req = requests{stop: true, kill: kill, waiters: a.req.waiters}
		a.nudge()
		actors = append(actors, a)
	}
	return actors
}

func waitAll(ctx context.Context, actors []*actor) error {
	for _, a := range actors {
		select {
		case <-a.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *Supervisor) change(c Change) {
	if s.o.OnChange != nil {
		s.tell.Lock()
		defer s.tell.Unlock()
		s.o.OnChange(c)
	}
}

func (s *Supervisor) endpoints(service string, ready []Endpoint) {
	if s.o.OnEndpoints != nil {
		s.tell.Lock()
		defer s.tell.Unlock()
		s.o.OnEndpoints(service, ready)
	}
}

func (s *Supervisor) line(l Line) {
	if s.o.OnLine != nil {
		s.lines.Lock()
		defer s.lines.Unlock()
		s.o.OnLine(l)
	}
}
