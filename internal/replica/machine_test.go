package replica_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/replica"
)

// world is a deliberately dumb oracle: it plays the shell, keeps what really exists in plain maps, and
// complains about every effect that must not happen.
type world struct {
	t interface {
		Fatalf(format string, args ...any)
		Helper()
	}
	m       replica.Machine
	now     time.Time
	procs   map[run]*proc
	served  map[string]int // replica -> run, as published
	build   *build         // the one that runs
	applied replica.Service
	svc     replica.Service
	stopped bool
	log     []string
}

// build is one that was asked for and has not ended.
type build struct {
	command   string
	hangs     bool // ends only when it is cancelled
	cancelled bool
}

type run struct {
	replica string
	n       int
}

type proc struct {
	started, draining, drained, terminated, killed, wasServed, probing bool
	port                                                               int
}

func newWorld(t interface {
	Fatalf(format string, args ...any)
	Helper()
},
) *world {
	return &world{
		t: t, m: replica.NewMachine(replica.Policy{}), now: time.Unix(1e9, 0), procs: map[run]*proc{}, served: map[string]int{},
		svc: replica.Service{
			Name: "orders", Replicas: 2, Grace: 10 * time.Second, StartLimit: time.Minute,
			Ready: manifest.Readiness{Kind: manifest.ReadyHTTP, Path: "/"},
		},
	}
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\nhistory:\n%s", fmt.Sprintf(format, args...), joinLines(w.log))
}

func joinLines(lines []string) string {
	var out string
	for _, l := range lines[max(0, len(lines)-60):] {
		out += "  " + l + "\n"
	}
	return out
}

func (w *world) step(e replica.Event) {
	w.log = append(w.log, fmt.Sprintf("%s %T%+v", w.now.Format("05.000"), e, e))
	switch e := e.(type) {
	case replica.Apply:
		w.applied, w.stopped = e.Service, false
	case replica.Stop:
		w.stopped = true
	}
	before := w.m
	statusBefore := fmt.Sprint(before.Status())
	m, effects := w.m.Step(w.now, 0.5, e)
	if got := fmt.Sprint(before.Status()); got != statusBefore {
		w.fail("Step changed the machine that it was called on:\n%s\n%s", statusBefore, got)
	}
	w.m = m
	for _, f := range effects {
		w.log = append(w.log, fmt.Sprintf("    -> %T%+v", f, f))
		w.check(f)
	}
	w.invariants()
}

func (w *world) check(f replica.Effect) {
	switch f := f.(type) {
	case replica.DoBuild:
		if w.build != nil {
			w.fail("two builds at a time")
		}
		w.build = &build{command: f.Service.Build}
	case replica.DoCancelBuild:
		if w.build == nil || w.build.cancelled {
			w.fail("there is no build to cancel, or it is cancelled already")
		}
		w.build.cancelled = true
	case replica.DoStart:
		for r, p := range w.procs {
			if r.replica == f.Replica {
				w.fail("%s is started while its run %d lives", f.Replica, r.n)
			}
			if p.port != 0 && p.port == f.Service.Port {
				w.fail("%s is started on port %d, which %s holds", f.Replica, p.port, r.replica)
			}
		}
		w.procs[run{f.Replica, f.Run}] = &proc{port: f.Service.Port}
	case replica.DoPublish:
		w.served = map[string]int{}
		for _, s := range f.Ready {
			p := w.procs[run{s.Replica, s.Run}]
			if p == nil || !p.started || p.draining || p.terminated || p.killed {
				w.fail("%s run %d is published but does not run", s.Replica, s.Run)
			}
			p.wasServed = true
			w.served[s.Replica] = s.Run
		}
	case replica.DoDrain:
		if w.served[f.Replica] == f.Run {
			w.fail("%s is drained before it was withdrawn", f.Replica)
		}
		w.get(f.Replica, f.Run).draining = true
	case replica.DoTerminate:
		p := w.get(f.Replica, f.Run)
		if p.wasServed && !p.drained {
			w.fail("%s served, and is terminated before it was drained", f.Replica)
		}
		if p.terminated {
			w.fail("%s is terminated twice", f.Replica)
		}
		p.terminated = true
	case replica.DoKill:
		w.get(f.Replica, f.Run).killed = true
	case replica.DoProbe:
		p := w.get(f.Replica, f.Run)
		if p.probing {
			w.fail("%s is probed twice at a time", f.Replica)
		}
		p.probing = true
	}
}

