package saga

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"
)

// The most that one commit takes.
const (
	maxBatch      = 512
	maxBatchBytes = 8 << 20
)

// group is changes that must be in one commit, with what is to be done once they are durable.
type group struct {
	changes []*Change
	size    int
	epoch   int64
	after   []func(*Outcome, error) // by change
}

// queue holds what waits to be committed. It is bounded by the instances in memory.
type queue struct {
	mu     sync.Mutex
	groups []*group      // guarded by mu
	closed bool          // guarded by mu
	more   chan struct{} // holds one
}

func newQueue() *queue { return &queue{more: make(chan struct{}, 1)} }

// add queues a group. It tells whether the queue is open.
func (q *queue) add(g *group) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	q.groups = append(q.groups, g)
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default:
	}
	return true
}

// close closes the queue if it is empty.
func (q *queue) close() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = len(q.groups) == 0
	return q.closed
}

// next takes groups for one commit, at least one if there is one.
func (q *queue) next() []*group {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size, taken := 0, 0, 0
	for taken < len(q.groups) && (taken == 0 || n+len(q.groups[taken].changes) <= maxBatch && size < maxBatchBytes) {
		n += len(q.groups[taken].changes)
		size += q.groups[taken].size
		taken++
	}
	out := append([]*group(nil), q.groups[:taken]...)
	rest := copy(q.groups, q.groups[taken:])
	clear(q.groups[rest:])
	q.groups = q.groups[:rest]
	return out
}

// submit makes what a machine has decided durable, and does it then. The caller holds a.mu.
func (e *Engine) submit(a *actor, eff *Effects, origin *Origin, taken []int64, done func(*Outcome, error)) {
	g := &group{epoch: a.epoch}
	e.compose(g, a, eff, origin, taken, done)
	e.enqueue(g)
}

// enqueue has a group committed. Once the engine has ended it never will be.
func (e *Engine) enqueue(g *group) {
	if !e.queue.add(g) {
		e.handling.run(func() { g.finish(nil, errUnsure) })
	}
}

// compose adds the change of one actor, and the children that it starts, to a group. The caller holds a.mu.
func (e *Engine) compose(g *group, a *actor, eff *Effects, origin *Origin, taken []int64, done func(*Outcome, error)) {
	c := e.change(a, eff, origin, taken)
	a.queued++
	view := e.viewFor(a, eff)
	g.changes = append(g.changes, c)
	g.size += len(c.Records) + len(c.Row.State)
	calls, acquired, name := eff.Calls, eff.Acquire, a.row.Saga
	g.after = append(g.after, func(o *Outcome, err error) {
		if err == nil && c.Create != nil && o.Existing == nil && !o.Orphan {
			e.o.OnStarted(name)
		}
		if done != nil {
			done(o, err)
		}
		e.followed(a, o, err, calls, acquired, view)
	})
	for i := range eff.Spawn {
		e.spawn(g, c, a, &eff.Spawn[i])
	}
}

// viewFor is the instance as those are told who want to know of its end, or that it is parked; nil if it is neither.
func (e *Engine) viewFor(a *actor, eff *Effects) *Instance {
	if !eff.Ended && !eff.Parked {
		return nil
	}
	return viewOf(&a.row, a.m.State())
}

// change is what the store is told. The caller holds a.mu.
func (e *Engine) change(a *actor, eff *Effects, origin *Origin, taken []int64) *Change {
	s := a.m.State()
	r := &a.row
	r.Rev++
	r.Hash, r.Key, r.Phase, r.Ended, r.Wake, r.Purge = s.Hash, s.Key, s.Phase, s.Ended, wakeOf(s), time.Time{}
	if s.Blocked() {
		r.Wake = min(r.Wake, recheck(r.Rev))
	}
	trouble := a.m.trouble()
	r.Step, r.Error = trouble.Step, trouble.Text
	if s.Phase.Ended() && s.Parent == "" {
		keep := a.m.Plan().Keep
		if keep == 0 {
			keep = e.o.Keep
		}
		r.Purge = s.Ended.Add(keep)
	}
	row := *r
	row.State = encodeState(s)
	c := &Change{Row: &row, Create: origin, Forget: eff.Forget, Taken: taken}
	if origin == nil && row.Rev == 1 {
		c.Create = &Origin{}
	}
	if len(eff.Records) > 0 {
		c.Records = encodeRecords(eff.Records)
	}
	for _, w := range eff.Await {
		c.Await = append(c.Await, Waiter{Task: w.Task, Channel: a.m.Plan().channel(w), Key: w.Key})
	}
	if eff.Acquire {
		c.Acquire = s.Lock
	}
	if eff.Release {
		c.Release = s.Lock
	}
	c.Send = messages(s, eff)
	return c
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("saga: a state that is no JSON: " + err.Error())
	}
	return text
}

