package replica

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// actor supervises one service: it feeds the machine and does its effects. It lives from the first Apply of
// the service until nothing is left of it.
type actor struct {
	s    *Supervisor
	name string

	wake     chan struct{} // says that req changed
	events   chan result   // what the goroutines of effects report; unbuffered
	done     chan struct{} // closed when run has returned
	snapshot atomic.Pointer[[]entry]

	req       requests // guarded by s.mu
	stopAsked bool     // guarded by s.mu: the service is being stopped
	lastPort  int      // guarded by s.mu: the fixed port of the service applied last

	// What follows belongs to run.
	m           Machine
	running     map[string]*running // by replica
	cancelBuild context.CancelFunc
	buildTail   *tail
	waiters     []chan error
	tasks       sync.WaitGroup
}

// requests is what is asked of an actor and not handled yet.
type requests struct {
	service *Service
	scale   *int
	restart bool
	rebuild bool
	stop    bool
	kill    bool
	waiters []chan error
}

// result is an event, and the process that came with it.
type result struct {
	event   Event
	process Process
}

// running is one run of a replica, from its start on.
type running struct {
	run     int
	process Process // nil until started
	tail    *tail
}

// entry is a replica in a snapshot.
type entry struct {
	s       Status
	process Process
}

func (e entry) status() Status {
	s := e.s
	if e.process != nil {
		u := e.process.Usage()
		s.PID, s.Addr, s.MemoryBytes, s.CPU = e.process.PID(), e.process.Addr(), u.MemoryBytes, u.CPU
	}
	return s
}

func newActor(s *Supervisor, name string) *actor {
	a := &actor{
		s: s, name: name, wake: make(chan struct{}, 1), events: make(chan result), done: make(chan struct{}),
		m: NewMachine(s.o.Policy), running: map[string]*running{}, buildTail: newTail(s.o.TailLines),
	}
	a.snapshot.Store(&[]entry{})
	return a
}

// nudge wakes the actor.
func (a *actor) nudge() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// port is the service's fixed port, as it will be once all requests are handled; s.mu is held.
func (a *actor) port() int {
	if a.req.service != nil {
		return a.req.service.Port
	}
	return a.lastPort
}

func (a *actor) run() {
	defer close(a.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer a.tasks.Wait()
	defer cancel()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if next := a.m.Next(); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case <-a.wake:
			a.serve(ctx)
		case r := <-a.events:
			a.note(r)
			a.step(ctx, r.event)
			a.settle()
		case <-timer.C:
			a.step(ctx, Tick{})
		}
		if a.m.Ended() && a.retire() {
			a.answer(fault.New(fault.CodeReplicaUnknown, "%s was stopped", a.name))
			return
		}
	}
}

// retire takes an actor that has nothing left out of the supervisor, unless it was asked for more.
func (a *actor) retire() bool {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.req.service != nil {
		return false
	}
	delete(a.s.actors, a.name)
	a.waiters = append(a.waiters, a.req.waiters...)
	return true
}

// serve handles what was asked for since the last time.
func (a *actor) serve(ctx context.Context) {
	a.s.mu.Lock()
	req := a.req
	a.req = requests{}
	a.stopAsked = req.stop || a.stopAsked && req.service == nil
	if req.service != nil {
		a.lastPort = req.service.Port
	}
	a.s.mu.Unlock()

	a.waiters = append(a.waiters, req.waiters...)
	if req.service != nil {
		a.step(ctx, Apply{Service: *req.service})
	}
	if req.scale != nil {
		a.step(ctx, Scale{Replicas: *req.scale})
	}
	switch {
	case req.rebuild:
		a.step(ctx, Rebuild{})
	case req.restart:
		a.step(ctx, Restart{})
	}
	if req.stop {
		a.step(ctx, Stop{})
	}
	if req.kill {
		a.step(ctx, KillAll{})
	}
	a.settle()
}