func (w *world) get(id string, n int) *proc {
	p := w.procs[run{id, n}]
	if p == nil || !p.started {
		w.fail("effect on %s run %d, which is no process", id, n)
	}
	return p
}

func (w *world) invariants() {
	for id, n := range w.served {
		if w.procs[run{id, n}] == nil {
			w.fail("%s run %d is published, but it has ended", id, n)
		}
	}
	if w.m.Ended() && (len(w.procs) > 0 || w.build != nil) {
		w.fail("the machine has ended, processes have not")
	}
	if w.build != nil && !w.build.cancelled && (w.stopped || w.build.command != w.applied.Build) {
		w.fail("%q is still built, stopped: %t, wanted: %q", w.build.command, w.stopped, w.applied.Build)
	}
	var ids []string
	for _, s := range w.m.Status() {
		ids = append(ids, s.Replica)
	}
	slices.Sort(ids)
	if len(slices.Compact(slices.Clone(ids))) != len(ids) {
		w.fail("two replicas have one name: %v", ids)
	}
}

// answers lists what could happen next from outside: each is one event.
func (w *world) answers() []replica.Event {
	var out []replica.Event
	keys := make([]run, 0, len(w.procs))
	for r := range w.procs {
		keys = append(keys, r)
	}
	slices.SortFunc(keys, func(a, b run) int { return slices.Compare([]int{len(a.replica), a.n}, []int{len(b.replica), b.n}) })
	slices.SortStableFunc(keys, func(a, b run) int {
		if a.replica < b.replica {
			return -1
		}
		return 1
	})
	for _, r := range keys {
		p := w.procs[r]
		if !p.started {
			out = append(out,
				replica.Started{Replica: r.replica, Run: r.n},
				replica.StartFailed{Replica: r.replica, Run: r.n, Fault: fault.New(fault.CodeReplicaStart, "no")},
				replica.StartFailed{Replica: r.replica, Run: r.n, Fault: fault.New(fault.CodeReplicaProgramMissing, "no")})
			continue
		}
		if p.probing {
			out = append(out, replica.Probed{Replica: r.replica, Run: r.n}, replica.Probed{Replica: r.replica, Run: r.n, Err: "no"})
		}
		if p.draining && !p.drained {
			out = append(out, replica.Drained{Replica: r.replica, Run: r.n})
		}
		out = append(out, replica.Exited{Replica: r.replica, Run: r.n, Exit: replica.Exit{Code: 1}})
	}
	if b := w.build; b != nil {
		out = append(out, replica.BuildBegun{})
		if !b.hangs || b.cancelled {
			out = append(out, replica.Built{}, replica.Built{Fault: fault.New(fault.CodeReplicaBuildFailed, "no")})
		}
	}
	return out
}

// happen does to the world what an event says, then steps.
func (w *world) happen(e replica.Event) {
	switch e := e.(type) {
	case replica.Started:
		w.procs[run{e.Replica, e.Run}].started = true
	case replica.StartFailed:
		delete(w.procs, run{e.Replica, e.Run})
	case replica.Probed:
		w.procs[run{e.Replica, e.Run}].probing = false
	case replica.Drained:
		w.procs[run{e.Replica, e.Run}].drained = true
	case replica.Exited:
		delete(w.procs, run{e.Replica, e.Run})
		// From here to the next publish the set is stale, which is what the relay sees as well.
		if w.served[e.Replica] == e.Run {
			delete(w.served, e.Replica)
		}
	case replica.Built:
		w.build = nil
	}
	w.step(e)
}

// settle answers everything favourably until nothing moves any more: processes start, get ready, end when
// told to (every other one not before it is killed).
func (w *world) settle() {
	for range 10_000 {
		switch e := w.kindAnswer(); {
		case e != nil:
			w.happen(e)
		case w.m.Ended() || !w.stopped && w.m.Settled():
			return
		case w.m.Next().IsZero():
			w.fail("nothing is going to happen, and the service is not as it should be: %v", w.m.Status())
		default:
			if w.m.Next().After(w.now) {
				w.now = w.m.Next()
			}
			w.step(replica.Tick{})
		}
	}
	w.fail("the service does not settle: %v", w.m.Status())
}

func (w *world) kindAnswer() replica.Event {
	for _, e := range w.answers() {
		switch e := e.(type) {
		case replica.Started, replica.Drained, replica.Built:
			return e
		case replica.Probed:
			if e.Err == "" {
				return e
			}
		case replica.Exited:
			if p := w.procs[run{e.Replica, e.Run}]; p.killed || p.terminated && e.Run%2 == 0 {
				return e
			}
		}
	}
	return nil
}