// wakeOf says when a store is to hand an instance out.
func wakeOf(s *State) Wake {
	wake := s.Wake()
	switch {
	case s.Phase.Ended():
		return WakeNever
	case s.Flying():
		return WakeActive
	case wake.IsZero():
		return WakeNever
	}
	return WakeAt(wake)
}

// recheck is when to ask once more for a lock that an instance waits for. A store says so when it gives the lock on, but an engine may
// end between a commit that has got it at once and the word of that.
func recheck(rev int64) Wake {
	if rev == 1 {
		return WakeAt(time.Now().Add(30 * time.Second))
	}
	return WakeAt(time.Now().Add(10 * time.Minute))
}

// messages is what other instances are told: children that are to be undone, and the parent of one that has ended.
func messages(s *State, eff *Effects) []Signal {
	var out []Signal
	for _, child := range eff.Cancel {
		out = append(out, Signal{Instance: child, Event: encode(&Event{Kind: EventCancel, By: "saga", Reason: "the saga that it is a part of is being compensated"})})
	}
	for _, child := range eff.Revoke {
		out = append(out, Signal{Instance: child, Event: encode(&Event{Kind: EventRevoke})})
	}
	if eff.Ended && s.Parent != "" {
		ev := &Event{Kind: EventChild, Child: s.ID, Result: Result{Verdict: Answered, Answer: Answer{Status: 200, Body: s.Output}}}
		if s.Phase == Compensated {
			ev.Result = Result{Verdict: Failure, Text: describe(*s.Cause)}
		}
		out = append(out, Signal{Instance: s.Parent, Event: encode(ev)})
	}
	return out
}

// spawn adds a child to the group of its parent, whose mutex the caller holds; one that cannot be started is told to the parent.
func (e *Engine) spawn(g *group, c *Change, parent *actor, sp *Spawn) {
	fail := func(err error) {
		c.Send = append(c.Send, Signal{Instance: parent.id, Event: encode(&Event{
			Kind: EventChild, Child: sp.ID, Result: Result{Verdict: Failure, Text: "it cannot be started: " + err.Error()},
		})})
	}
	ps := parent.m.State()
	plan, err := e.plans.current(sp.Saga)
	if err == nil && ps.Depth+1 > MaxDepth {
		err = errors.New("sagas lie too deep within each other")
	}
	if err == nil && sp.Revocable && slices.ContainsFunc(plan.Steps, func(s Step) bool { return s.Role == Pivot }) {
		err = errors.New("it has a pivot by now, and could not be undone when a later step fails")
	}
	if err != nil {
		fail(err)
		return
	}
	m, eff, err := Begin(plan, Opening{
		ID: sp.ID, Input: sp.Input, At: time.Now(), Trace: ps.Trace, Parent: parent.id, Depth: ps.Depth + 1, Held: ps.locks(), By: "saga/" + ps.Saga,
	})
	if err != nil {
		fail(err)
		return
	}
	child := e.newActor(m, parent.row.Shard)
	child.mu.Lock()
	defer child.mu.Unlock()
	e.enlist(child)
	e.compose(g, child, &eff, nil, nil, nil)
}

