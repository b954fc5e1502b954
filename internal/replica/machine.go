package replica

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Machine is everything that is decided about one service: a value, of which Step makes the next one.
//
// Its replicas are slots. Each belongs to a generation; a new generation begins with everything that makes
// replicas out of date (a changed service, Restart, Rebuild). After each event the machine compares what it
// has with what it should have, and starts or ends replicas one step closer to that (reconcile.go).
type Machine struct {
	policy   Policy
	service  Service
	want     int // replicas
	gen      int
	build    buildState
	again    bool // build once more when the one that runs has ended
	cancels  bool // the build that runs was told to end
	fault    *fault.Error
	failing  bool // a replica of this generation crashed, and none has been ready yet
	stopping bool
	killing  bool // there is no time for a grace any more
	slots    []slot
}

type buildState int

const (
	buildOK      buildState = iota // nothing to build, or built
	buildQueued                    // asked for
	buildRunning                   // got its turn
	buildFailed
)

// slot is one replica. It keeps its ID through crashes.
type slot struct {
	id       string
	number   int
	gen      int
	run      int     // counts starts
	svc      Service // what its process was or will be started from
	state    State
	since    time.Time
	process  processPhase
	removing bool // is being ended for good
	served   bool // was ready in this run, so something may be in flight to it

	startedAt time.Time
	startBy   time.Time // crashes if it is not ready by then
	probeAt   time.Time
	probing   bool
	probeGap  time.Duration
	failures  int // failed probes in a row
	retryAt   time.Time
	killAt    time.Time

	crashes   []time.Time // within the loop window
	inARow    int         // crashes since it was stable
	looping   bool        // said already
	portTries int
	restarts  int

	readyIn  time.Duration
	reason   string
	fault    *fault.Error
	lastExit *Exit
}

type processPhase int

const (
	processNone    processPhase = iota
	processWanted               // a start was asked for
	processRunning              //
	processEnding               // was told to end
)

// NewMachine returns the machine of a service that nothing is known of yet.
func NewMachine(p Policy) Machine { return Machine{policy: p.withDefaults()} }

// Step handles one event that happened at the given time and returns the machine after it and what is to be
// done. Jitter is a fresh random number in [0, 1). The machine that Step is called on does not change.
func (m Machine) Step(at time.Time, jitter float64, e Event) (Machine, []Effect) {
	m.slots = slices.Clone(m.slots)
	for i := range m.slots {
		m.slots[i].crashes = slices.Clone(m.slots[i].crashes)
	}
	s := step{m: m, at: at, jitter: jitter}
	before := m.Serving()
	s.handle(e)
	s.due()
	s.reconcile()
	if after := s.m.Serving(); !slices.Equal(before, after) {
		s.effects = slices.Insert(s.effects, 0, Effect(DoPublish{Ready: after}))
	}
	return s.m, s.effects
}

// Next is when the machine wants a Tick; zero means never.
func (m Machine) Next() time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, c := range m.slots {
		sooner(c.probeAt)
		sooner(c.startBy)
		sooner(c.retryAt)
		sooner(c.killAt)
	}
	return next
}

// Serving is the replicas that serve.
func (m Machine) Serving() []Serving {
	var out []Serving
	for _, c := range m.slots {
		if c.state == Ready {
			out = append(out, Serving{Replica: c.id, Run: c.run, Version: c.svc.Version})
		}
	}
	return out
}

// Ended tells whether the service was stopped and nothing is left of it.
func (m Machine) Ended() bool {
	return m.stopping && len(m.slots) == 0 && !m.buildActive()
}

// Settled tells whether everything is as it should be: the wanted number of replicas of the newest
// generation is ready, and no other serves.
func (m Machine) Settled() bool {
	ready := 0
	for _, c := range m.slots {
		switch {
		case c.removing:
		case c.gen == m.gen && c.state == Ready:
			ready++
		default:
			return false
		}
	}
	return ready == m.want && !m.buildActive()
}

// Status is how each replica stands; what only the driver knows (PID, Addr, usage) is left out.
func (m Machine) Status() []Status {
	out := make([]Status, len(m.slots))
	for i, c := range m.slots {
		out[i] = Status{
			Service: m.service.Name, Replica: c.id, State: c.state, Version: c.svc.Version, Restarts: c.restarts,
			Since: c.since, ReadyIn: c.readyIn, Reason: c.reason, Fault: c.fault, LastExit: c.lastExit,
			Looping: c.looping,
		}
		if c.process != processNone && c.served {
			out[i].Served = c.readySince()
		}
	}
	return out
}

func (m Machine) buildActive() bool { return m.build == buildQueued || m.build == buildRunning }

// step is one Step under way.
type step struct {
	m       Machine
	at      time.Time
	jitter  float64
	effects []Effect
}

func (s *step) do(e Effect) { s.effects = append(s.effects, e) }

func (s *step) handle(e Event) {
	switch e := e.(type) {
	case Apply:
		s.apply(e.Service)
	case Scale:
		s.m.want = s.m.service.most(e.Replicas)
	case Restart:
		s.renew(false)
	case Rebuild:
		s.renew(true)
	case Stop:
		s.stop()
	case KillAll:
		s.killAll()
	case Tick: // due does it
	case BuildBegun:
		s.buildBegun()
	case Built:
		s.built(e.Fault)
	case Started:
		s.with(e.Replica, e.Run, s.started)
	case StartFailed:
		s.with(e.Replica, e.Run, func(c *slot) { s.startFailed(c, e.Fault) })
	case Probed:
		s.with(e.Replica, e.Run, func(c *slot) { s.probed(c, e.Err) })
	case Drained:
		s.with(e.Replica, e.Run, s.drained)
	case Exited:
		s.with(e.Replica, e.Run, func(c *slot) { s.exited(c, e.Exit) })
	}
}

