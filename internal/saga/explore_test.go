package saga_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"sort"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga"
)

// The exploration: of every definition of up to four steps, every order in which attempts can end (taken and told, taken and not told,
// not taken and not known, refused, nobody there, taken long after it was given up), with a crash and a request to cancel at every
// place, and every answer told twice. What services do is modelled apart from the machine, and decides what is right.

// deed is what a service has done for one step. A service does a step once, however often it is asked, and not once it was undone;
// that is the contract that the barrier helpers keep.
type deed struct {
	did, undid bool
	refused    bool // the service has refused it, and nothing was done
	ghost      bool // a request is still on its way that may be carried out at any time
	told       bool // the machine knows that it was done
}

// world is a machine with the services around it.
type world struct {
	x       *explorer
	s       *saga.State
	flights map[saga.TaskID]saga.Attempt
	deeds   []deed
	crashes int
	cancels int
	log     *happening
}

// happening is the latest of what happened.
type happening struct {
	what   string
	before *happening
}

func (h *happening) String() string {
	if h == nil {
		return "begun"
	}
	return h.before.String() + "; " + h.what
}

type explorer struct {
	t        *testing.T
	plan     *saga.Plan
	seen     map[string]bool
	ends     map[saga.Phase]int
	states   int
	troubles int
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (w *world) clone() *world {
	out := *w
	out.s = w.s.Clone()
	out.flights = maps.Clone(w.flights)
	out.deeds = append([]deed(nil), w.deeds...)
	return &out
}

// signature tells worlds apart that differ in what can follow.
func (w *world) signature() string {
	b := append(make([]byte, 0, 64), w.s.Phase...)
	b = append(b, byte(w.crashes), byte(w.cancels), bits(w.s.Back))
	for i := range w.s.Steps {
		st, d := &w.s.Steps[i], w.deeds[i]
		b = append(b, bits(st.Begun, st.Ended, d.did, d.undid, d.refused, d.ghost, d.told))
		for j := range st.Tasks {
			t := &st.Tasks[j]
			b = append(b, t.Status...)
			b = append(b, byte(t.Tries), bits(t.Unsure, t.Took, t.Due.IsZero()))
		}
	}
	return string(b)
}

func bits(all ...bool) byte {
	n := byte(0)
	for _, b := range all {
		n <<= 1
		if b {
			n |= 1
		}
	}
	return n
}

func (w *world) fail(format string, args ...any) {
	w.x.t.Helper()
	text, _ := json.Marshal(w.s)
	w.x.t.Fatalf("%s\n  definition: %s\n  what happened: %s\n  state: %s", fmt.Sprintf(format, args...), w.x.plan.Source, w.log, text)
}

// tell lets the machine handle an event, holds what follows against the world, and takes the calls that it makes.
func (w *world) tell(e *saga.Event) {
	e.At = epoch
	if e.Kind == saga.EventTimer {
		e.At = epoch.Add(time.Hour)
	}
	m := saga.NewMachine(w.x.plan, w.s)
	eff, err := m.Handle(e)
	if err != nil {
		if e.Kind == saga.EventCancel {
			return // too late, which allowed() judges
		}
		w.fail("%s: %v", e.Kind, err)
	}
	w.took(&eff)
	for id, a := range w.flights { // an answer to an attempt before that one
		before := w.signature()
		stale := &saga.Event{Kind: saga.EventAnswered, At: e.At, Task: id, Attempt: a.Number - 1, Undo: a.Undo, Result: saga.Result{Verdict: saga.Answered, Answer: saga.Answer{Status: 409}}}
		if again, err := m.Handle(stale); err != nil || len(again.Calls) > 0 || before != w.signature() {
			w.fail("an answer to an attempt that is over changes something")
		}
	}
	if e.Kind == saga.EventAnswered { // the same answer once more
		before := w.signature()
		again, err := m.Handle(e)
		if err != nil || len(again.Calls) > 0 || before != w.signature() {
			w.fail("an answer that comes twice changes something")
		}
	}
}

func (w *world) took(eff *saga.Effects) {
	for _, a := range eff.Calls {
		w.allowed(&a)
		w.flights[a.Task] = a
	}
}

// allowed holds a call against what a saga may do at all.
func (w *world) allowed(a *saga.Attempt) {
	step, d := &w.x.plan.Steps[a.Task.Step], &w.deeds[a.Task.Step]
	want := fmt.Sprintf("i/%s/%s", step.Name, map[bool]string{false: "do", true: "undo"}[a.Undo])
	if a.Key != want {
		w.fail("the call has the key %s, not %s", a.Key, want)
	}
	if !a.Undo {
		if w.s.Back && w.flights[a.Task].Number == 0 {
			w.fail("%s begins while the saga is being compensated", step.Name)
		}
		for _, from := range step.After {
			if !w.deeds[from].told {
				w.fail("%s begins before %s is done", step.Name, w.x.plan.Steps[from].Name)
			}
		}
		return
	}
	if step.Role == saga.Retriable {
		w.fail("%s is undone, though it comes after the pivot", step.Name)
	}
	for i := range w.x.plan.Steps {
		if w.x.plan.Steps[i].Role == saga.Pivot && w.deeds[i].did && w.x.plan.Steps[i].Undo == nil {
			w.fail("%s is undone, though the pivot was taken", step.Name)
		}
	}
	if !d.did && !d.ghost && !d.undid && d.refused {
		w.fail("%s is undone, though it was refused and nothing of it can be under way", step.Name)
	}
	for _, later := range step.Before {
		l := &w.deeds[later]
		if (l.did || l.ghost) && !l.undid && w.x.plan.Steps[later].Undo != nil {
			w.fail("%s is undone before %s, which came after it", step.Name, w.x.plan.Steps[later].Name)
		}
	}
}

// carryOut is what a service does when a request reaches it. It tells whether there was anything to refuse it for.
func (d *deed) carryOut(undo bool) {
	switch {
	case undo:
		d.undid, d.ghost = true, false // what is still under way will be refused
	case !d.undid:
		d.did, d.ghost = true, false
	}
}

// haunt leaves a request under way that nobody waits for any more. That of an undo changes nothing that another would not.
func (d *deed) haunt(undo bool) {
	d.ghost = d.ghost || !undo && !d.did && !d.undid
}

// next lists all that can happen.
func (w *world) next() []*world {
	var out []*world
	branch := func(what string, happen func(*world)) {
		n := w.clone()
		n.log = &happening{what, w.log}
		happen(n)
		out = append(out, n)
	}
	for _, id := range w.flying() {
		w.endings(id, w.flights[id], branch)
	}
	for i := range w.deeds {
		if w.deeds[i].ghost {
			branch("a late request for "+w.x.plan.Steps[i].Name+" is carried out", func(n *world) { n.deeds[i].carryOut(false) })
		}
	}
	if !w.s.Wake().IsZero() {
		branch("time passes", func(n *world) { n.tell(&saga.Event{Kind: saga.EventTimer}) })
	}
	if w.crashes == 0 && w.cancels < w.x.troubles && !w.s.Phase.Ended() {
		branch("crash", func(n *world) { n.crash() })
	}
	if w.cancels == 0 && w.crashes < w.x.troubles && !w.s.Phase.Ended() && !w.doubtful() {
		branch("cancel", func(n *world) {
			n.cancels++
			n.tell(&saga.Event{Kind: saga.EventCancel, By: "test"})
		})
	}
	return out
}

// doubtful tells whether a pivot is parked that was taken, or may yet be: nobody who has looked says by cancelling that it was not.
func (w *world) doubtful() bool {
	for i := range w.deeds {
		if w.x.plan.Steps[i].Role == saga.Pivot && w.s.Phase == saga.Parked && (w.deeds[i].did || w.deeds[i].ghost) {
			return true
		}
	}
	return false
}

func (w *world) flying() []saga.TaskID {
	ids := make([]saga.TaskID, 0, len(w.flights))
	for id := range w.flights {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i].Step < ids[j].Step })
	return ids
}

