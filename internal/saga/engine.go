package saga

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

// Caller makes calls to services. It is safe for concurrent use.
type Caller interface {
	// Call makes one attempt and returns when it has ended, at the latest when ctx does.
	Call(ctx context.Context, o *Outgoing) Result
}

// Outgoing is an attempt on its way to a service.
type Outgoing struct {
	Attempt
	Saga, Instance string
	Label          string // of the task, such as reserve or reserve.3
	Trace          string // traceparent of what started the saga
}

// Options of Open. The zero values are usable but for Compile.
type Options struct {
	Logger *slog.Logger
	// Compile makes a plan of the canonical JSON of a definition.
	Compile func(source []byte) (*Plan, error)
	// Next is when a schedule is due after a time; nil: there are no schedules.
	Next func(c manifest.Cron, zone string, after time.Time) (time.Time, error)
	// Keep is how long an instance is kept after its end; default 30 days.
	Keep time.Duration
	// MaxActive is how many instances may be in memory at once; default 100,000. Beyond it starts are refused.
	MaxActive int
	// PerService is how many calls to one service are under way at once; default 256. The others wait, for that service alone.
	PerService int
	// Drain is how long calls under way may go on when the engine ends; default 10 s.
	Drain time.Duration
	// OnStarted, OnParked and OnEnded are told once it is durable, OnAttempt when an attempt has ended; they must not block.
	OnStarted func(saga string)
	OnParked  func(*Instance)
	OnEnded   func(*Instance)
	OnAttempt func(o *Outgoing, began time.Time, r *Result)
	// OnBroken is told that the engine has stopped, since its store is broken.
	OnBroken func(error)
}

func (o *Options) withDefaults() Options {
	out := *o
	out.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	out.Keep = cmp.Or(o.Keep, 30*24*time.Hour)
	out.MaxActive = cmp.Or(o.MaxActive, 100_000)
	out.PerService = cmp.Or(o.PerService, 256)
	out.Drain = cmp.Or(o.Drain, 10*time.Second)
	if out.OnStarted == nil {
		out.OnStarted = func(string) {}
	}
	if out.OnParked == nil {
		out.OnParked = func(*Instance) {}
	}
	if out.OnEnded == nil {
		out.OnEnded = func(*Instance) {}
	}
	if out.OnAttempt == nil {
		out.OnAttempt = func(*Outgoing, time.Time, *Result) {}
	}
	if out.OnBroken == nil {
		out.OnBroken = func(error) {}
	}
	return out
}

// Engine runs instances. It is safe for concurrent use.
type Engine struct {
	store  Store
	caller Caller
	o      Options
	log    *slog.Logger
	plans  *plans
	lanes  *lanes
	timers *timers
	queue  *queue
	ends   *ends

	epoch    atomic.Int64 // grows when all in memory is given up
	broken   atomic.Bool
	draining atomic.Bool
	resweep  atomic.Bool // what is due was given up with all in memory, or by another engine

	mu     sync.Mutex
	actors map[string]*actor // guarded by mu
	owned  map[int]bool      // guarded by mu
	shards []int             // guarded by mu: owned as a list
	taking map[int64]bool    // guarded by mu: signals that are being handled

	calling       context.Context //nolint:containedctx // ends all calls, which outlive who asked for them
	endCalls      context.CancelFunc
	running       context.Context //nolint:containedctx // ends the engine's own goroutines
	stop          context.CancelFunc
	wait          sync.WaitGroup // for the engine's own goroutines
	handling      *handlers      // goroutines that handle what a commit led to
	claims        chan struct{}  // holds one: claim at once
	rescheduled   chan struct{}  // holds one: there are other plans
	stopCommitter context.CancelFunc
	committed     chan struct{} // closed when the committer has ended
}