// with calls f with the slot whose run it is, if it is still there.
func (s *step) with(id string, run int, f func(*slot)) {
	for i := range s.m.slots {
		if c := &s.m.slots[i]; c.id == id && c.run == run && c.process != processNone {
			f(c)
			return
		}
	}
}

// apply takes the service as it should be, and begins a new generation if the replicas are out of date or
// some are crashed.
func (s *step) apply(svc Service) {
	old, first := s.m.service, s.m.gen == 0 || s.m.stopping
	s.m.service, s.m.stopping, s.m.killing = svc, false, false
	if first || svc.Replicas != old.Replicas {
		s.m.want = svc.Replicas
	}
	s.m.want = svc.most(s.m.want)
	down := slices.ContainsFunc(s.m.slots, func(c slot) bool { return c.state == Crashed || c.state == BackingOff })
	switch {
	case first || !svc.sameBuild(old):
		s.cancelBuild() // what it makes is of no use any more, and it may never end
		s.renew(true)
	case !svc.sameProcess(old) || down:
		s.renew(false)
	default:
		for i := range s.m.slots {
			if c := &s.m.slots[i]; c.gen == s.m.gen {
				c.svc = svc
			}
		}
	}
}

// renew begins a generation. Replicas without a process join it, as they have nothing to lose; the others
// are replaced as reconcile sees fit.
func (s *step) renew(build bool) {
	if s.m.stopping {
		return
	}
	s.m.gen++
	s.m.failing = false
	switch {
	case s.m.service.Build == "" && !s.m.buildActive():
		s.m.build = buildOK
	case build && s.m.buildActive():
		s.m.again = true
	case build || s.m.build == buildFailed:
		s.m.build, s.m.fault = buildQueued, nil
		s.do(DoBuild{Service: s.m.service})
	}
	for i := range s.m.slots {
		c := &s.m.slots[i]
		if c.process != processNone || c.removing {
			continue
		}
		c.gen, c.svc = s.m.gen, s.m.service
		c.forgive()
		c.retryAt = time.Time{}
		if c.state != Pending && c.state != Building {
			s.enter(c, Pending, "")
		}
	}
}

func (s *step) stop() {
	s.m.stopping, s.m.again = true, false
	s.cancelBuild()
}

// cancelBuild ends the build that runs or waits for its turn, if there is one. Built tells when it has ended.
func (s *step) cancelBuild() {
	if s.m.buildActive() && !s.m.cancels {
		s.m.cancels = true
		s.do(DoCancelBuild{})
	}
}

func (s *step) killAll() {
	s.m.killing = true
	for i := range s.m.slots {
		c := &s.m.slots[i]
		if c.process == processRunning || c.process == processEnding {
			s.enter(c, Draining, "killed: the time to stop is over")
			s.kill(c)
		}
	}
}

func (s *step) buildBegun() {
	if s.m.build != buildQueued {
		return
	}
	s.m.build = buildRunning
	for i := range s.m.slots {
		if c := &s.m.slots[i]; c.state == Pending && c.gen == s.m.gen {
			s.enter(c, Building, "")
		}
	}
}

func (s *step) built(f *fault.Error) {
	if !s.m.buildActive() {
		return
	}
	s.m.cancels = false
	switch {
	case s.m.stopping:
		s.m.build = buildFailed // it was cancelled: what comes next builds again
	case s.m.service.Build == "":
		s.m.again, s.m.build = false, buildOK
	case s.m.again:
		s.m.again, s.m.build = false, buildQueued
		s.do(DoBuild{Service: s.m.service})
	case f == nil:
		s.m.build = buildOK
	default:
		s.m.build, s.m.fault = buildFailed, f
		s.buildFailed()
	}
}

// buildFailed crashes the replicas that wait for the build; whatever serves goes on.
func (s *step) buildFailed() {
	told := false
	for i := range s.m.slots {
		if c := &s.m.slots[i]; c.state == Pending || c.state == Building {
			s.crash(c, crash{fault: s.m.fault, final: true})
			told = true
		}
	}
	if !told {
		s.do(DoReport{Current: true, Change: Change{
			Time: s.at, Service: s.m.service.Name, Version: s.m.service.Version,
			From: Building, To: Crashed, Reason: s.m.fault.Text, Fault: s.m.fault, Final: true,
		}})
	}
}

// enter puts a slot into a state and reports it.
func (s *step) enter(c *slot, to State, reason string) { s.enterWith(c, to, reason, nil) }

func (s *step) enterWith(c *slot, to State, reason string, add func(*Change)) {
	from := c.state
	c.reason = reason
	if from == to {
		return
	}
	c.state, c.since = to, s.at
	change := Change{
		Time: s.at, Service: s.m.service.Name, Replica: c.id, Version: c.svc.Version,
		From: from, To: to, Reason: reason, Restarts: c.restarts,
	}
	if add != nil {
		add(&change)
	}
	s.do(DoReport{Change: change, Current: c.gen == s.m.gen})
}

// keepers names the replicas that serve, apart from c, as the end of a sentence.
func (s *step) keepers(c *slot) string {
	var ids []string
	for _, o := range s.m.slots {
		if o.state == Ready && o.id != c.id {
			ids = append(ids, o.id)
		}
	}
	switch len(ids) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("; %s goes on serving", ids[0])
	default:
		return fmt.Sprintf("; %s go on serving", strings.Join(ids, ", "))
	}
}