// note keeps what a result says about a process.
func (a *actor) note(r result) {
	switch e := r.event.(type) {
	case Started:
		if run := a.find(e.Replica, e.Run); run != nil {
			run.process = r.process
		}
	case StartFailed:
		a.forget(e.Replica, e.Run)
	case Exited:
		a.forget(e.Replica, e.Run)
	}
}

func (a *actor) find(id string, run int) *running {
	if r := a.running[id]; r != nil && r.run == run {
		return r
	}
	return nil
}

// forget drops the process of a run that is over. Its tail is kept for the report of the crash.
func (a *actor) forget(id string, run int) {
	if r := a.find(id, run); r != nil {
		r.process = nil
	}
}

func (a *actor) step(ctx context.Context, e Event) {
	m, effects := a.m.Step(time.Now(), a.s.o.Jitter(), e)
	a.m = m
	a.publish()
	var failed error
	for _, f := range effects {
		if r, ok := f.(DoReport); ok && r.Current && r.Change.To == Crashed {
			failed = r.Change.Fault
		}
		a.do(ctx, f)
	}
	a.publish() // with the processes as they are after the effects
	if failed != nil {
		a.answer(failed)
	}
}

// settle answers those who wait, if all is as it should be.
func (a *actor) settle() {
	if len(a.waiters) > 0 && a.m.Settled() {
		a.answer(nil)
	}
}

func (a *actor) answer(err error) {
	for _, w := range a.waiters {
		w <- err // has room for one
	}
	a.waiters = nil
}

// publish makes the snapshot that Status reads.
func (a *actor) publish() {
	list := a.m.Status()
	entries := make([]entry, len(list))
	for i, st := range list {
		entries[i] = entry{s: st}
		if r := a.running[st.Replica]; r != nil {
			entries[i].process = r.process
		}
	}
	a.snapshot.Store(&entries)
}

func (a *actor) do(ctx context.Context, f Effect) {
	switch f := f.(type) {
	case DoBuild:
		a.build(ctx, f.Service)
	case DoCancelBuild:
		if a.cancelBuild != nil {
			a.cancelBuild()
		}
	case DoStart:
		a.start(ctx, f)
	case DoProbe:
		a.probe(ctx, f)
	case DoPublish:
		a.s.endpoints(a.name, a.endpoints(f.Ready))
	case DoDrain:
		a.drain(ctx, f)
	case DoTerminate:
		a.signal(f.Replica, f.Run, Process.Terminate)
	case DoKill:
		a.signal(f.Replica, f.Run, Process.Kill)
	case DoReport:
		a.report(f.Change)
	}
}

// post hands a result to the actor, unless that has ended.
func (a *actor) post(ctx context.Context, r result) {
	select {
	case a.events <- r:
	case <-ctx.Done():
	}
}

func (a *actor) build(ctx context.Context, svc Service) {
	buildCtx, cancel := context.WithCancel(ctx)
	a.cancelBuild = cancel
	a.buildTail = newTail(a.s.o.TailLines)
	lines := a.buildTail
	a.tasks.Go(func() {
		defer cancel()
		err := a.buildInTurn(buildCtx, svc, lines)
		a.post(ctx, result{event: Built{Fault: asFault(err, fault.CodeReplicaBuildFailed, svc.Name+" cannot be built")}})
	})
}

// buildInTurn waits for a token, then builds. Its context ends when the build is cancelled.
func (a *actor) buildInTurn(ctx context.Context, svc Service, lines *tail) error {
	select {
	case a.s.builds <- struct{}{}:
		defer func() { <-a.s.builds }()
	case <-ctx.Done():
		return ctx.Err()
	}
	a.post(ctx, result{event: BuildBegun{}})
	return a.s.driver.Build(ctx, BuildSpec{
		Service: svc.Name, Dir: svc.Dir, Command: svc.Build, Env: svc.BuildEnv,
		Output: func(l Line) {
			lines.add(l)
			a.s.line(l)
		},
	})
}

