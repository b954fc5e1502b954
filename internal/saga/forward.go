package saga

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// beginTask begins one task of a step.
func (m *Machine) beginTask(i, j int) {
	id, step, t := TaskID{Step: i, Item: j}, &m.plan.Steps[i], &m.s.Steps[i].Tasks[j]
	var err error
	switch step.Kind {
	case KindCall:
		err = m.beginCall(id)
	case KindChild:
		err = m.beginChild(id)
	case KindWait:
		if err = m.await(id, step.Topic, step.WaitKey); err == nil {
			t.Status = Waiting
			if step.WaitTime > 0 {
				t.Due = m.now.Add(step.WaitTime)
			}
		}
	case KindSleep:
		var due time.Time
		if due, err = step.Sleep.End(m.now, m.scope(i, &id)); err == nil {
			t.Status, t.Due = Sleeping, due
			m.recordTask(id, Record{Kind: RecordWaits, Text: "until " + due.UTC().Format(time.RFC3339)})
		}
	}
	if err != nil {
		t.Status = Refused
		m.fail(id, Record{Kind: RecordRefused, Text: err.Error()})
	}
}

func (m *Machine) beginCall(id TaskID) error {
	t := m.s.Task(id)
	r, err := m.request(m.plan.Steps[id.Step].Do, m.scope(id.Step, &id))
	if err != nil {
		return err
	}
	t.Status, t.Request, t.Attempt, t.Tries = Calling, r, 1, 0
	m.call(id)
	return nil
}

// request puts the expressions of a call in.
func (m *Machine) request(c *Call, sc *Scope) (*Request, error) {
	r := &Request{Service: c.Service, Method: c.Method}
	var err error
	if r.Path, err = c.Path.Text(sc); err != nil {
		return nil, fmt.Errorf("the path of its call cannot be had: %w", err)
	}
	if c.Body != nil {
		if r.Body, err = c.Body.Value(sc); err != nil {
			return nil, fmt.Errorf("the body of its call cannot be had: %w", err)
		}
		if tooDeep(r.Body) {
			return nil, fmt.Errorf("the body of its call cannot be had: %w", errTooDeep)
		}
	}
	for _, h := range c.Headers {
		value, err := h.Value.Text(sc)
		if err != nil {
			return nil, fmt.Errorf("the header %s of its call cannot be had: %w", h.Name, err)
		}
		if r.Headers == nil {
			r.Headers = map[string]string{}
		}
		r.Headers[h.Name] = value
	}
	return r, nil
}

// call has an attempt made.
func (m *Machine) call(id TaskID) {
	step, t := &m.plan.Steps[id.Step], m.s.Task(id)
	t.Due = time.Time{}
	c, undo := step.Do, false
	if t.Status == Undoing {
		c, undo = step.Undo, true
	}
	a := Attempt{Task: id, Undo: undo, Number: t.Attempt, Key: m.key(id, undo), Request: *t.Request, Headers: !undo && step.Output != nil}
	if c != nil { // a request that a person wrote may stand where the definition has none
		a.Timeout, a.Async = c.Timeout, c.Async != nil
	}
	m.eff.Calls = append(m.eff.Calls, a)
}

func (m *Machine) beginChild(id TaskID) error {
	step, t := &m.plan.Steps[id.Step], m.s.Task(id)
	input := m.s.Input
	if step.Pass != nil {
		var err error
		if input, err = step.Pass.Value(m.scope(id.Step, &id)); err != nil {
			return fmt.Errorf("the input of %s cannot be had: %w", step.Child, err)
		}
	}
	t.Status, t.Child = Nested, m.s.ID+"."+m.label(id)
	if t.Alt > 0 {
		t.Child += ".alt" + strconv.Itoa(t.Alt)
	}
	m.eff.Spawn = append(m.eff.Spawn, Spawn{ID: t.Child, Saga: step.Child, Input: input, Revocable: step.Revocable})
	m.recordTask(id, Record{Kind: RecordChild, Text: t.Child})
	return nil
}