// endings lists how an attempt can end.
func (w *world) endings(id saga.TaskID, a saga.Attempt, branch func(string, func(*world))) {
	name := fmt.Sprintf("%s(%v)", w.x.plan.Steps[id.Step].Name, map[bool]string{false: "do", true: "undo"}[a.Undo])
	end := func(what string, r saga.Result, happen func(*deed)) {
		branch(name+" "+what, func(n *world) {
			delete(n.flights, id)
			happen(&n.deeds[id.Step])
			n.tell(&saga.Event{Kind: saga.EventAnswered, Task: id, Attempt: a.Number, Undo: a.Undo, Result: r})
		})
	}
	answered := func(status int) saga.Result {
		return saga.Result{Verdict: saga.Answered, Answer: saga.Answer{Status: status}}
	}
	d := w.deeds[id.Step]
	if a.Undo || !d.undid {
		end("done", answered(200), func(d *deed) {
			d.carryOut(a.Undo)
			if !a.Undo {
				d.told = true
			}
		})
	}
	if a.Undo || !d.did { // what was done is not refused when it is asked for again
		end("refused", answered(409), func(d *deed) {
			if !a.Undo {
				d.refused = true
			}
		})
	}
	// What is lost may be carried out at once, later, or never: all of that follows from its being under way.
	end("lost", saga.Result{Verdict: saga.NoAnswer}, func(d *deed) { d.haunt(a.Undo) })
	if a.Undo {
		end("done, but not told", saga.Result{Verdict: saga.NoAnswer}, func(d *deed) { d.carryOut(true) })
	}
	end("found nobody", saga.Result{Verdict: saga.Unsent}, func(*deed) {})
}

