package replica

import (
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Event is something that happened to a service, or is asked of it.
type Event interface{ event() }

// The events that come from outside.
type (
	// Apply is the service as it should be from now on.
	Apply struct{ Service Service }
	// Scale is how many replicas there should be, until the manifest says another number than now.
	Scale struct{ Replicas int }
	// Restart replaces every replica.
	Restart struct{}
	// Rebuild builds, then replaces every replica.
	Rebuild struct{}
	// Stop ends every replica and the build.
	Stop struct{}
	// KillAll kills every process of a service that is being stopped.
	KillAll struct{}
	// Tick says that the time of Machine.Next has come.
	Tick struct{}
)

// The events that answer effects. Those of a replica name the run that they belong to: the count of its
// starts. What belongs to an earlier run is ignored.
type (
	// BuildBegun says that the build got its turn.
	BuildBegun struct{}
	// Built says that the build ended, well if Fault is nil.
	Built struct{ Fault *fault.Error }
	// Started says that the process runs.
	Started struct {
		Replica string
		Run     int
	}
	// StartFailed says that there is no process.
	StartFailed struct {
		Replica string
		Run     int
		Fault   *fault.Error
	}
	// Probed says that the replica is ready if Err is "", else why not.
	Probed struct {
		Replica string
		Run     int
		Err     string
	}
	// Drained says that the relay has nothing in flight there any more, or waited long enough.
	Drained struct {
		Replica string
		Run     int
	}
	// Exited says that the process has ended.
	Exited struct {
		Replica string
		Run     int
		Exit    Exit
	}
)

func (Apply) event()       {}
func (Scale) event()       {}
func (Restart) event()     {}
func (Rebuild) event()     {}
func (Stop) event()        {}
func (KillAll) event()     {}
func (Tick) event()        {}
func (BuildBegun) event()  {}
func (Built) event()       {}
func (Started) event()     {}
func (StartFailed) event() {}
func (Probed) event()      {}
func (Drained) event()     {}
func (Exited) event()      {}

// Effect is something to be done. Effects are done in the order in which Step returned them.
type Effect interface{ effect() }

// The effects.
type (
	// DoBuild runs the build; answered by BuildBegun and Built.
	DoBuild struct{ Service Service }
	// DoCancelBuild ends the build early: the service is stopped, or is built in another way by now. Built
	// still follows.
	DoCancelBuild struct{}
	// DoStart starts a process; answered by Started and, in the end, Exited, or by StartFailed.
	DoStart struct {
		Replica string
		Run     int
		Service Service
	}
	// DoProbe asks whether a replica is ready; answered by Probed.
	DoProbe struct {
		Replica string
		Run     int
	}
	// DoPublish makes exactly these replicas known as those that serve.
	DoPublish struct{ Ready []Serving }
	// DoDrain waits until nothing is in flight to a replica; answered by Drained.
	DoDrain struct {
		Replica string
		Run     int
	}
	// DoTerminate asks a process to end, DoKill ends it.
	DoTerminate struct {
		Replica string
		Run     int
	}
	// DoKill ends a process and everything that it started.
	DoKill struct {
		Replica string
		Run     int
	}
	// DoReport tells a change; the shell adds the last lines of output to a crash. Current is true if the
	// replica is of the newest generation.
	DoReport struct {
		Change  Change
		Current bool
	}
)

// Serving is a replica that serves, and which of its runs.
type Serving struct {
	Replica string
	Run     int
	Version string
}

func (DoBuild) effect()       {}
func (DoCancelBuild) effect() {}
func (DoStart) effect()       {}
func (DoProbe) effect()       {}
func (DoPublish) effect()     {}
func (DoDrain) effect()       {}
func (DoTerminate) effect()   {}
func (DoKill) effect()        {}
func (DoReport) effect()      {}

// Policy is how a machine decides; the zero value means the defaults named at each field.
type Policy struct {
	BackoffMin time.Duration // bound of the first delay after a crash; 100 ms
	BackoffMax time.Duration // largest bound; 30 s
	Stable     time.Duration // ready for so long makes crashes forgotten; 30 s
	LoopCount  int           // so many crashes...; 5
	LoopWindow time.Duration // ...in this time are a crash loop; 60 s

	ProbeMin     time.Duration // first delay between probes of a starting replica; 10 ms
	ProbeMax     time.Duration // largest; 1 s
	ProbeEvery   time.Duration // between probes of a replica that has been ready; 1 s
	UnreadyAfter int           // so many failed probes in a row make a replica unready; 3

	PortTries int // ports tried when the one that was picked is taken; 5
}

func (p Policy) withDefaults() Policy {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	count := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	def(&p.BackoffMin, 100*time.Millisecond)
	def(&p.BackoffMax, 30*time.Second)
	def(&p.Stable, 30*time.Second)
	count(&p.LoopCount, 5)
	def(&p.LoopWindow, time.Minute)
	def(&p.ProbeMin, 10*time.Millisecond)
	def(&p.ProbeMax, time.Second)
	def(&p.ProbeEvery, time.Second)
	count(&p.UnreadyAfter, 3)
	count(&p.PortTries, 5)
	return p
}

// backoff is the delay after the given number of crashes in a row (from 0): jitter, in [0, 1), of a bound
// that doubles. Full jitter after "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
func (p Policy) backoff(crashes int, jitter float64) time.Duration {
	bound := p.BackoffMin
	for range crashes {
		if bound >= p.BackoffMax/2 {
			bound = p.BackoffMax
			break
		}
		bound *= 2
	}
	return time.Duration(jitter * float64(bound))
}