// commitAll commits what is queued, until ctx ends and nothing is queued any more. While one commit is being made durable the next
// one gathers.
func (e *Engine) commitAll(ctx context.Context) {
	defer close(e.committed)
	committing := context.WithoutCancel(ctx)
	for {
		groups := e.queue.next()
		if len(groups) == 0 {
			select {
			case <-e.queue.more:
				continue
			case <-ctx.Done():
				if groups = e.queue.next(); len(groups) == 0 {
					if e.queue.close() {
						return
					}
					continue
				}
			}
		}
		e.commit(committing, groups)
	}
}

// commit makes one batch durable and hands it to those that go on with it.
func (e *Engine) commit(ctx context.Context, groups []*group) {
	epoch := e.epoch.Load()
	var changes []*Change
	current := groups[:0:0]
	for _, g := range groups {
		if g.epoch == epoch {
			current = append(current, g)
			changes = append(changes, g.changes...)
		} else {
			g.finish(nil, errUnsure)
		}
	}
	if len(current) == 0 {
		return
	}
	if e.broken.Load() {
		for _, g := range current {
			g.finish(nil, errUnsure)
		}
		return
	}
	outcomes, err := e.store.Commit(ctx, changes)
	if err != nil {
		e.log.Error("sagas: commit", "error", err, "changes", len(changes))
		e.reset(ctx, err, current)
		return
	}
	e.handling.run(func() {
		at := 0
		for _, g := range current {
			g.finish(outcomes[at:at+len(g.changes)], nil)
			at += len(g.changes)
		}
	})
}

// finish goes on with a group that is durable, or about which nothing is known.
func (g *group) finish(outcomes []Outcome, err error) {
	for i, after := range g.after {
		if err != nil {
			after(nil, err)
			continue
		}
		after(&outcomes[i], nil)
	}
}

// followed does what follows from a change that is durable.
func (e *Engine) followed(a *actor, o *Outcome, err error, calls []Attempt, acquired bool, view *Instance) {
	a.mu.Lock()
	a.queued--
	dead := err != nil || o.Existing != nil || o.Orphan
	if dead {
		e.timers.set(a.id, time.Time{})
		e.delist(a)
		a.mu.Unlock()
		return
	}
	granted := acquired && o.Granted
	if !granted {
		e.rest(a)
	}
	a.mu.Unlock()
	for i := range calls {
		e.launch(a, &calls[i])
	}
	if granted {
		e.handleAsync(a.id, &Event{Kind: EventGranted})
	}
	e.dispatch(o.Sent)
	if view == nil {
		return
	}
	if view.Phase.Ended() {
		e.ends.ended(view)
		e.o.OnEnded(view)
	} else {
		e.o.OnParked(view)
	}
}

// handleAsync tells an instance something, on a goroutine of its own.
func (e *Engine) handleAsync(id string, ev *Event) {
	e.handling.run(func() {
		ev.At = time.Now()
		if _, err := e.tell(context.WithoutCancel(e.running), id, ev, "", nil, nil); err != nil {
			e.log.Error("sagas: go on", "instance", id, "event", ev.Kind, "error", err)
		}
	})
}

// reset gives up all that is in memory after a commit has failed, and begins again from the store.
func (e *Engine) reset(ctx context.Context, cause error, failed []*group) {
	e.abandon()
	for _, g := range failed {
		g.finish(nil, errUnsure)
	}
	wait := 50 * time.Millisecond
	for {
		err := e.store.Reset(ctx)
		if err == nil {
			break
		}
		if errors.Is(err, ErrBroken) || errors.Is(cause, ErrBroken) {
			e.broken.Store(true)
			e.log.Error("sagas: the store is broken", "error", errors.Join(cause, err))
			e.o.OnBroken(errors.Join(cause, err))
			return
		}
		e.log.Error("sagas: reset store", "error", err)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-e.running.Done():
			timer.Stop()
			return
		}
		wait = min(2*wait, 5*time.Second)
	}
	select {
	case e.claims <- struct{}{}:
	default:
	}
}

// abandon forgets all that is in memory. Answers to calls that are under way come to nothing; the calls are made again.
func (e *Engine) abandon() {
	e.epoch.Add(1)
	e.mu.Lock()
	e.actors, e.owned, e.shards = map[string]*actor{}, map[int]bool{}, nil
	e.mu.Unlock()
	e.timers.clear()
	e.lanes.forget()
}
