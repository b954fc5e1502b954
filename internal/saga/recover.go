package saga

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

const (
	sweepEvery  = 2 * time.Second  // for what is due soon
	auditEvery  = 30 * time.Second // for all that is not in memory and should be
	signalEvery = 3 * time.Second  // for signals that nobody told of
	pageSize    = 500
	mailKept    = 24 * time.Hour // events that came before somebody waited for them
)

// take takes the shards that a claim gives, and gives up the others.
func (e *Engine) take(c *Claim) {
	owned := map[int]bool{}
	for _, shard := range c.Owned {
		owned[shard] = true
	}
	e.mu.Lock()
	var lost []*actor
	for _, a := range e.actors {
		switch shard := a.row.Shard; { // it never changes
		case a.row.ID == "": // who reads it looks for itself whose it is
		case !owned[shard], slices.Contains(c.Fresh, shard): // another engine may have gone on with it
			lost = append(lost, a)
		}
	}
	fresh := slices.DeleteFunc(slices.Clone(c.Owned), func(s int) bool { return e.owned[s] && !slices.Contains(c.Fresh, s) })
	e.owned, e.shards = owned, slices.Clone(c.Owned)
	e.mu.Unlock()
	for _, a := range lost {
		e.forget(a)
		e.timers.set(a.id, time.Time{})
	}
	if len(fresh) > 0 {
		e.resweep.Store(true)
		e.wait.Go(func() { e.recover(e.running, fresh) })
	}
}

// keepClaim claims shards, and again in time, until ctx ends.
func (e *Engine) keepClaim(ctx context.Context) {
	var c Claim
	for {
		var due <-chan time.Time
		timer := time.NewTimer(c.Again)
		if c.Again > 0 {
			due = timer.C
		}
		select {
		case <-due:
		case <-e.claims:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
		next, err := e.store.Claim(ctx)
		if err != nil {
			if ctx.Err() == nil {
				e.log.Error("sagas: claim shards", "error", err)
			}
			c.Again = time.Second
			continue
		}
		c = next
		e.take(&c)
	}
}

// recover wakes the instances of shards that an engine has left in the middle of something.
func (e *Engine) recover(ctx context.Context, shards []int) {
	after := ""
	for ctx.Err() == nil {
		epoch := e.epoch.Load()
		rows, err := e.store.Active(ctx, shards, after, pageSize)
		if err != nil {
			e.log.Error("sagas: recover", "error", err)
			return // the audit tries again
		}
		for i := range rows {
			after = rows[i].ID
			e.revive(ctx, &rows[i], epoch)
		}
		if len(rows) < pageSize {
			return
		}
	}
}

// revive wakes an instance that is not in memory, if there is room.
func (e *Engine) revive(ctx context.Context, row *Row, epoch int64) {
	e.mu.Lock()
	skip := e.actors[row.ID] != nil || !e.owned[row.Shard] || len(e.actors) >= e.o.MaxActive
	e.mu.Unlock()
	if skip || epoch != e.epoch.Load() {
		return
	}
	// The row may be older than what an actor has made durable since it was read, and gone out of memory with: read it again.
	a, err := e.hold(ctx, row.ID)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			e.log.Error("sagas: wake instance", "instance", row.ID, "error", err)
		}
	case a != nil:
		defer a.mu.Unlock()
		e.rest(a) // it may be over by now, or have nothing to do for long
	}
}

// sweep brings instances into memory shortly before something is due, and now and then all that should be there and are not.
func (e *Engine) sweep(ctx context.Context) {
	var done Wake
	audited := time.Now()
	for {
		now := time.Now()
		if e.resweep.Swap(false) {
			done = 0
		}
		from := done
		if now.Sub(audited) > auditEvery {
			audited, from = now, 0
			e.recover(ctx, e.ownedShards())
		}
		until := WakeAt(now.Add(soon))
		if e.bringIn(ctx, from, until) {
			done = until
		}
		if !sleep(ctx, sweepEvery) {
			return
		}
	}
}

// sleep waits, and tells whether ctx still goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (e *Engine) ownedShards() []int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.shards
}