// crash ends the engine: what is under way may be carried out or not, and its answers reach nobody.
func (w *world) crash() {
	w.crashes++
	for id, a := range w.flights {
		w.deeds[id.Step].haunt(a.Undo)
	}
	w.flights = map[saga.TaskID]saga.Attempt{}
	text, err := json.Marshal(w.s)
	if err != nil {
		w.fail("state: %v", err)
	}
	w.s = &saga.State{}
	if err := json.Unmarshal(text, w.s); err != nil {
		w.fail("state: %v", err)
	}
	w.tell(&saga.Event{Kind: saga.EventResumed})
}

// judge holds a world in which nothing more happens by itself against what must be so.
func (w *world) judge() {
	w.x.ends[w.s.Phase]++
	for i := range w.deeds {
		step, d := &w.x.plan.Steps[i], w.deeds[i]
		switch w.s.Phase {
		case saga.Completed:
			if !d.did || d.undid {
				w.fail("the saga is completed, and step %s was not done: %+v", step.Name, d)
			}
		case saga.Compensated:
			if (d.did || d.ghost) && !d.undid && (step.Undo != nil || step.Role == saga.Pivot) {
				w.fail("the saga is compensated, and step %s was done, or may yet be: %+v", step.Name, d)
			}
			if step.Role == saga.Retriable && (d.did || d.ghost) {
				w.fail("the saga is compensated, and step %s, which comes after the pivot, was begun", step.Name)
			}
		case saga.Parked:
		default:
			w.fail("nothing more happens, and the saga is %s", w.s.Phase)
		}
	}
}

