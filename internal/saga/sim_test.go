package saga_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/memsaga"
)

// The simulation: random definitions run by an engine whose power is cut again and again, on a disk that keeps what was synced and
// either all or nothing of the commit that was under way, against services whose answers are late, lost, refused, or never come. In the
// end the books of the services are held against what the engine says. Everything follows from a seed but for the order in which
// goroutines run.

// disk is a store whose power can be cut.
type disk struct {
	*memsaga.Store
	rng   *rand.Rand
	steps *atomic.Int64

	mu  sync.Mutex
	off bool // guarded by mu
}

var errPower = errors.New("the power is off")

// cut ends everything: no later call has an effect.
func (d *disk) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
}

// dead tells whether the power is off, and draws a chance and a time.
func (d *disk) dead() (off bool, chance int, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.off, d.rng.IntN(100), time.Duration(d.rng.IntN(2000)) * time.Microsecond
}

func (d *disk) Commit(ctx context.Context, changes []*saga.Change) ([]saga.Outcome, error) {
	off, chance, wait := d.dead()
	if off {
		return nil, errPower
	}
	time.Sleep(wait) //nolint:forbidigo // in a bubble: the sync
	off, _, _ = d.dead()
	if off && chance < 50 {
		return nil, errPower // torn: the checksum says so, and none of it counts
	}
	d.steps.Add(int64(len(changes)))
	out, err := d.Store.Commit(ctx, changes)
	if off { // durable, and nobody was told
		return nil, errPower
	}
	if err == nil && chance < 1 { // an error from which nobody can tell
		return nil, errors.New("the connection broke")
	}
	return out, err
}

func (d *disk) Reset(context.Context) error {
	if off, _, _ := d.dead(); off {
		return saga.ErrBroken
	}
	return nil
}

func (d *disk) Send(ctx context.Context, list []saga.Signal) ([]saga.Signal, error) {
	if off, _, _ := d.dead(); off {
		return nil, errPower
	}
	return d.Store.Send(ctx, list)
}

func (d *disk) Deliver(ctx context.Context, mail []saga.Mail) ([]saga.Signal, error) {
	if off, _, _ := d.dead(); off {
		return nil, errPower
	}
	return d.Store.Deliver(ctx, mail)
}

// town is the services: what each has done for each branch, behind a barrier.
type town struct {
	mu      sync.Mutex
	rng     *rand.Rand        // guarded by mu
	calm    bool              // guarded by mu: nothing fails any more
	done    map[string][2]int // guarded by mu: effects of do and undo, by branch
	refused map[string]bool   // guarded by mu
	barred  map[string]bool   // guarded by mu: undone before it was done
}

// Call implements saga.Caller. It sleeps a random time, carries the request out or not, and answers or not, in any combination.
func (w *town) Call(ctx context.Context, o *saga.Outgoing) saga.Result {
	w.mu.Lock()
	chance, late, wait := w.rng.IntN(100), w.rng.IntN(3) == 0, time.Duration(w.rng.IntN(400))*time.Millisecond
	if w.calm {
		chance, wait = 100, wait/100
	}
	w.mu.Unlock()
	branch, _, _ := strings.Cut(strings.TrimSuffix(strings.TrimSuffix(o.Key, "/undo"), "/do"), "/alt")
	switch {
	case chance < 4:
		return saga.Result{Verdict: saga.Unsent, Text: "nobody there"}
	case chance < 8: // lost, and perhaps carried out long after
		if late {
			time.AfterFunc(time.Duration(chance)*7*time.Second, func() { w.carryOut(branch, o) })
		}
		<-ctx.Done()
		return saga.Result{Verdict: saga.NoAnswer, Text: "no answer"}
	case chance < 12:
		w.carryOut(branch, o)
		return saga.Result{Verdict: saga.NoAnswer, Text: "reset"}
	case chance < 14:
		return status(503)
	}
	time.Sleep(wait) //nolint:forbidigo // in a bubble
	return status(w.carryOut(branch, o))
}