// Open returns an engine on a store, which takes instances and does nothing with them until Run. The engine does not close the store.
func Open(ctx context.Context, store Store, caller Caller, opts *Options) (*Engine, error) {
	e := &Engine{
		store: store, caller: caller, o: opts.withDefaults(), actors: map[string]*actor{}, owned: map[int]bool{}, taking: map[int64]bool{},
		queue: newQueue(), handling: newHandlers(), ends: newEnds(), claims: make(chan struct{}, 1), rescheduled: make(chan struct{}, 1), committed: make(chan struct{}),
	}
	e.log = e.o.Logger
	e.plans = newPlans(store, e.o.Compile)
	e.lanes = newLanes(e.o.PerService)
	e.timers = newTimers(e.wake)
	if err := e.plans.load(ctx, e.log); err != nil {
		return nil, fmt.Errorf("open sagas: %w", err)
	}
	life := context.WithoutCancel(ctx)
	e.calling, e.endCalls = context.WithCancel(life)
	e.running, e.stop = context.WithCancel(life)
	committing, stopCommitter := context.WithCancel(life)
	e.stopCommitter = stopCommitter
	go e.commitAll(committing)
	return e, nil
}

// Run begins to go on with what an earlier engine has left, and with all that is started. It is called once.
func (e *Engine) Run() {
	e.claims <- struct{}{}
	e.wait.Go(func() { e.keepClaim(e.running) })
	e.wait.Go(func() { e.timers.run(e.running) })
	e.wait.Go(func() { e.sweep(e.running) })
	e.wait.Go(func() { e.watchSignals(e.running) })
	e.wait.Go(func() { e.schedule(e.running) })
	e.wait.Go(func() { e.purge(e.running) })
}

// Prepare keeps plans; what it returns puts them into force: new instances run these. Those that run keep what they began with.
func (e *Engine) Prepare(ctx context.Context, all []*Plan) (commit func(), err error) {
	if err := e.plans.save(ctx, all); err != nil {
		return nil, err
	}
	return func() {
		e.plans.apply(all)
		select {
		case e.rescheduled <- struct{}{}:
		default:
		}
	}, nil
}

// Drain ends the calling: no call begins any more, and those under way may end, within Options.Drain. What has not ended goes on
// when the engine is opened again.
func (e *Engine) Drain() {
	e.draining.Store(true)
	timer := time.AfterFunc(e.o.Drain, e.endCalls)
	e.lanes.close()
	timer.Stop()
	e.endCalls()
}

// Close ends the engine, after Drain. What was accepted is durable when it returns.
func (e *Engine) Close() {
	e.Drain()
	e.stop()
	e.wait.Wait()
	e.handling.wait()
	e.stopCommitter()
	<-e.committed
	e.handling.wait()
	e.ends.close()
}

// Ask is a request to start an instance.
type Ask struct {
	Saga  string
	Input []byte // JSON
	Idem  string // idempotency key; "" for none
	Trace string // traceparent
	By    string // who asks
}

// MaxIdem is the longest idempotency key.
const MaxIdem = 255

// Start starts an instance, or finds the one that the same key has started. It is durable when Start returns without an error. With
// a *fault.Error none was started; after any other error it is not known.
func (e *Engine) Start(ctx context.Context, ask Ask) (*Instance, error) {
	return e.start(ctx, &ask, newID(time.Now()))
}