// bringIn brings in what is due, and tells whether that was all.
func (e *Engine) bringIn(ctx context.Context, from, until Wake) bool {
	limit := pageSize
	for ctx.Err() == nil {
		shards := e.ownedShards()
		if len(shards) == 0 {
			return false
		}
		epoch := e.epoch.Load()
		rows, err := e.store.Due(ctx, shards, from, until, limit)
		if err != nil {
			if ctx.Err() == nil {
				e.log.Error("sagas: find what is due", "error", err)
			}
			return false
		}
		for i := range rows {
			e.revive(ctx, &rows[i], epoch)
		}
		if len(rows) < limit {
			return true
		}
		next := rows[len(rows)-1].Wake - 1 // others may be due at the same time
		if next == from {
			limit *= 2 // more than that are
		}
		if from = next; limit > 2*e.o.MaxActive {
			return false
		}
	}
	return false
}

// wake does what is due of an instance.
func (e *Engine) wake(id string) {
	e.handleAsync(id, &Event{Kind: EventTimer})
}

// watchSignals handles signals that came from elsewhere, or were left by an earlier engine.
func (e *Engine) watchSignals(ctx context.Context) {
	for {
		e.readSignals(ctx)
		timer := time.NewTimer(signalEvery)
		select {
		case <-timer.C:
		case <-e.store.Notify():
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

func (e *Engine) readSignals(ctx context.Context) {
	var after int64
	for ctx.Err() == nil {
		shards := e.ownedShards()
		if len(shards) == 0 {
			return
		}
		list, err := e.store.Signals(ctx, shards, after, pageSize)
		if err != nil {
			if ctx.Err() == nil {
				e.log.Error("sagas: read signals", "error", err)
			}
			return
		}
		e.dispatch(list) //nolint:contextcheck // what follows outlives who asked for it
		if len(list) < pageSize {
			return
		}
		after = list[len(list)-1].ID
	}
}

// dispatch handles signals, those of one instance in their order.
func (e *Engine) dispatch(list []Signal) {
	by := map[string][]Signal{}
	var order []string
	e.mu.Lock()
	for _, sig := range list {
		if e.taking[sig.ID] || len(e.taking) > e.o.MaxActive {
			continue
		}
		e.taking[sig.ID] = true
		if by[sig.Instance] == nil {
			order = append(order, sig.Instance)
		}
		by[sig.Instance] = append(by[sig.Instance], sig)
	}
	e.mu.Unlock()
	for _, id := range order {
		signals := by[id]
		e.handling.run(func() {
			for i := range signals {
				e.handleSignal(&signals[i])
			}
		})
	}
}

// handleSignal tells an instance a signal, and has it taken.
func (e *Engine) handleSignal(sig *Signal) {
	ctx := context.WithoutCancel(e.running)
	release := func(error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.taking, sig.ID)
	}
	var ev Event
	if err := json.Unmarshal(sig.Event, &ev); err != nil {
		e.log.Error("sagas: signal that cannot be read", "instance", sig.Instance, "error", err)
		e.discard(sig, release)
		return
	}
	ev.At = time.Now()
	found, err := e.tell(ctx, sig.Instance, &ev, sig.Task, []int64{sig.ID}, release)
	_, refused := errors.AsType[*fault.Error](err)
	switch {
	case refused: // it came too late, or to what cannot take it
		e.discard(sig, release)
	case err != nil:
		e.log.Error("sagas: take signal", "instance", sig.Instance, "error", err)
		release(err)
	case !found:
		release(nil) // another engine's
	}
}

// discard takes a signal without a change of its instance.
func (e *Engine) discard(sig *Signal, done func(error)) {
	e.enqueue(&group{
		epoch: e.epoch.Load(), changes: []*Change{{Taken: []int64{sig.ID}}},
		after: []func(*Outcome, error){func(_ *Outcome, err error) { done(err) }},
	})
}

// purge removes what has been kept long enough, a little at a time.
func (e *Engine) purge(ctx context.Context) {
	for sleep(ctx, time.Minute) {
		for n := 1; n > 0 && ctx.Err() == nil && !e.broken.Load(); {
			var err error
			now := time.Now()
			if n, err = e.store.Purge(ctx, now, now.Add(-mailKept), pageSize); err != nil {
				if ctx.Err() == nil {
					e.log.Error("sagas: purge", "error", err)
				}
				break
			}
			if !sleep(ctx, 100*time.Millisecond) {
				return
			}
		}
	}
}