// carryOut does what a request asks for, once, and tells the status that it is answered with.
func (w *town) carryOut(branch string, o *saga.Outgoing) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.done[branch]
	switch {
	case o.Undo && n[0] == n[1]:
		w.barred[branch] = true
	case o.Undo:
		n[1]++
	case w.barred[branch] || w.refused[branch]:
		return 409
	case n[0] > 0:
	case !strings.HasPrefix(o.Request.Service, "z") && w.rng.IntN(100) < 6:
		w.refused[branch] = true
		return 409
	default:
		n[0]++
	}
	w.done[branch] = n
	return 200
}

// anySaga makes up a definition. Steps after the pivot call services that never refuse.
func anySaga(rng *rand.Rand, name string, child string) *manifest.Saga {
	def := &manifest.Saga{Name: name}
	n := 2 + rng.IntN(5)
	pivot := rng.IntN(2*n) - n/2
	for i := range n {
		after := []string{}
		for j := range i {
			if rng.IntN(2) == 0 || pivot >= 0 && (i == pivot || j == pivot) {
				after = append(after, def.Steps[j].Name)
			}
		}
		if pivot >= 0 && i > pivot && len(after) == 0 {
			after = append(after, def.Steps[pivot].Name)
		}
		letter := string(rune('a' + i))
		if pivot >= 0 && i > pivot {
			letter = "z" + letter
		}
		def.Steps = append(def.Steps, anyStep(rng, letter, after, pivot, i, child))
	}
	return def
}

func anyStep(rng *rand.Rand, name string, after []string, pivot, i int, child string) manifest.SagaStep {
	s := manifest.SagaStep{Name: name, After: &after}
	kind := rng.IntN(12)
	switch {
	case i == pivot:
		s = decide(name, after...)
		if rng.IntN(2) == 0 {
			s.Undo = &manifest.SagaUndo{Call: name + "/undo"}
		}
		s.After = &after
		return s
	case kind == 0:
		s.Sleep = "2s"
		return s
	case kind == 1 && child != "" && (pivot < 0 || i < pivot):
		s.Child = &manifest.SagaChild{Saga: child}
		return s
	case pivot >= 0 && i > pivot:
		s = finish(name, after...)
	default:
		s = do(name, after...)
	}
	s.After = &after
	if kind < 4 {
		s.Each = &manifest.SagaEach{In: "${input.items}"}
	}
	return s
}

// simulation is one run of a seed.
type simulation struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	steps atomic.Int64
	store *memsaga.Store
	town  *town
	defs  []*manifest.Saga
	plans map[string]*saga.Plan
	ids   map[string]string // of instances, by idempotency key
	asked map[string]int    // which saga, by idempotency key
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	s := &simulation{t: t, seed: seed, rng: rng, store: memsaga.New(), plans: map[string]*saga.Plan{}, ids: map[string]string{}, asked: map[string]int{}}
	s.town = &town{rng: rand.New(rand.NewPCG(seed, 8)), done: map[string][2]int{}, refused: map[string]bool{}, barred: map[string]bool{}}
	for len(s.defs) < 4 {
		name, child := fmt.Sprint("s", len(s.defs)), ""
		if len(s.defs) > 0 && !hasPivot(s.defs[0]) {
			child = "s0"
		}
		def := anySaga(rng, name, child)
		p, findings := plan(def, s.defs...)
		if len(findings) > 0 {
			continue // a shape that is refused
		}
		if rng.IntN(3) == 0 {
			p.Lock = pick("order")
		}
		s.defs, s.plans[string(p.Source)] = append(s.defs, def), p
	}
	return s
}

func hasPivot(def *manifest.Saga) bool {
	for i := range def.Steps {
		if def.Steps[i].Pivot {
			return true
		}
	}
	return false
}