// await begins to wait for an event.
func (m *Machine) await(id TaskID, topic string, key Text) error {
	value, err := key.Text(m.scope(id.Step, &id))
	if err != nil {
		return fmt.Errorf("the key of the event that it waits for cannot be had: %w", err)
	}
	if len(value) > MaxKey {
		return fmt.Errorf("the key of the event that it waits for has %d bytes, at most %d are taken", len(value), MaxKey)
	}
	t := m.s.Task(id)
	t.Topic, t.WaitKey = topic, value
	m.eff.Await = append(m.eff.Await, Await{Task: m.label(id), Topic: topic, Key: value})
	m.recordTask(id, Record{Kind: RecordWaits, Text: "for " + topic + " with key " + value})
	return nil
}

// forget ends the waiting for an event.
func (m *Machine) forget(id TaskID) {
	t := m.s.Task(id)
	if t.Topic != "" {
		m.eff.Forget = append(m.eff.Forget, m.label(id))
		t.Topic, t.WaitKey = "", ""
	}
}

// answered takes how an attempt ended.
func (m *Machine) answered(e *Event) {
	t := m.s.Task(e.Task)
	if t == nil || !t.flying() || t.Attempt != e.Attempt || (t.Status == Undoing) != e.Undo {
		return
	}
	if e.Undo {
		m.undoAnswered(e, t)
		return
	}
	step := &m.plan.Steps[e.Task.Step]
	r := &e.Result
	rec := Record{Attempt: t.Attempt, Status: r.Answer.Status, Took: r.Took, Text: r.Text, Replica: r.By}
	switch classify(step.Do, r) {
	case outcomeDone:
		m.done(e.Task, r, rec)
	case outcomePending:
		m.pending(e.Task, rec)
	case outcomeRefused:
		rec.Kind = RecordRefused
		m.refused(e.Task, rec)
	case outcomeUnsure:
		t.Unsure = true
		m.again(e.Task, r, rec)
	case outcomeUnsent:
		m.again(e.Task, r, rec)
	}
	m.advance()
}

type outcome int

const (
	outcomeDone outcome = iota
	outcomePending
	outcomeRefused
	outcomeUnsure
	outcomeUnsent
)

// classify tells what the end of an attempt to take a step means.
func classify(c *Call, r *Result) outcome {
	status := r.Answer.Status
	switch {
	case r.Verdict == Failure:
		return outcomeRefused
	case r.Verdict == Unsent:
		return outcomeUnsent
	case r.Verdict == NoAnswer:
		return outcomeUnsure
	case status == 202 && c != nil && c.Async != nil:
		return outcomePending
	case status >= 200 && status < 300:
		return outcomeDone
	case c == nil && RefusedByDefault(status), c != nil && c.Refused(status):
		return outcomeRefused
	}
	return outcomeUnsure
}

// RefusedByDefault tells which statuses are refusals for good where a definition names none.
func RefusedByDefault(status int) bool {
	switch status {
	case 408, 421, 425, 429:
		return false
	}
	return status >= 400 && status < 500
}

// done takes the output of a task that has been taken.
func (m *Machine) done(id TaskID, r *Result, rec Record) {
	step, t := &m.plan.Steps[id.Step], m.s.Task(id)
	t.Took, t.Unsure = true, true
	output, err := m.output(id, &r.Answer)
	if err != nil {
		rec.Kind, rec.Text = RecordDone, "it was taken, but its output cannot be had: "+err.Error()
		t.Text = rec.Text
		m.recordTask(id, rec)
		if step.Role == Compensatable {
			t.Status, t.Request = Failed, nil
			m.fail(id, Record{})
			return
		}
		m.park(id, t.Text)
		return
	}
	rec.Kind = RecordDone
	if len(output) <= keptData {
		rec.Data = output
	}
	if len(output) > MaxOutput || m.size()+len(output) > MaxState {
		rec.Text = fmt.Sprintf("its output of %d bytes is too large to be kept", len(output))
		output = null()
	}
	if tooDeep(output) {
		rec.Text, rec.Data = "its output is not kept: "+errTooDeep.Error(), nil
		output = null()
	}
	m.recordTask(id, rec)
	m.taken(id, output)
}