// environOf is the environment of one replica.
func environOf(s *Service, replica string) []string {
	env := slices.Clone(s.Env)
	for i := range env {
		env[i] = strings.ReplaceAll(env[i], NameInEnv, replica)
	}
	return append(env, "ATOLL_REPLICA="+replica)
}

func (a *actor) start(ctx context.Context, f DoStart) {
	r := &running{run: f.Run, tail: newTail(a.s.o.TailLines)}
	a.running[f.Replica] = r
	spec := Spec{
		Service: f.Service.Name, Replica: f.Replica, Version: f.Service.Version, Dir: f.Service.Dir, Run: f.Service.Run,
		Env:  environOf(&f.Service, f.Replica),
		Port: f.Service.Port, Protocol: f.Service.Protocol, Ready: f.Service.Ready, Limits: f.Service.Limits,
		Output: func(l Line) {
			r.tail.add(l)
			a.s.line(l)
		},
	}
	a.tasks.Go(func() {
		p, err := a.s.driver.Start(ctx, spec)
		if err != nil {
			a.post(ctx, result{event: StartFailed{
				Replica: f.Replica, Run: f.Run,
				Fault: asFault(err, fault.CodeReplicaStart, f.Replica+" cannot be started"),
			}})
			return
		}
		a.post(ctx, result{event: Started{Replica: f.Replica, Run: f.Run}, process: p})
		<-p.Done()
		a.post(ctx, result{event: Exited{Replica: f.Replica, Run: f.Run, Exit: p.Exit()}})
	})
}

func (a *actor) probe(ctx context.Context, f DoProbe) {
	r := a.find(f.Replica, f.Run)
	if r == nil || r.process == nil {
		return
	}
	p := r.process
	a.tasks.Go(func() {
		bound, cancel := context.WithTimeout(ctx, a.s.o.ProbeTimeout)
		defer cancel()
		event := Probed{Replica: f.Replica, Run: f.Run}
		if err := p.Probe(bound); err != nil {
			event.Err = err.Error()
		}
		a.post(ctx, result{event: event})
	})
}

func (a *actor) drain(ctx context.Context, f DoDrain) {
	a.tasks.Go(func() {
		bound, cancel := context.WithTimeout(ctx, a.s.o.DrainLimit)
		defer cancel()
		if a.s.o.Drain != nil {
			if err := a.s.o.Drain(bound, a.name, f.Replica); err != nil && ctx.Err() == nil {
				a.s.o.Logger.Warn("a replica is ended with requests in flight", "service", a.name, "replica", f.Replica, "error", err)
			}
		}
		a.post(ctx, result{event: Drained(f)})
	})
}

func (a *actor) signal(id string, run int, send func(Process) error) {
	r := a.find(id, run)
	if r == nil || r.process == nil {
		return
	}
	if err := send(r.process); err != nil {
		a.s.o.Logger.Error("a process could not be signalled", "service", a.name, "replica", id, "error", err)
	}
}

func (a *actor) endpoints(ready []Serving) []Endpoint {
	out := make([]Endpoint, 0, len(ready))
	for _, s := range ready {
		if r := a.find(s.Replica, s.Run); r != nil && r.process != nil {
			out = append(out, Endpoint{
				ID: s.Replica, Service: a.name, Version: s.Version, Addr: r.process.Addr(), Dial: r.process.Dial,
			})
		}
	}
	return out
}

// report tells a change, with the last lines if it is a crash.
func (a *actor) report(c Change) {
	if c.To == Crashed {
		switch r := a.running[c.Replica]; {
		case c.From == Pending || c.From == Building:
			c.Tail = a.buildTail.last()
		case r != nil:
			c.Tail = r.tail.last()
		}
	}
	if c.To == Stopped {
		delete(a.running, c.Replica)
	}
	a.s.change(c)
}

// asFault is err as a fault: the one in it, or one of the given code and text that hides it.
func asFault(err error, code fault.Code, text string) *fault.Error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	return fault.New(code, "%s", text).Because(err).
		Fix("Atoll's own log holds the operating system's reason")
}