func (s *simulation) open(d *disk) *saga.Engine {
	s.t.Helper()
	e, err := saga.Open(s.t.Context(), d, s.town, &saga.Options{PerService: 8, Drain: time.Millisecond, Compile: func(source []byte) (*saga.Plan, error) {
		return s.plans[string(source)], nil
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	var all []*saga.Plan
	for _, p := range s.plans {
		all = append(all, p)
	}
	commit, err := e.Prepare(s.t.Context(), all)
	if err != nil {
		s.t.Fatal(err)
	}
	commit()
	e.Run()
	return e
}

// life runs an engine for a while, starts instances, and cuts the power.
func (s *simulation) life(instances int, last bool) {
	d := &disk{Store: s.store, rng: rand.New(rand.NewPCG(s.seed, s.rng.Uint64())), steps: &s.steps}
	e := s.open(d)
	var mu sync.Mutex
	var wait sync.WaitGroup
	for range instances {
		key := strconv.Itoa(s.rng.IntN(1 << 20))
		if _, again := s.asked[key]; !again {
			s.asked[key] = s.rng.IntN(len(s.defs))
		}
		def := s.defs[s.asked[key]]
		pause := time.Duration(s.rng.IntN(3000)) * time.Millisecond
		wait.Go(func() {
			time.Sleep(pause) //nolint:forbidigo // in a bubble
			i, err := e.Start(s.t.Context(), saga.Ask{Saga: def.Name, Idem: key, Input: input(key)})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				return // perhaps it was started; nobody was told
			}
			if before := s.ids[key]; before != "" && before != i.ID {
				s.t.Errorf("key %s has started %s and %s", key, before, i.ID)
			}
			s.ids[key] = i.ID
		})
	}
	if last {
		wait.Wait()
		s.settle(e)
		e.Close()
		return
	}
	time.Sleep(time.Duration(s.rng.IntN(5000)) * time.Millisecond) //nolint:forbidigo // in a bubble
	d.cut()
	wait.Wait()
	e.Close()
}

func input(key string) []byte {
	n, _ := strconv.Atoi(key)
	return fmt.Appendf(nil, `{"items":[%s],"order":"o%d"}`, strings.TrimSuffix(strings.Repeat("1,", n%5), ","), n%3)
}

// settle lets all come to its end; what is parked, a person frees.
func (s *simulation) settle(e *saga.Engine) {
	s.town.mu.Lock()
	s.town.calm = true
	s.town.mu.Unlock()
	time.Sleep(2 * time.Minute) //nolint:forbidigo // in a bubble: late requests have been carried out
	for range 400 {
		open, err := e.Find(s.t.Context(), &saga.Query{Phases: []saga.Phase{saga.Running, saga.Compensating, saga.Parked}, Limit: 10_000})
		if err != nil {
			s.t.Fatal(err)
		}
		if len(open) == 0 {
			return
		}
		for _, i := range open {
			if i.Phase == saga.Parked {
				s.free(e, i)
			}
		}
		time.Sleep(10 * time.Second) //nolint:forbidigo // in a bubble
	}
	open, _ := e.Find(s.t.Context(), &saga.Query{Phases: []saga.Phase{saga.Running, saga.Compensating, saga.Parked}, Limit: 3})
	for _, i := range open {
		full, _ := e.Get(s.t.Context(), i.ID)
		state, _ := json.Marshal(full.State)
		s.t.Errorf("seed %d: stranded: %s", s.seed, state)
	}
}

// free does what a person would: looks whether the step was done, and says so.
func (s *simulation) free(e *saga.Engine, i *saga.Instance) {
	full, err := e.Get(s.t.Context(), i.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	for k := range full.State.Steps {
		for j := range full.State.Steps[k].Tasks {
			if full.State.Steps[k].Tasks[j].Status != saga.Stuck {
				continue
			}
			p := s.planOf(full)
			label := p.Steps[k].Name
			if p.Steps[k].Each != nil {
				label += "." + strconv.Itoa(j)
			}
			s.town.mu.Lock()
			n := s.town.done[i.ID+"/"+label]
			s.town.mu.Unlock()
			a := &saga.Action{Kind: saga.EventRetry, Task: label, By: "person", Reason: "looked"}
			if p.Steps[k].Role == saga.Pivot && !full.State.Back {
				a.Kind, a.Task = saga.EventCancel, ""
				if n[0] == 1 {
					a.Kind, a.Task, a.Output = saga.EventOverride, label, json.RawMessage(`{}`)
				}
			}
			_, err := e.Act(s.t.Context(), i.ID, a)
			if _, refused := errors.AsType[*fault.Error](err); refused { // of all else nobody knows, and it is asked again
				s.t.Errorf("seed %d: free %s: %v", s.seed, i.ID, err)
			}
		}
	}
}

func (s *simulation) planOf(i *saga.Instance) *saga.Plan {
	for _, p := range s.plans {
		if p.Name == i.Saga {
			return p
		}
	}
	s.t.Fatalf("no plan of %s", i.Saga)
	return nil
}

// audit holds the books of the services against the engine's.
func (s *simulation) audit() {
	s.town.mu.Lock()
	defer s.town.mu.Unlock()
	rows, err := s.store.Find(s.t.Context(), &saga.Query{Limit: 1 << 20})
	if err != nil {
		s.t.Fatal(err)
	}
	known := map[string]bool{}
	for r := range rows {
		row, err := s.store.Row(s.t.Context(), rows[r].ID)
		if err != nil {
			s.t.Fatal(err)
		}
		var state saga.State
		if err := json.Unmarshal(row.State, &state); err != nil {
			s.t.Fatal(err)
		}
		known[row.ID] = true
		s.judge(&state)
	}
	for key, id := range s.ids {
		if !known[id] {
			s.t.Errorf("seed %d: key %s was answered with %s, which there is not", s.seed, key, id)
		}
	}
	for branch := range s.town.done {
		if id, _, _ := strings.Cut(branch, "/"); !known[id] {
			s.t.Errorf("seed %d: %s has an effect, and there is no such instance", s.seed, branch)
		}
	}
}

func (s *simulation) judge(state *saga.State) {
	p := s.planOf(&saga.Instance{Saga: state.Saga})
	for i := range p.Steps {
		if p.Steps[i].Kind != saga.KindCall {
			continue
		}
		for j := range state.Steps[i].Tasks {
			label := p.Steps[i].Name
			if p.Steps[i].Each != nil {
				label += "." + strconv.Itoa(j)
			}
			n := s.town.done[state.ID+"/"+label]
			switch {
			case n[0] > 1 || n[1] > 1:
				s.t.Errorf("seed %d: %s/%s has effects %v", s.seed, state.ID, label, n)
			case state.Phase == saga.Completed && (n[0] != 1 || n[1] != 0):
				s.t.Errorf("seed %d: %s is completed, %s has effects %v", s.seed, state.ID, label, n)
			case state.Phase == saga.Compensated && n[0] != n[1]:
				s.t.Errorf("seed %d: %s is compensated, %s has effects %v", s.seed, state.ID, label, n)
			case !state.Phase.Ended():
				s.t.Errorf("seed %d: %s is %s", s.seed, state.ID, state.Phase)
			}
		}
	}
}

// simulate runs one seed and tells how many steps were made durable.
func simulate(t *testing.T, seed uint64) int64 {
	t.Helper()
	s := newSimulation(t, seed)
	for range 1 + s.rng.IntN(6) {
		s.life(1+s.rng.IntN(60), false)
	}
	s.life(10, true)
	s.audit()
	return s.steps.Load()
}

func TestSagasAreWholeWhateverThePowerAndTheServicesDo(t *testing.T) {
	most := int64(20_000)
	if os.Getenv("ATOLL_SOAK") != "" { // make soak
		most = 1_000_000
	}
	base := uint64(time.Now().UnixNano())
	if text := os.Getenv("ATOLL_SEED"); text != "" {
		var err error
		if base, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
		most = 1
	}
	t.Logf("seeds from %d on; ATOLL_SEED runs one", base)
	var steps, seeds int64
	for seed := base; steps < most && !t.Failed(); seed++ {
		synctest.Test(t, func(t *testing.T) { steps += simulate(t, seed) })
		seeds++
	}
	t.Logf("%d seeds, %d steps", seeds, steps)
}
