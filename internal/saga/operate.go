package saga

import (
	"bytes"
	"cmp"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// cancel compensates because somebody asks for it.
func (m *Machine) cancel(e *Event) error {
	s := m.s
	if s.Phase.Ended() {
		return fault.New(fault.CodeSagaEnded, "the instance has ended: it is %s", s.Phase).Fix("there is nothing left to cancel")
	}
	if s.Back {
		return nil
	}
	if at := m.decided(); at != "" {
		return fault.New(fault.CodeSagaPastPivot, "the saga is at or past its pivot %s, and goes on to its end", at).
			Fix("wait for its end; where it is parked, atoll saga retry, override or replace frees it")
	}
	m.record(Record{Kind: RecordCancelled, By: e.By, Text: e.Reason})
	text := "cancelled"
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	m.back(Cause{Text: text})
	for i := range s.Steps { // a pivot that is parked was not taken: that is what who cancels says
		if m.plan.Steps[i].Role == Pivot {
			for j := range s.Steps[i].Tasks {
				s.Steps[i].Tasks[j].Status = Refused
			}
		}
	}
	m.advance()
	return nil
}

// decided is the pivot if it is too late to cancel.
func (m *Machine) decided() string {
	for i := range m.plan.Steps {
		if m.plan.Steps[i].Role != Pivot || !m.s.Steps[i].Begun {
			continue
		}
		for j := range m.s.Steps[i].Tasks {
			if t := &m.s.Steps[i].Tasks[j]; t.Status != Stuck || t.Took {
				return m.plan.Steps[i].Name
			}
		}
		if m.s.Steps[i].Skipped {
			return m.plan.Steps[i].Name
		}
	}
	return ""
}

// FindTask finds a task by its name, such as reserve or reserve.3, or else by the one that it has begun under; "" is the one that is
// parked, if only one is.
func (m *Machine) FindTask(name string) (TaskID, error) {
	var parked, all []string
	var found TaskID
	was, matches := TaskID{Item: -1}, 0
	for i := range m.s.Steps {
		for j := range m.s.Steps[i].Tasks {
			id := TaskID{Step: i, Item: j}
			label := m.label(id)
			all = append(all, label)
			stuck := m.s.Steps[i].Tasks[j].Status == Stuck
			if stuck {
				parked = append(parked, label)
			}
			if label == name || name == "" && stuck {
				found = id
				matches++
			}
			if m.branch(id) == name {
				was = id
			}
		}
	}
	switch {
	case matches == 1:
		return found, nil
	case name != "" && was.Item >= 0:
		return was, nil
	case name == "" && matches == 0:
		return found, fault.New(fault.CodeSagaStep, "no step of the instance is parked").Fix("see where it stands with atoll saga show %s", m.s.ID)
	case name == "":
		return found, fault.New(fault.CodeSagaStep, "several steps are parked").Fix("name one of %s", strings.Join(parked, ", "))
	}
	return found, fault.New(fault.CodeSagaStep, "the instance has begun no step %q", name).Fix("it has begun %s", strings.Join(all, ", "))
}

// operate does what a person asks for about one task.
func (m *Machine) operate(e *Event) error {
	t := m.s.Task(e.Task)
	if t == nil {
		return fault.New(fault.CodeSagaStep, "the instance has begun no such step").Fix("see its steps with atoll saga show %s", m.s.ID)
	}
	label := m.label(e.Task)
	waits := (t.Status == Calling || t.Status == Undoing) && !t.flying()
	endless := m.s.Back || m.plan.Steps[e.Task.Step].Role == Retriable // as long as nobody is reached, such as a service that is no more
	if t.Status != Stuck && (!waits || !endless && e.Kind != EventRetry) {
		return fault.New(fault.CodeSagaStep, "step %s is not parked, but %s", label, t.Status.text()).
			Fix("see where the instance stands with atoll saga show %s", m.s.ID)
	}
	var err error
	switch e.Kind { //nolint:exhaustive // the others are not a person's
	case EventRetry:
		err = m.retryNow(e, t)
	case EventSkip:
		err = m.passOver(e, t)
	case EventOverride:
		err = m.override(e, t)
	case EventReplace:
		m.replace(e, t)
	}
	if err != nil {
		return err
	}
	if !m.s.Back && !m.stuck() {
		m.s.Cause = nil
	}
	m.advance()
	return nil
}

func (s Status) text() string {
	if s == Idle {
		return "not begun"
	}
	return string(s)
}

// retryNow makes another attempt at once. Where the definition gives another request by now, as after a migration, that is sent, by
// a key of its own.
func (m *Machine) retryNow(e *Event, t *Task) error {
	step := &m.plan.Steps[e.Task.Step]
	retried := Record{Kind: RecordRetried, Undo: m.s.Back, By: e.By, Text: e.Reason}
	if !m.s.Back && t.Request == nil {
		m.recordTask(e.Task, retried)
		m.beginAgain(e.Task, t)
		return nil
	}
	c := step.Do
	if m.s.Back {
		c = step.Undo
	}
	if t.Alt == 0 || t.Request == nil {
		if c == nil {
			return fault.New(fault.CodeSagaStep, "by its definition step %s has nothing to undo any more", step.Name).Fix("atoll saga skip takes it as undone")
		}
		r, err := m.request(c, m.scope(e.Task.Step, &e.Task))
		if err != nil {
			return fault.New(fault.CodeSagaStep, "the call of step %s cannot be made: %s", step.Name, err).
				Fix("name another call with atoll saga replace, or migrate the instance to a mended definition")
		}
		if t.Request != nil && !same(t.Request, r) {
			t.Alt++
		}
		t.Request = r
	}
	m.recordTask(e.Task, retried)
	m.goOn(e.Task, t)
	return nil
}

// beginAgain begins a task anew of which no call was made: it is a child, a wait or a sleep, or could not even begin. A step whose
// condition or list could not be had is held against them again.
func (m *Machine) beginAgain(id TaskID, t *Task) {
	if t.Item == nil && t.Child == "" {
		m.s.Steps[id.Step].Tasks = nil
		m.beginStep(id.Step)
		return
	}
	fresh := Task{Item: t.Item, Alt: t.Alt}
	if t.Child != "" {
		fresh.Alt++ // the child that there was is over
	}
	*t = fresh
	m.beginTask(id.Step, id.Item)
}

func same(a, b *Request) bool {
	return a.Service == b.Service && a.Method == b.Method && a.Path == b.Path && bytes.Equal(a.Body, b.Body) && reflect.DeepEqual(a.Headers, b.Headers)
}

// goOn makes the next attempt of a task that was parked or waits.
func (m *Machine) goOn(id TaskID, t *Task) {
	t.Status = Calling
	if m.s.Back {
		t.Status = Undoing
	}
	t.Attempt++
	t.Tries, t.Misses = 0, 0
	m.call(id)
}

// passOver takes a step as done, or as undone, without a call.
func (m *Machine) passOver(e *Event, t *Task) error {
	if m.s.Back {
		t.Status, t.Request, t.Due, t.Skipped = Undone, nil, time.Time{}, true
		m.recordTask(e.Task, Record{Kind: RecordPassed, Undo: true, By: e.By, Text: e.Reason})
		return nil
	}
	if m.plan.Steps[e.Task.Step].Role == Pivot {
		return fault.New(fault.CodeSagaStep, "the pivot cannot be skipped: it either was taken or was not").
			Fix("find out which; if it was taken, atoll saga override gives its output, if not, atoll saga cancel undoes the rest")
	}
	t.Skipped = true
	m.recordTask(e.Task, Record{Kind: RecordPassed, By: e.By, Text: e.Reason})
	m.taken(e.Task, null())
	return nil
}

// override takes a step as done, with an output that a person gives.
func (m *Machine) override(e *Event, t *Task) error {
	if m.s.Back {
		return fault.New(fault.CodeSagaStep, "what is to be undone has no output").Fix("atoll saga skip takes it as undone")
	}
	if len(e.Data) > MaxOutput || m.size()+len(e.Data) > MaxState {
		return fault.New(fault.CodeSagaInput, "the output has %d bytes, at most %d are taken", len(e.Data), MaxOutput).Fix("give what later steps read, and no more")
	}
	t.Took = true
	rec := Record{Kind: RecordOverridden, By: e.By, Text: e.Reason}
	if len(e.Data) <= keptData {
		rec.Data = e.Data
	}
	m.recordTask(e.Task, rec)
	m.taken(e.Task, e.Data)
	return nil
}

// replace makes another call in the place of the one that fails, by a key of its own.
func (m *Machine) replace(e *Event, t *Task) {
	t.Request = e.Request
	t.Alt++
	m.recordTask(e.Task, Record{
		Kind: RecordReplaced, Undo: m.s.Back, By: e.By,
		Text: fmt.Sprintf("%s %s%s: %s", e.Request.Method, e.Request.Service, e.Request.Path, e.Reason),
	})
	m.goOn(e.Task, t)
}

// Migrate makes an instance one of another plan. Names maps steps of its plan to those of the new one where they are others; a step
// that is not in it keeps its name. Attempts under way are made again; who tells of their ends must leave out those of before, which
// name tasks of the former plan. An error is a *fault.Error that says what of the history forbids it, and nothing has changed.
func (m *Machine) Migrate(to *Plan, names map[string]string, now time.Time, by, reason string) (Effects, error) {
	steps, err := m.translate(to, names)
	if err != nil {
		return Effects{}, err
	}
	m.begin(now)
	m.record(Record{Kind: RecordMigrated, By: by, Text: fmt.Sprintf("from version %.12s to %.12s: %s", m.s.Hash, to.Hash, reason)})
	var waiting []string
	m.eachWaiting(func(label string, _ *Task) { waiting = append(waiting, label) })
	m.plan, m.s.Steps, m.s.Hash, m.vars = to, steps, to.Hash, nil
	m.eff.Forget = append(m.eff.Forget, waiting...)
	m.eachWaiting(func(label string, t *Task) {
		m.eff.Await = append(m.eff.Await, Await{Task: label, Topic: t.Topic, Key: t.WaitKey})
	})
	m.repeat()
	m.advance()
	return m.end(), nil
}

// eachWaiting calls do with each task that waits for an event.
func (m *Machine) eachWaiting(do func(label string, t *Task)) {
	for i := range m.s.Steps {
		for j := range m.s.Steps[i].Tasks {
			if t := &m.s.Steps[i].Tasks[j]; t.Topic != "" {
				do(m.label(TaskID{Step: i, Item: j}), t)
			}
		}
	}
}

// translate puts the steps of an instance into the order of another plan.
func (m *Machine) translate(to *Plan, names map[string]string) ([]StepState, error) {
	refuse := func(fix, format string, args ...any) error {
		return fault.New(fault.CodeSagaMigration, "%s", fmt.Sprintf(format, args...)).Fix("%s", fix)
	}
	if m.s.Phase.Ended() {
		return nil, refuse("only instances that run are migrated", "%s has ended", m.s.ID)
	}
	index := map[string]int{}
	for i := range to.Steps {
		index[to.Steps[i].Name] = i
	}
	for from := range names {
		if m.place(from) < 0 {
			return nil, refuse("correct the map", "the map names a step %q, which version %.12s does not have", from, m.s.Hash)
		}
	}
	steps := make([]StepState, len(to.Steps))
	taken := make([]string, len(to.Steps))
	for i := range m.plan.Steps {
		old, st := &m.plan.Steps[i], &m.s.Steps[i]
		name := old.Name
		if mapped, ok := names[name]; ok {
			name = mapped
		}
		j, ok := index[name]
		switch {
		case !ok && st.Begun:
			return nil, refuse("map it to the step that has its place now", "step %s of %s has begun, and the new version has no step %s", old.Name, m.s.ID, name)
		case !ok:
			continue
		case taken[j] != "":
			return nil, refuse("map each to a step of its own", "steps %s and %s both become %s", taken[j], old.Name, name)
		case st.Begun:
			if err := m.fits(i, &to.Steps[j], refuse); err != nil {
				return nil, err
			}
		}
		taken[j], steps[j] = old.Name, *st
		if was := cmp.Or(st.Name, old.Name); st.Begun && was != to.Steps[j].Name {
			steps[j].Name = was
		}
	}
	if err := branches(to, steps, refuse); err != nil {
		return nil, err
	}
	return steps, m.ordered(to, steps, refuse)
}

// branches refuses a plan in which a step would call by the keys of another.
func branches(to *Plan, steps []StepState, refuse refusal) error {
	by := map[string]string{}
	for j := range to.Steps {
		name := cmp.Or(steps[j].Name, to.Steps[j].Name)
		if other := by[name]; other != "" {
			return refuse("give the step a name that none had before", "steps %s and %s would both call by the name %s, under which one of them has begun", other, to.Steps[j].Name, name)
		}
		by[name] = to.Steps[j].Name
	}
	return nil
}

func (m *Machine) place(name string) int {
	for i := range m.plan.Steps {
		if m.plan.Steps[i].Name == name {
			return i
		}
	}
	return -1
}

type refusal = func(fix, format string, args ...any) error

// fits tells whether what a step has done can stand for another step.
func (m *Machine) fits(i int, to *Step, refuse refusal) error {
	old, st := &m.plan.Steps[i], &m.s.Steps[i]
	switch {
	case old.Kind != to.Kind || old.Kind == KindChild && old.Child != to.Child:
		return refuse("map it to a step of its kind", "step %s has begun as a %s, and %s is a %s", old.Name, old.Kind, to.Name, to.Kind)
	case (old.Each == nil) != (to.Each == nil) && !st.Skipped:
		return refuse("map it to a step of its form", "step %s has begun, and %s differs from it in each", old.Name, to.Name)
	case old.Role != to.Role:
		return refuse("keep the pivot where it is", "step %s is %s in this version and %s in the new one", old.Name, old.Role, to.Role)
	}
	return nil
}

// ordered refuses a plan in which a step that has not begun would have had to come before one that has.
func (m *Machine) ordered(to *Plan, steps []StepState, refuse refusal) error {
	for j := range to.Steps {
		if !steps[j].Begun {
			continue
		}
		for _, before := range to.Steps[j].After {
			if !steps[before].Ended && (!m.s.Back || !steps[before].Begun) {
				return refuse("let the new step come after those that have begun",
					"step %s has begun, and in the new version %s would have had to end before", to.Steps[j].Name, to.Steps[before].Name)
			}
		}
	}
	return nil
}
