package saga

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// soon is how near what is due must be for an instance to stay in memory.
const soon = 5 * time.Second

// actor is an instance in memory.
type actor struct {
	id    string
	epoch int64
	ready chan struct{} // closed when it was read; nil if it needs not be

	mu     sync.Mutex
	m      *Machine // guarded by mu
	row    Row      // guarded by mu: as of the latest change, durable or not; without an id, and m nil, until it is read
	queued int      // guarded by mu: changes on their way
	gone   bool     // guarded by mu: it is no longer in memory; look for it again
}

// newID returns an id that no other instance has; later ones are greater.
func newID(now time.Time) string {
	var b [15]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	if _, err := rand.Read(b[6:]); err != nil {
		panic("saga: the system has no random numbers: " + err.Error())
	}
	return base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding).EncodeToString(b[:])
}

func (e *Engine) newActor(m *Machine, shard int) *actor {
	s := m.State()
	return &actor{id: s.ID, epoch: e.epoch.Load(), m: m, row: Row{
		ID: s.ID, Saga: s.Saga, Hash: s.Hash, Key: s.Key, Shard: shard, Parent: s.Parent, Started: s.Started,
	}}
}

// enlist puts an actor into memory.
func (e *Engine) enlist(a *actor) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.actors[a.id] = a
}

// delist takes an actor out of memory. The caller holds a.mu.
func (e *Engine) delist(a *actor) {
	a.gone = true
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.actors[a.id] == a {
		delete(e.actors, a.id)
	}
}

// succeed puts another actor in the place of one whose tasks have others places by now, so that what it has under way comes to
// nothing. The caller holds a.mu, and that of the new one from then on.
func (e *Engine) succeed(a *actor) *actor {
	heir := &actor{id: a.id, epoch: a.epoch, m: a.m, row: a.row}
	heir.mu.Lock()
	e.delist(a)
	e.enlist(heir)
	return heir
}

// inMemory returns an actor, or nil.
func (e *Engine) inMemory(id string) *actor {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.actors[id]
}

// hold returns an instance's actor with its mutex held, from memory or from the store; nil where there is no such instance, or
// another engine owns it.
func (e *Engine) hold(ctx context.Context, id string) (*actor, error) {
	for {
		a := e.inMemory(id)
		if a == nil {
			loaded, err := e.load(ctx, id)
			if loaded == nil || err != nil {
				return nil, err
			}
			a = loaded
		}
		if a.ready != nil {
			select {
			case <-a.ready:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		a.mu.Lock()
		if !a.gone && a.epoch == e.epoch.Load() {
			return a, nil
		}
		a.mu.Unlock()
		if a.epoch != e.epoch.Load() {
			e.forget(a)
		}
	}
}

// forget takes an actor of an earlier epoch out of memory.
func (e *Engine) forget(a *actor) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e.delist(a)
}

// load reads an instance into memory, unless it is there already, and lets it go on from where it was left; nil where there is none,
// or another engine owns it. The actor is there while its instance is read: who else wants it waits, and does not go on with it in the
// meantime from what would then be more than was read.
func (e *Engine) load(ctx context.Context, id string) (*actor, error) {
	a := &actor{id: id, epoch: e.epoch.Load(), ready: make(chan struct{})}
	e.mu.Lock()
	there := e.actors[id]
	if there == nil {
		e.actors[id] = a
	}
	e.mu.Unlock()
	if there != nil {
		return there, nil
	}
	defer close(a.ready)
	row, err := e.store.Row(ctx, id)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil && row != nil && e.owns(row.Shard) {
		if err = e.resume(ctx, a, row); err == nil && a.m != nil {
			return a, nil
		}
	}
	e.delist(a)
	return nil, err
}

func (e *Engine) owns(shard int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.owned[shard]
}

// resume lets an instance go on that was read, unless another engine owns it by now. The caller holds a.mu.
func (e *Engine) resume(ctx context.Context, a *actor, row *Row) error {
	plan, err := e.plans.byHash(ctx, row.Hash)
	if err != nil {
		return err
	}
	var s State
	if err := json.Unmarshal(row.State, &s); err != nil {
		return fmt.Errorf("read instance %s: %w", row.ID, err)
	}
	if len(s.Steps) != len(plan.Steps) {
		return fmt.Errorf("read instance %s: it has %d steps, its definition has %d", row.ID, len(s.Steps), len(plan.Steps))
	}
	e.mu.Lock()
	owned := e.owned[row.Shard]
	if owned {
		a.m, a.row = NewMachine(plan, &s), *row
	}
	e.mu.Unlock()
	if !owned {
		return nil
	}
	eff, err := a.m.Handle(&Event{Kind: EventResumed, At: time.Now()})
	if err != nil {
		return err
	}
	if len(eff.Records) > 0 || eff.Acquire {
		e.submit(a, &eff, nil, nil, nil) //nolint:contextcheck // what follows outlives who asked for it
	} else {
		e.timers.set(a.id, a.m.State().Wake())
	}
	return nil
}

// tell tells an instance what happened, and makes durable what follows. Found is false where there is no such instance here.
func (e *Engine) tell(ctx context.Context, id string, ev *Event, label string, taken []int64, done func(error)) (found bool, err error) {
	a, err := e.hold(ctx, id)
	if a == nil || err != nil {
		return false, err
	}
	defer a.mu.Unlock()
	if label != "" {
		if ev.Task, err = a.m.FindTask(label); err != nil {
			e.settle(a, nil)
			return true, err
		}
	}
	before := a.m.State().Phase
	eff, err := a.m.Handle(ev)
	if err != nil {
		e.settle(a, nil)
		return true, err
	}
	if idle(&eff) && before == a.m.State().Phase && len(taken) == 0 {
		e.settle(a, done) // nothing has changed, or not so that it matters
		return true, nil
	}
	e.submit(a, &eff, nil, taken, func(_ *Outcome, err error) { //nolint:contextcheck // what follows outlives who asked for it
		if done != nil {
			done(err)
		}
	})
	return true, nil
}

// settle ends what changed nothing. The caller holds a.mu.
func (e *Engine) settle(a *actor, done func(error)) {
	e.rest(a)
	if done != nil {
		done(nil)
	}
}

// idle tells whether nothing follows.
func idle(eff *Effects) bool {
	return len(eff.Records) == 0 && len(eff.Calls) == 0 && len(eff.Send()) == 0 && len(eff.Spawn) == 0 && len(eff.Await) == 0 && len(eff.Forget) == 0 &&
		!eff.Acquire && !eff.Release && !eff.Ended && !eff.Parked
}

// Send is the children that are to be told something.
func (eff *Effects) Send() []string {
	if len(eff.Cancel) == 0 {
		return eff.Revoke
	}
	return append(append([]string(nil), eff.Cancel...), eff.Revoke...)
}

// rest lets an actor that has nothing to do soon go out of memory. The caller holds a.mu.
func (e *Engine) rest(a *actor) {
	if a.queued > 0 || a.gone {
		return
	}
	s := a.m.State()
	wake := s.Wake()
	if s.Phase.Ended() || !s.Flying() && (wake.IsZero() || time.Until(wake) > soon) {
		e.timers.set(a.id, time.Time{})
		e.delist(a)
		return
	}
	e.timers.set(a.id, wake)
}

// errUnknown says that there is no such instance.
func errUnknown(id string) *fault.Error {
	return fault.New(fault.CodeSagaInstanceUnknown, "there is no instance %.80q", id).
		Fix("list those there are with atoll saga ls; those that ended long ago are removed")
}