// explore follows every way.
func (x *explorer) explore() {
	m, eff, err := saga.Begin(x.plan, saga.Opening{ID: "i", At: epoch})
	if err != nil {
		x.t.Fatal(err)
	}
	first := &world{x: x, s: m.State(), flights: map[saga.TaskID]saga.Attempt{}, deeds: make([]deed, len(x.plan.Steps))}
	first.took(&eff)
	open := []*world{first}
	for len(open) > 0 {
		w := open[len(open)-1]
		open = open[:len(open)-1]
		sig := w.signature()
		if x.seen[sig] {
			continue
		}
		x.seen[sig] = true
		x.states++
		if len(w.flights) == 0 && w.s.Wake().IsZero() {
			w.judge()
		}
		open = append(open, w.next()...)
	}
}

// definitions lists every shape of a number of steps that is accepted: every graph, with every step as pivot or none, with and without
// an undo of the pivot, and with one step that has nothing to undo.
func definitions(n int) []*saga.Plan {
	var out []*saga.Plan
	edges := n * (n - 1) / 2
	for graph := range 1 << edges {
		for pivot := -1; pivot < n; pivot++ {
			for variant := range 3 {
				if def := definition(n, graph, pivot, variant); def != nil {
					if p, findings := plan(def); len(findings) == 0 {
						out = append(out, p)
					}
				}
			}
		}
	}
	return out
}

// definition is one of them. Variant 1 gives the pivot an undo, variant 2 leaves the first step without an effect to undo.
func definition(n, graph, pivot, variant int) *manifest.Saga {
	if variant == 1 && pivot < 0 {
		return nil
	}
	def := &manifest.Saga{Name: "s"}
	bit := 0
	for i := range n {
		after := []string{}
		for j := range i {
			if graph&(1<<bit) != 0 {
				after = append(after, string(rune('a'+j)))
			}
			bit++
		}
		st := do(string(rune('a' + i)))
		st.After = &after
		if i == pivot {
			st.Pivot = true
		}
		if i == pivot && variant != 1 || pivot >= 0 && i > pivot && len(after) > 0 && isAfter(def, after, pivot) {
			st.Undo = nil
		}
		if variant == 2 && i == 0 && i != pivot {
			st.Undo = &manifest.SagaUndo{Call: "none"}
		}
		def.Steps = append(def.Steps, st)
	}
	return def
}

// isAfter tells whether one of the steps is the pivot or comes after it.
func isAfter(def *manifest.Saga, names []string, pivot int) bool {
	for _, name := range names {
		i := int(name[0] - 'a')
		if i == pivot || i < len(def.Steps) && isAfter(def, *def.Steps[i].After, pivot) {
			return true
		}
	}
	return false
}

// reach is how far an exploration goes.
type reach struct {
	steps, attempts, troubles int // troubles are crashes and requests to cancel, at most one of each
}

func TestEveryOrderOfWhatCanHappenEndsCompletedCompensatedOrParked(t *testing.T) {
	reaches := []reach{{1, 2, 2}, {2, 2, 2}, {3, 1, 1}}
	if os.Getenv("ATOLL_SOAK") != "" { // make soak
		reaches = []reach{{1, 3, 2}, {2, 3, 2}, {3, 2, 2}, {4, 1, 1}}
	}
	for _, r := range reaches {
		t.Run(fmt.Sprintf("%d steps", r.steps), func(t *testing.T) {
			t.Parallel()
			states, ends, all := 0, map[saga.Phase]int{}, definitions(r.steps)
			for _, p := range all {
				for i := range p.Steps {
					p.Steps[i].Retry.Attempts, p.Steps[i].Again.Attempts = r.attempts, r.attempts
				}
				x := &explorer{t: t, plan: p, troubles: r.troubles, seen: map[string]bool{}, ends: ends}
				x.explore()
				states += x.states
			}
			t.Logf("%d definitions, %d states, ends: %v", len(all), states, ends)
			for _, phase := range []saga.Phase{saga.Completed, saga.Compensated, saga.Parked} {
				if ends[phase] == 0 {
					t.Errorf("no way led to %s", phase)
				}
			}
		})
	}
}
