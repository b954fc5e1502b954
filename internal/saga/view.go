package saga

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Instance is an instance as others see it.
type Instance struct {
	ID      string
	Saga    string
	Version string // hash of its definition
	Key     string
	Phase   Phase
	Step    string // of what is parked, or else of what went wrong
	Error   string
	Parent  string
	Input   json.RawMessage
	Output  json.RawMessage
	Started time.Time
	Ended   time.Time // zero until then
	Rev     int64
	Shard   int
	State   *State // nil in lists
}

func viewOf(r *Row, s *State) *Instance {
	return &Instance{
		ID: s.ID, Saga: s.Saga, Version: s.Hash, Key: s.Key, Phase: s.Phase, Step: r.Step, Error: r.Error, Parent: s.Parent, Input: s.Input,
		Output: s.Output, Started: s.Started, Ended: s.Ended, Rev: r.Rev, Shard: r.Shard,
	}
}

// instanceOf is the instance that a row tells of.
func instanceOf(r *Row) (*Instance, error) {
	var s State
	if err := json.Unmarshal(r.State, &s); err != nil {
		return nil, fmt.Errorf("read instance %s: %w", r.ID, err)
	}
	out := viewOf(r, &s)
	out.State = &s
	return out, nil
}

// listed is the instance that a row without a state tells of.
func listed(r *Row) *Instance {
	return &Instance{
		ID: r.ID, Saga: r.Saga, Version: r.Hash, Key: r.Key, Phase: r.Phase, Step: r.Step, Error: r.Error, Parent: r.Parent,
		Started: r.Started, Ended: r.Ended, Rev: r.Rev, Shard: r.Shard,
	}
}

// fingerprint is the same for inputs that are the same JSON, however they are written.
func fingerprint(input []byte) string {
	var v any
	if json.Unmarshal(input, &v) == nil {
		if text, err := json.Marshal(v); err == nil {
			input = text
		}
	}
	sum := sha256.Sum256(input)
	return hex.EncodeToString(sum[:16])
}

// ends tells those who wait for the end of instances.
type ends struct {
	mu      sync.Mutex
	waiting map[string][]chan *Instance // guarded by mu
	closed  bool                        // guarded by mu
}

func newEnds() *ends { return &ends{waiting: map[string][]chan *Instance{}} }

// of returns a channel that gets the instance once it has ended, and is closed when nobody will tell; forget gives it up.
func (w *ends) of(id string) (ch <-chan *Instance, forget func()) {
	c := make(chan *Instance, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		close(c)
		return c, func() {}
	}
	w.waiting[id] = append(w.waiting[id], c)
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		list := w.waiting[id]
		for i := range list {
			if list[i] == c {
				list = append(list[:i], list[i+1:]...)
				break
			}
		}
		if len(list) == 0 {
			delete(w.waiting, id)
		} else {
			w.waiting[id] = list
		}
	}
}

func (w *ends) ended(i *Instance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.waiting[i.ID] {
		c <- i
	}
	delete(w.waiting, i.ID)
}

func (w *ends) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, list := range w.waiting {
		for _, c := range list {
			close(c)
		}
	}
	w.waiting = nil
}

// Get returns an instance with its state.
func (e *Engine) Get(ctx context.Context, id string) (*Instance, error) {
	row, err := e.store.Row(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read instance: %w", err)
	}
	if row == nil {
		return nil, errUnknown(id)
	}
	return instanceOf(row)
}

// How often an instance is looked at whose end somebody waits for: another engine tells nobody here.
const (
	pollEvery    = time.Second
	pollOwnEvery = time.Minute // in case it goes over to another engine meanwhile
)

// Wait returns an instance once it has ended, or as it is when ctx ends.
func (e *Engine) Wait(ctx context.Context, id string) (*Instance, error) {
	ch, forget := e.ends.of(id)
	defer forget()
	reading := context.WithoutCancel(ctx)
	for {
		i, err := e.Get(reading, id)
		if err != nil || i.Phase.Ended() {
			return i, err
		}
		every := pollEvery
		if e.owns(i.Shard) {
			every = pollOwnEvery
		}
		timer := time.NewTimer(every)
		select {
		case ended := <-ch:
			timer.Stop()
			if ended != nil {
				return ended, nil
			}
			return i, nil
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return i, nil
		}
		timer.Stop()
	}
}

// Find lists instances, the newest first, without their states.
func (e *Engine) Find(ctx context.Context, q *Query) ([]*Instance, error) {
	rows, err := e.store.Find(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("find instances: %w", err)
	}
	out := make([]*Instance, len(rows))
	for i := range rows {
		out[i] = listed(&rows[i])
	}
	return out, nil
}

// History returns what has happened to an instance.
func (e *Engine) History(ctx context.Context, id string) ([]Record, error) {
	texts, err := e.store.History(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	out := make([]Record, len(texts))
	for i, text := range texts {
		if err := json.Unmarshal(text, &out[i]); err != nil {
			return nil, fmt.Errorf("read history of %s: %w", id, err)
		}
	}
	return out, nil
}

// Count returns how many instances there are by saga and phase.
func (e *Engine) Count(ctx context.Context) (map[string]map[Phase]int, error) {
	return e.store.Count(ctx)
}

// Load is how much the engine has to do now.
type Load struct {
	Active int // instances in memory
	Queued int // commits that wait
}

// Load tells how much the engine has to do now.
func (e *Engine) Load() Load {
	e.mu.Lock()
	active := len(e.actors)
	e.mu.Unlock()
	e.queue.mu.Lock()
	defer e.queue.mu.Unlock()
	return Load{Active: active, Queued: len(e.queue.groups)}
}

// Plan returns the definition of a version; "" stands for the one in force.
func (e *Engine) Plan(ctx context.Context, name, hash string) (*Plan, error) {
	if hash == "" {
		return e.plans.current(name)
	}
	return e.plans.byHash(ctx, hash)
}

// Unended lists the definitions of instances that have not ended, by name.
func (e *Engine) Unended(ctx context.Context) ([]*Plan, error) {
	plans, err := e.plans.unended(ctx)
	slices.SortFunc(plans, func(a, b *Plan) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Hash, b.Hash)) })
	return plans, err
}

// Awaited lists the topics whose events instances take that have not ended or begin now, whatever definitions are about to be in force.
func (e *Engine) Awaited(ctx context.Context) ([]string, error) {
	plans, err := e.plans.unended(ctx)
	if err != nil {
		return nil, err
	}
	inForce, _ := e.plans.all()
	plans = append(plans, inForce...)
	var out []string
	for _, plan := range plans {
		for i := range plan.Steps {
			if topic, _ := plan.Steps[i].by(); topic != "" {
				out = append(out, topic)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Plans lists those in force, by name, and all that are known of: those in force, and those that instances run or ran lately.
func (e *Engine) Plans() (inForce, known []*Plan) { return e.plans.all() }