// StartAndWait is Start, and Wait for so long.
func (e *Engine) StartAndWait(ctx context.Context, ask Ask, wait time.Duration) (*Instance, error) {
	if wait <= 0 {
		return e.Start(ctx, ask)
	}
	id := newID(time.Now())
	ch, forget := e.ends.of(id)
	i, err := e.start(ctx, &ask, id)
	if err != nil || i.Phase.Ended() {
		forget()
		return i, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if i.ID != id { // the same key has started it before
		forget()
		return e.Wait(ctx, i.ID)
	}
	defer forget()
	select {
	case ended := <-ch:
		if ended != nil {
			return ended, nil
		}
	case <-ctx.Done():
	}
	return e.Get(context.WithoutCancel(ctx), id)
}

func (e *Engine) start(ctx context.Context, ask *Ask, id string) (*Instance, error) {
	plan, err := e.plans.current(ask.Saga)
	if err != nil {
		return nil, err
	}
	if err := e.admit(ask); err != nil {
		return nil, err
	}
	shard, err := e.shard()
	if err != nil {
		return nil, err
	}
	m, eff, err := Begin(plan, Opening{ID: id, Input: ask.Input, At: time.Now(), Trace: ask.Trace, By: ask.By})
	if err != nil {
		return nil, err
	}
	type result struct {
		instance *Instance
		err      error
	}
	results := make(chan result, 1)
	a := e.newActor(m, shard)
	a.mu.Lock()
	e.enlist(a)
	origin := &Origin{Idem: ask.Idem}
	if ask.Idem != "" {
		origin.Print = fingerprint(ask.Input)
	}
	trouble := m.trouble()
	a.row.Step, a.row.Error = trouble.Step, trouble.Text
	view := viewOf(&a.row, m.State())
	e.submit(a, &eff, origin, nil, func(o *Outcome, err error) { //nolint:contextcheck // what follows outlives who asked for it
		switch {
		case err != nil:
			results <- result{nil, err}
		case o.Existing == nil:
			results <- result{view, nil}
		default:
			found, err := e.existing(o, origin, ask)
			results <- result{found, err}
		}
	})
	a.mu.Unlock()
	select {
	case r := <-results:
		return r.instance, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// admit refuses what cannot be taken now or ever.
func (e *Engine) admit(ask *Ask) error {
	if e.broken.Load() {
		return errBroken()
	}
	if len(ask.Idem) > MaxIdem {
		return fault.New(fault.CodeSagaInput, "the Idempotency-Key has %d bytes, at most %d are taken", len(ask.Idem), MaxIdem).Fix("send a shorter one, such as the number of the order")
	}
	if !utf8.ValidString(ask.Idem) || strings.ContainsRune(ask.Idem, 0) { // of two of them a store may make the same
		return fault.New(fault.CodeSagaInput, "the Idempotency-Key is no text").Fix("send one of letters and digits, such as the number of the order")
	}
	if e.draining.Load() {
		return fault.New(fault.CodeSagaBusy, "the saga engine is ending").Fix("try again once the application runs again")
	}
	e.mu.Lock()
	active := len(e.actors)
	e.mu.Unlock()
	if active >= e.o.MaxActive {
		return fault.New(fault.CodeSagaBusy, "%d instances are under way, more are not taken", active).
			Fix("try again in a moment; atoll saga ls shows where they stand")
	}
	return nil
}

func errBroken() *fault.Error {
	return fault.New(fault.CodeSagaStoreUnreachable, "the saga engine has stopped: its store failed in a way after which it cannot be trusted").
		Fix("look at the operator's log, mend the disk, and start the application again; atoll explain %s tells more", fault.CodeSagaStoreUnreachable)
}

// existing answers with the instance that a key has started before.
func (e *Engine) existing(o *Outcome, origin *Origin, ask *Ask) (*Instance, error) {
	if o.Print != origin.Print {
		return nil, fault.New(fault.CodeSagaKeyReused, "the idempotency key %q has started an instance of %s with another input already", ask.Idem, ask.Saga).
			Fix("send the same input again, or take a new key for a new instance")
	}
	return instanceOf(o.Existing)
}

// shard is one that the engine owns.
func (e *Engine) shard() (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.shards) == 0 {
		return 0, fault.New(fault.CodeSagaBusy, "this engine owns no part of the store at the moment").Fix("try again in a moment")
	}
	return e.shards[int(time.Now().UnixNano()/1000)%len(e.shards)], nil
}

// errUnsure says that a commit has failed, so that it is not known what of it is durable.
var errUnsure = errors.New("saga: it is not known whether the change is durable")
