package replica

import (
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

// forgive forgets the crashes.
func (c *slot) forgive() {
	c.crashes, c.inARow, c.looping, c.portTries = nil, 0, false, 0
}

// start asks for a process.
func (s *step) start(c *slot) {
	c.run++
	c.process = processWanted
	c.served, c.probing, c.failures, c.readyIn = false, false, 0, 0
	c.startedAt, c.retryAt, c.probeAt = s.at, time.Time{}, time.Time{}
	c.startBy = time.Time{}
	if c.svc.StartLimit > 0 {
		c.startBy = s.at.Add(c.svc.StartLimit)
	}
	s.enter(c, Starting, "")
	s.do(DoStart{Replica: c.id, Run: c.run, Service: c.svc})
}

func (s *step) started(c *slot) {
	if c.process != processWanted {
		return
	}
	c.process = processRunning
	switch {
	case c.removing:
		s.terminate(c)
	case c.state == Crashed: // its start took longer than start_limit
		s.kill(c)
	default:
		c.probeGap = s.m.policy.ProbeMin
		c.probeAt = s.at.Add(c.probeGap)
	}
}

func (s *step) startFailed(c *slot, f *fault.Error) {
	c.process = processNone
	switch {
	case c.removing: // reconcile takes it away
	case c.state == Crashed:
		s.backOff(c)
	default:
		s.crash(c, crash{fault: f, final: permanent(f)})
	}
}

// permanent tells whether trying again can never help.
func permanent(f *fault.Error) bool {
	switch f.Code {
	case fault.CodeReplicaProgramMissing, fault.CodeReplicaFolderMissing, fault.CodeReplicaCommand:
		return true
	default:
		return false
	}
}

func (s *step) probed(c *slot, err string) {
	c.probing = false
	switch c.state {
	case Starting:
		s.probedStarting(c, err)
	case Ready, Unready:
		s.probedLater(c, err)
	default: // it is ending: the answer does not matter any more
	}
}

func (s *step) probedStarting(c *slot, err string) {
	if err == "" {
		c.readyIn = s.at.Sub(c.startedAt)
		c.portTries = 0
		s.ready(c)
		return
	}
	c.reason = err
	c.probeGap = min(c.probeGap*3/2, s.m.policy.ProbeMax)
	c.probeAt = s.at.Add(c.probeGap)
}

func (s *step) probedLater(c *slot, err string) {
	c.probeAt = s.at.Add(s.m.policy.ProbeEvery)
	if err == "" {
		c.failures = 0
		if c.state == Unready {
			s.ready(c)
		}
		return
	}
	c.failures++
	if c.failures >= s.m.policy.UnreadyAfter {
		s.enter(c, Unready, err)
	}
}

// ready makes a replica serve. A TCP replica is not asked again: all that could be learned is that the
// process ended, which is seen at once anyway.
func (s *step) ready(c *slot) {
	c.served, c.failures, c.fault = true, 0, nil
	c.startBy, c.probeAt = time.Time{}, time.Time{}
	if c.gen == s.m.gen {
		s.m.failing = false
	}
	if c.svc.Ready.Kind != manifest.ReadyTCP {
		c.probeAt = s.at.Add(s.m.policy.ProbeEvery)
	}
	s.enterWith(c, Ready, "", func(ch *Change) { ch.ReadyIn = c.readyIn })
}

func (s *step) exited(c *slot, exit Exit) {
	stable := c.served && s.at.Sub(c.readySince()) >= s.m.policy.Stable
	c.process = processNone
	c.lastExit = &exit
	c.probeAt, c.startBy, c.killAt = time.Time{}, time.Time{}, time.Time{}
	if stable {
		c.forgive()
	}
	switch {
	case c.removing: // reconcile takes it away
	case c.state == Crashed:
		s.backOff(c)
	case exit.PortTaken && !c.served && c.svc.Port == 0 && c.portTries < s.m.policy.PortTries:
		c.portTries++
		s.start(c)
	default:
		s.crash(c, crash{exit: &exit, fault: s.exitFault(c, exit)})
	}
}

// readySince is when the replica first became ready in this run.
func (c *slot) readySince() time.Time { return c.startedAt.Add(c.readyIn) }

func (s *step) exitFault(c *slot, exit Exit) *fault.Error {
	switch {
	case exit.PortTaken && !c.served && c.svc.Port != 0:
		return fault.New(fault.CodeReplicaPortTaken, "%s ended because its port %d is taken by another program", c.id, c.svc.Port).
			Fix("end the program that listens on port %d (`ss -ltnp` names it), or change port: in the manifest of %s", c.svc.Port, c.svc.Name)
	case exit.OutOfMemory:
		return fault.New(fault.CodeReplicaOutOfMemory, "%s was %s (%d bytes)", c.id, exit, c.svc.Limits.Memory).
			Fix("raise limits: {memory: …} in the manifest of %s, or find out what needs the memory", c.svc.Name)
	case c.served:
		return fault.New(fault.CodeReplicaCrashed, "%s ended by itself: %s", c.id, exit).
			Fix("read its last lines: atoll logs %s", c.svc.Name)
	default:
		return fault.New(fault.CodeReplicaCrashed, "%s ended before it was ready: %s", c.id, exit).
			Fix("read its last lines: atoll logs %s", c.svc.Name)
	}
}

// crash is what is known of one.
type crash struct {
	exit  *Exit
	fault *fault.Error
	final bool
}

// crash handles an end that nobody asked for. The replica backs off once its process has ended, unless
// trying again is useless.
func (s *step) crash(c *slot, k crash) {
	c.fault = k.fault
	if c.gen == s.m.gen && !c.served {
		s.m.failing = true
	}
	loop := s.countCrash(c, k.final)
	reason := k.fault.Text + s.keepers(c)
	if loop {
		k.fault = fault.New(fault.CodeReplicaCrashLoop, "%s crashes again and again (%d times within %s); the last time: %s",
			c.id, s.m.policy.LoopCount, s.m.policy.LoopWindow, k.fault.Text).Fix("%s", k.fault.Remedy)
	}
	s.enterWith(c, Crashed, reason, func(ch *Change) {
		ch.Exit, ch.Fault, ch.Loop, ch.Final = k.exit, k.fault, loop, k.final
	})
	if c.process == processNone && !k.final {
		s.backOff(c)
	}
}

// countCrash counts one and tells whether it makes a crash loop that was not told yet.
func (s *step) countCrash(c *slot, final bool) bool {
	if final {
		return false
	}
	c.inARow++
	recent := c.crashes[:0]
	for _, t := range c.crashes {
		if s.at.Sub(t) < s.m.policy.LoopWindow {
			recent = append(recent, t)
		}
	}
	c.crashes = append(recent, s.at)
	if len(c.crashes) < s.m.policy.LoopCount || c.looping {
		return false
	}
	c.looping = true
	return true
}

func (s *step) backOff(c *slot) {
	delay := s.m.policy.backoff(c.inARow-1, s.jitter)
	c.retryAt = s.at.Add(delay)
	s.enterWith(c, BackingOff, c.reason, func(ch *Change) { ch.RetryIn = delay })
}

// due does what the time has come for.
func (s *step) due() {
	for i := range s.m.slots {
		c := &s.m.slots[i]
		if s.passed(&c.killAt) {
			s.kill(c)
		}
		if s.passed(&c.startBy) && c.state == Starting {
			s.tooLate(c)
		}
		if s.passed(&c.probeAt) && !c.probing && c.process == processRunning {
			c.probing = true
			s.do(DoProbe{Replica: c.id, Run: c.run})
		}
		if s.passed(&c.retryAt) && c.state == BackingOff {
			c.restarts++
			s.start(c)
		}
	}
}

// passed tells whether a deadline has come, and clears it then.
func (s *step) passed(t *time.Time) bool {
	if t.IsZero() || t.After(s.at) {
		return false
	}
	*t = time.Time{}
	return true
}

// tooLate crashes a replica that was not ready in time.
func (s *step) tooLate(c *slot) {
	f := fault.New(fault.CodeReplicaNotReady, "%s was not ready within %s", c.id, c.svc.StartLimit)
	if c.reason != "" {
		f = fault.New(fault.CodeReplicaNotReady, "%s was not ready within %s: %s", c.id, c.svc.StartLimit, c.reason)
	}
	s.crash(c, crash{fault: f.Fix("check ready: and PORT in %s, or raise start_limit in its manifest", c.svc.Name)})
	if c.process == processRunning {
		s.kill(c)
	}
}

// remove ends a replica for good: drained if it served, then terminated, then killed.
func (s *step) remove(c *slot, reason string) {
	if c.removing {
		return
	}
	c.removing = true
	c.startBy, c.probeAt, c.retryAt = time.Time{}, time.Time{}, time.Time{}
	if c.process == processNone || c.state == Crashed { // gone, or killed already
		return
	}
	s.enter(c, Draining, reason)
	switch {
	case c.process == processWanted: // started terminates it
	case c.served:
		s.do(DoDrain{Replica: c.id, Run: c.run})
	default:
		s.terminate(c)
	}
}

func (s *step) drained(c *slot) {
	if c.removing && c.process == processRunning {
		s.terminate(c)
	}
}

func (s *step) terminate(c *slot) {
	if s.m.killing {
		s.kill(c)
		return
	}
	c.process = processEnding
	c.killAt = s.at.Add(c.svc.Grace)
	s.do(DoTerminate{Replica: c.id, Run: c.run})
}

func (s *step) kill(c *slot) {
	c.process = processEnding
	c.probeAt, c.killAt = time.Time{}, time.Time{}
	s.do(DoKill{Replica: c.id, Run: c.run})
}