// taken ends a task as it was meant to.
func (m *Machine) taken(id TaskID, output json.RawMessage) {
	t := m.s.Task(id)
	t.Status, t.Output, t.Request, t.Due, t.Text = Done, output, nil, time.Time{}, ""
	if m.s.Back {
		return
	}
	m.feed(id.Step)
}

// size is how many bytes the outputs have.
func (m *Machine) size() int {
	n := len(m.s.Input)
	for i := range m.s.Steps {
		n += len(m.s.Steps[i].Output)
		for j := range m.s.Steps[i].Tasks {
			n += len(m.s.Steps[i].Tasks[j].Output) + len(m.s.Steps[i].Tasks[j].Item)
		}
	}
	return n
}

// full tells whether the requests under way are as large together as outputs may be: no more are begun beside them then.
func (m *Machine) full() bool {
	n := 0
	for i := range m.s.Steps {
		for j := range m.s.Steps[i].Tasks {
			if r := m.s.Steps[i].Tasks[j].Request; r != nil {
				n += len(r.Body)
			}
		}
	}
	return n > MaxState
}

// output is what later steps read of an answer.
func (m *Machine) output(id TaskID, a *Answer) (json.RawMessage, error) {
	if len(a.Body) == 0 {
		a.Body = null()
	}
	if m.plan.Steps[id.Step].Output == nil {
		return a.Body, nil
	}
	sc := m.scope(id.Step, &id)
	sc.Answer = a
	return m.plan.Steps[id.Step].Output.Value(sc)
}

// pending lets a task that has begun wait for its end.
func (m *Machine) pending(id TaskID, rec Record) {
	step, t := &m.plan.Steps[id.Step], m.s.Task(id)
	t.Unsure, t.Misses = true, 0
	rec.Kind = RecordPending
	m.recordTask(id, rec)
	if m.s.Back {
		t.Status, t.Request = Failed, nil
		return
	}
	async := step.Do.Async
	if async.Topic != "" {
		if err := m.await(id, async.Topic, async.Key); err != nil {
			m.recordTask(id, Record{Kind: RecordFailed, Text: err.Error()}) // a callback may still come
		}
	}
	t.Status, t.Due = Pending, m.now.Add(async.Timeout)
}

// refused takes that a task will not be taken.
func (m *Machine) refused(id TaskID, rec Record) {
	t := m.s.Task(id)
	t.Status, t.Due = Refused, time.Time{}
	if t.Unsure { // an earlier attempt may have had an effect all the same
		t.Status = Failed
	}
	m.fail(id, rec)
}

// again lets a task wait for its next attempt, if there may be one.
func (m *Machine) again(id TaskID, r *Result, rec Record) {
	step, t := &m.plan.Steps[id.Step], m.s.Task(id)
	rec.Kind = RecordFailed
	if m.s.Back {
		t.Status, t.Request = Refused, nil
		if t.Unsure {
			t.Status = Failed
		}
		m.recordTask(id, rec)
		return
	}
	if m.retry(t, step.Retry, step.Role == Retriable, r, &rec) {
		m.note(id, rec)
		return
	}
	t.Status = Refused
	if t.Unsure {
		t.Status = Failed
	}
	m.fail(id, rec)
}