func (w *world) request(t *rapid.T) replica.Event {
	switch rapid.IntRange(0, 7).Draw(t, "request") {
	case 0:
		w.svc.Replicas = rapid.IntRange(0, 4).Draw(t, "replicas")
	case 1:
		w.svc.Env = []string{fmt.Sprintf("V=%d", rapid.IntRange(0, 3).Draw(t, "env"))}
	case 2:
		w.svc.Build = rapid.SampledFrom([]string{"", "make", "make all"}).Draw(t, "build")
	case 3:
		w.svc.Port = rapid.SampledFrom([]int{0, 0, 3550, 3551}).Draw(t, "port")
	case 4:
		return replica.Scale{Replicas: rapid.IntRange(0, 4).Draw(t, "scale")}
	case 5:
		return replica.Restart{}
	case 6:
		return replica.Rebuild{}
	case 7:
		if rapid.Bool().Draw(t, "kill") && w.stopped {
			return replica.KillAll{}
		}
		return replica.Stop{}
	}
	return replica.Apply{Service: w.svc}
}

// Whatever happens in whatever order, the invariants that world checks hold; and once the world turns kind,
// the service becomes what it should be, or, when stopped, nothing of it is left.
func TestNoHistoryBreaksTheRulesOfAReplica(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.step(replica.Apply{Service: w.svc})
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			answers := w.answers()
			switch pick := rapid.IntRange(0, 9).Draw(t, "what"); {
			case pick < 6 && len(answers) > 0:
				w.happen(rapid.SampledFrom(answers).Draw(t, "answer"))
			case pick < 8 && !w.m.Next().IsZero():
				if w.m.Next().After(w.now) {
					w.now = w.m.Next()
				}
				w.step(replica.Tick{})
			case pick == 8:
				w.now = w.now.Add(time.Duration(rapid.IntRange(0, 40_000).Draw(t, "wait")) * time.Millisecond)
				w.step(replica.Tick{})
			case w.build != nil && rapid.IntRange(0, 3).Draw(t, "hang") == 0:
				w.build.hangs = true
			default:
				w.step(w.request(t))
			}
		}
		if w.build != nil && w.build.hangs && !w.build.cancelled { // what helps is another build, or none
			if w.svc.Build += " -j1"; rapid.Bool().Draw(t, "none") {
				w.svc.Build = ""
			}
			w.step(replica.Apply{Service: w.svc})
		}
		if !w.stopped { // what is down for good comes up again with the next Restart
			w.step(replica.Rebuild{})
		}
		w.settle()
		if w.stopped && !w.m.Ended() {
			w.fail("stopped, and not ended")
		}
		if !w.stopped {
			w.step(replica.Stop{})
			w.settle()
		}
		if !w.m.Ended() || len(w.procs) > 0 {
			w.fail("stopped, and something is left: %v %v", w.m.Status(), w.procs)
		}
	})
}

// All histories of one replica up to a depth: no random choice is missed there.
func TestNoShortHistoryOfOneReplicaBreaksTheRules(t *testing.T) {
	t.Parallel()
	depth := 6
	if testing.Short() {
		depth = 4
	}
	start := newWorld(t)
	start.svc.Replicas, start.svc.Build = 1, "make"
	start.step(replica.Apply{Service: start.svc})
	histories := 0
	var explore func(w *world, left int)
	explore = func(w *world, left int) {
		histories++
		if left == 0 {
			return
		}
		other := w.applied
		other.Build = map[string]string{"make": "make all", "make all": "make"}[other.Build]
		events := append(w.answers(), replica.Tick{}, replica.Rebuild{}, replica.Restart{}, replica.Stop{}, replica.Apply{Service: other})
		for _, e := range events {
			next := w.fork()
			if _, tick := e.(replica.Tick); tick {
				if next.m.Next().IsZero() {
					continue
				}
				next.now = next.m.Next()
				next.step(e)
			} else {
				next.happen(e)
			}
			explore(next, left-1)
		}
	}
	explore(start, depth)
	t.Logf("%d histories", histories)
}

func (w *world) fork() *world {
	c := *w
	c.procs, c.served = map[run]*proc{}, map[string]int{}
	if w.build != nil {
		b := *w.build
		c.build = &b
	}
	for r, p := range w.procs {
		q := *p
		c.procs[r] = &q
	}
	maps.Copy(c.served, w.served)
	c.log = slices.Clone(w.log)
	return &c
}
