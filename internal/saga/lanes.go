package saga

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// lanes make calls, a lane for each service: so many at once, the others in their order. A service that hangs holds up its own
// lane alone.
type lanes struct {
	limit int

	mu     sync.Mutex
	by     map[string]*lane // guarded by mu
	closed bool             // guarded by mu
	wait   sync.WaitGroup   // for the goroutines of all lanes
}

type lane struct {
	running int           // jobs
	waiting []func()      // jobs, while as many run as may
	resting []chan func() // of goroutines that have nothing to do, the latest last
}

// maxResting is how many goroutines of a lane stay when they have nothing to do: one that was at work has the stack that a call needs.
const maxResting = 64

func newLanes(limit int) *lanes { return &lanes{limit: limit, by: map[string]*lane{}} }

// add runs a job on its service's lane.
func (l *lanes) add(service string, job func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	ln := l.by[service]
	if ln == nil {
		ln = &lane{}
		l.by[service] = ln
	}
	if ln.running >= l.limit {
		ln.waiting = append(ln.waiting, job)
		return
	}
	ln.running++
	if last := len(ln.resting) - 1; last >= 0 {
		ln.resting[last] <- job // it has room
		ln.resting = ln.resting[:last]
		return
	}
	l.wait.Go(func() { l.run(ln, job) })
}

// run runs jobs of a lane until it is not needed any more.
func (l *lanes) run(ln *lane, job func()) {
	next := make(chan func(), 1)
	for job != nil {
		job()
		if job = l.ended(ln, next); job == nil {
			job = <-next
		}
	}
}

// ended tells a goroutine what to do after a job: the one that it returns, or the one that next will give, which is closed when there
// is nothing more for it.
func (l *lanes) ended(ln *lane, next chan func()) func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(ln.waiting) > 0 && !l.closed {
		job := ln.waiting[0]
		ln.waiting[0] = nil
		ln.waiting = ln.waiting[1:]
		return job
	}
	ln.running--
	if l.closed || len(ln.resting) >= maxResting {
		close(next)
	} else {
		ln.resting = append(ln.resting, next)
	}
	return nil
}

// forget drops the jobs that wait.
func (l *lanes) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ln := range l.by {
		ln.waiting = nil
	}
}

// close begins no job any more, and returns when those under way have ended.
func (l *lanes) close() {
	l.mu.Lock()
	l.closed = true
	for _, ln := range l.by {
		for _, next := range ln.resting {
			close(next)
		}
		ln.resting = nil
	}
	l.mu.Unlock()
	l.wait.Wait()
}

// launch makes an attempt.
func (e *Engine) launch(a *actor, at *Attempt) {
	a.mu.Lock()
	if a.gone {
		a.mu.Unlock()
		return
	}
	s := a.m.State()
	o := &Outgoing{Attempt: *at, Saga: s.Saga, Instance: s.ID, Label: a.m.label(at.Task), Trace: s.Trace}
	a.mu.Unlock()
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	e.lanes.add(at.Request.Service, func() {
		if a.epoch != e.epoch.Load() || e.running.Err() != nil {
			return
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(e.calling, o.Timeout)
		r := e.caller.Call(ctx, o)
		cancel()
		if e.draining.Load() && e.calling.Err() != nil {
			return // cut off by the end of the engine: made again by the next one
		}
		r.Took = time.Since(began)
		e.o.OnAttempt(o, began, &r)
		ev := &Event{Kind: EventAnswered, At: time.Now(), Task: o.Task, Undo: o.Undo, Attempt: o.Number, Result: r}
		e.answer(a, ev)
	})
}

const defaultTimeout = 30 * time.Second

// answer tells an instance how an attempt has ended. The actor is in memory as long as an attempt is under way, unless all was given
// up.
func (e *Engine) answer(a *actor, ev *Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone || a.epoch != e.epoch.Load() {
		return
	}
	eff, err := a.m.Handle(ev)
	if err != nil {
		e.log.Error("sagas: take answer", "instance", a.id, "error", err)
		return
	}
	if idle(&eff) && !ev.kept() {
		e.rest(a)
		return
	}
	e.submit(a, &eff, nil, nil, nil)
}

// kept tells that an event changes the state even if nothing follows from it now.
func (ev *Event) kept() bool { return ev.Kind == EventAnswered }

// timers tell when an instance in memory has something due.
type timers struct {
	fire func(id string)

	mu    sync.Mutex
	heap  timerHeap         // guarded by mu
	by    map[string]*timer // guarded by mu
	early chan struct{}     // holds one: the first of the heap is another
}

type timer struct {
	id    string
	at    time.Time
	index int
}

func newTimers(fire func(id string)) *timers {
	return &timers{fire: fire, by: map[string]*timer{}, early: make(chan struct{}, 1)}
}

// set sets when an instance has something due; a zero time means never.
func (t *timers) set(id string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	there := t.by[id]
	switch {
	case there == nil && at.IsZero():
		return
	case there == nil:
		there = &timer{id: id, at: at}
		t.by[id] = there
		heap.Push(&t.heap, there)
	case at.IsZero():
		heap.Remove(&t.heap, there.index)
		delete(t.by, id)
		return
	case there.at.Equal(at):
		return
	default:
		there.at = at
		heap.Fix(&t.heap, there.index)
	}
	if t.heap[0] == there {
		select {
		case t.early <- struct{}{}:
		default:
		}
	}
}

func (t *timers) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heap, t.by = nil, map[string]*timer{}
}

// run fires what is due, until ctx ends.
func (t *timers) run(ctx context.Context) {
	for {
		wait, due := t.next(time.Now())
		for _, id := range due {
			t.fire(id)
		}
		if len(due) > 0 {
			continue
		}
		clock := time.NewTimer(wait)
		select {
		case <-clock.C:
		case <-t.early:
		case <-ctx.Done():
			clock.Stop()
			return
		}
		clock.Stop()
	}
}

// next takes what is due, or says how long to wait.
func (t *timers) next(now time.Time) (wait time.Duration, due []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.heap) > 0 && len(due) < maxBatch {
		if first := t.heap[0]; first.at.After(now) {
			return first.at.Sub(now), due
		}
		first := heap.Pop(&t.heap).(*timer)
		delete(t.by, first.id)
		due = append(due, first.id)
	}
	return time.Hour, due
}

type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

// Pop implements heap.Interface.
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}

// handlers counts goroutines that may start others.
type handlers struct {
	mu   sync.Mutex
	n    int        // guarded by mu
	none *sync.Cond // n is 0
}

func newHandlers() *handlers {
	h := &handlers{}
	h.none = sync.NewCond(&h.mu)
	return h
}

func (h *handlers) run(f func()) {
	h.mu.Lock()
	h.n++
	h.mu.Unlock()
	go func() {
		defer func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.n--; h.n == 0 {
				h.none.Broadcast()
			}
		}()
		f()
	}()
}

func (h *handlers) wait() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.n > 0 {
		h.none.Wait()
	}
}