// retry counts a failed attempt and sets when the next is due, if there is to be one. Attempts that reached nobody do not count
// where there is no way but on.
func (m *Machine) retry(t *Task, p Retry, patient bool, r *Result, rec *Record) bool {
	t.Text = failure(rec)
	n := t.Tries + 1
	if r.Verdict == Unsent && patient {
		t.Misses++
		n = t.Misses
	} else {
		t.Misses, t.Tries = 0, t.Tries+1
		if t.Tries >= p.Attempts {
			return false
		}
	}
	wait := jitter(m.s.ID, t.Attempt, exponential(p.Backoff, p.MaxBackoff, n))
	t.Due = m.now.Add(max(wait, min(r.After, time.Hour)))
	return true
}

// note keeps a failed attempt in the history. Of attempts in a row that reached nobody the 1st, 2nd, 4th, 8th … are kept.
func (m *Machine) note(id TaskID, rec Record) {
	if n := m.s.Task(id).Misses; n&(n-1) == 0 {
		m.recordTask(id, rec)
	}
}

// exponential is the wait after n failed attempts.
func exponential(first, most time.Duration, n int) time.Duration {
	wait := first
	for ; n > 1 && wait < most; n-- {
		wait *= 2
	}
	return min(wait, most)
}

// jitter takes up to a half off a wait, so that what failed together is not tried again together. It depends on nothing else than
// its arguments.
func jitter(id string, attempt int, wait time.Duration) time.Duration {
	h := fnv.New64a()
	h.Write([]byte(id))
	h.Write([]byte{byte(attempt), byte(attempt >> 8)})
	return wait - time.Duration(h.Sum64()%1024)*wait/2048
}

// fail takes that a task has failed, after its status was set. The record, if it has a kind, is kept first.
func (m *Machine) fail(id TaskID, rec Record) {
	step, t := &m.plan.Steps[id.Step], m.s.Task(id)
	if rec.Kind != "" {
		m.recordTask(id, rec)
		t.Text = failure(&rec)
	}
	switch {
	case m.s.Back: // what follows is retreat's
	case step.Role == Retriable, step.Role == Pivot && t.Status == Failed && step.Undo == nil:
		m.park(id, t.Text)
	default:
		m.back(Cause{Step: m.label(id), Text: t.Text})
	}
	if t.Status != Stuck { // what is parked is told from what the definition gives when it is tried again
		t.Request = nil
	}
}

// failure is what a record says went wrong.
func failure(rec *Record) string {
	switch {
	case rec.Status == 0:
		return rec.Text
	case rec.Text == "":
		return "answered " + strconv.Itoa(rec.Status)
	}
	return "answered " + strconv.Itoa(rec.Status) + ": " + rec.Text
}

// park lets a task wait for a person.
func (m *Machine) park(id TaskID, text string) {
	t := m.s.Task(id)
	t.Status, t.Due, t.Text = Stuck, time.Time{}, text
	if !m.s.Back {
		m.s.Cause = &Cause{Step: m.label(id), Text: text}
	}
	m.recordTask(id, Record{Kind: RecordParked, Undo: m.s.Back, Text: text})
}

// told takes the end of a pending step, or an event that a step waits for.
func (m *Machine) told(e *Event) error {
	t := m.s.Task(e.Task)
	if t == nil {
		return errCallback()
	}
	step := &m.plan.Steps[e.Task.Step]
	if step.Do != nil && t.over(e.Result.Verdict == Failure) {
		return nil // the same was told before, and the answer to that was lost
	}
	early := t.Status == Calling && step.Do != nil && step.Do.Async != nil // the callback has overtaken the answer
	if m.s.Back || t.Status != Pending && t.Status != Waiting && !early {
		return errCallback()
	}
	m.forget(e.Task)
	rec := Record{Attempt: t.Attempt, Text: e.Result.Text, By: e.By}
	t.Due = time.Time{}
	if e.Result.Verdict == Failure {
		t.Unsure = false // the service itself says so
		rec.Kind = RecordRefused
		m.refused(e.Task, rec)
	} else {
		m.done(e.Task, &e.Result, rec)
	}
	m.advance()
	return nil
}

func errCallback() *fault.Error {
	return fault.New(fault.CodeSagaCallback, "the step does not wait for this: it has ended, or the saga is being compensated").
		Fix("nothing is to be done if the end of the step was told before; otherwise undo what was done, as for an undo")
}

// timer does what is due.
func (m *Machine) timer() {
	s := m.s
	if s.Phase.Ended() {
		return
	}
	if !s.Deadline.IsZero() && !s.Deadline.After(m.now) {
		s.Deadline = time.Time{}
		if !s.Back {
			m.back(Cause{Text: fmt.Sprintf("it took longer than %s", m.plan.Timeout)})
		}
	}
	for i := range s.Steps {
		for j := range s.Steps[i].Tasks {
			if t := &s.Steps[i].Tasks[j]; !t.Due.IsZero() && !t.Due.After(m.now) {
				m.due(TaskID{Step: i, Item: j}, t)
			}
		}
	}
	m.advance()
}

// due does what is due of one task.
func (m *Machine) due(id TaskID, t *Task) {
	step := &m.plan.Steps[id.Step]
	t.Due = time.Time{}
	switch t.Status { //nolint:exhaustive // nothing else is ever due
	case Calling, Undoing:
		t.Attempt++
		m.call(id)
	case Sleeping:
		m.recordTask(id, Record{Kind: RecordDone})
		m.taken(id, null())
	case Waiting:
		m.forget(id)
		rec := Record{Kind: RecordRefused, Text: fmt.Sprintf("no event of %s came in %s", step.Topic, step.WaitTime)}
		if step.GoOn {
			rec.Kind = RecordDone
			m.recordTask(id, rec)
			m.taken(id, null())
			return
		}
		m.refused(id, rec)
	case Pending: // ask again, by the same request
		m.forget(id)
		t.Status = Calling
		m.again(id, &Result{Verdict: NoAnswer}, Record{Attempt: t.Attempt, Text: fmt.Sprintf("its end was not told in %s", step.Do.Async.Timeout)})
	}
}

// childEnded takes how a child ended.
func (m *Machine) childEnded(e *Event) {
	t := m.nesting(e)
	if t == nil {
		return
	}
	switch {
	case t.Status == Revoking && e.Result.Verdict == Failure:
		t.Status = Undone
		m.recordTask(e.Task, Record{Kind: RecordUndone, Undo: true})
	case t.Status == Nested && e.Result.Verdict == Failure:
		m.refused(e.Task, Record{Kind: RecordRefused, Text: e.Result.Text})
	case t.Status == Nested:
		m.done(e.Task, &e.Result, Record{Text: e.Result.Text})
	default:
		return
	}
	m.advance()
}

// nesting is the task whose child an event is about; its name is put into the event.
func (m *Machine) nesting(e *Event) *Task {
	for i := range m.s.Steps {
		for j := range m.s.Steps[i].Tasks {
			if m.s.Steps[i].Tasks[j].Child == e.Child {
				e.Task = TaskID{Step: i, Item: j}
				return &m.s.Steps[i].Tasks[j]
			}
		}
	}
	return nil
}

// resume goes on after the instance was loaded. Attempts that were under way are made again, by the same key.
func (m *Machine) resume() {
	if m.s.Phase.Ended() {
		return
	}
	if m.s.Blocked() {
		m.eff.Acquire = true
	}
	m.repeat()
	m.advance()
}

// repeat makes attempts again that are under way, and of which nobody will tell.
func (m *Machine) repeat() {
	for i := range m.s.Steps {
		for j := range m.s.Steps[i].Tasks {
			t := &m.s.Steps[i].Tasks[j]
			if t.flying() {
				t.Unsure = true
				id := TaskID{Step: i, Item: j}
				m.recordTask(id, Record{Kind: RecordInterrupted, Attempt: t.Attempt, Undo: t.Status == Undoing})
				if m.s.Back && t.Status == Calling {
					m.giveUp(t) // it is undone, whatever became of it
					continue
				}
				m.call(id)
			}
		}
	}
}
