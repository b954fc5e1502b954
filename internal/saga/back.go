package saga

import (
	"slices"
	"time"
)

// back begins to compensate.
func (m *Machine) back(why Cause) {
	m.s.Back, m.s.Cause, m.s.Deadline = true, &why, time.Time{}
	m.record(Record{Kind: RecordBack, Step: "", Text: describe(why)})
	for i := range m.s.Steps {
		for j := range m.s.Steps[i].Tasks {
			m.halt(TaskID{Step: i, Item: j}, &m.s.Steps[i].Tasks[j])
		}
	}
}

func describe(c Cause) string {
	if c.Step == "" {
		return c.Text
	}
	return c.Step + ": " + c.Text
}

// halt stops a task that is not over. What is under way is waited for.
func (m *Machine) halt(id TaskID, t *Task) {
	switch t.Status { //nolint:exhaustive // the others are over
	case Calling:
		if t.flying() {
			return
		}
		m.giveUp(t)
	case Pending:
		t.Status, t.Due, t.Request = Failed, time.Time{}, nil
		m.forget(id)
	case Waiting, Sleeping:
		m.forget(id)
		t.Status, t.Due = Refused, time.Time{}
	case Nested:
		if at := slices.IndexFunc(m.eff.Spawn, func(s Spawn) bool { return s.ID == t.Child }); at >= 0 { // it is not there yet
			m.eff.Spawn = slices.Delete(m.eff.Spawn, at, at+1)
			t.Status, t.Child = Refused, ""
			return
		}
		m.eff.Cancel = append(m.eff.Cancel, t.Child)
	case Stuck:
		m.giveUp(t)
	}
}

// giveUp ends a task that has not been taken, as far as is known.
func (m *Machine) giveUp(t *Task) {
	t.Status, t.Due, t.Request = Refused, time.Time{}, nil
	if t.Unsure {
		t.Status = Failed
	}
}

// retreat undoes all that may be undone now: a step once all that came after it has been.
func (m *Machine) retreat() {
	for again := true; again; {
		again = false
		known := make(map[int]bool, len(m.plan.Steps))
		for i := range slices.Backward(m.plan.Steps) {
			if m.clear(i) || !m.reached(i, known) {
				continue
			}
			if m.undoStep(i) {
				again = true
			}
		}
	}
	for i := range m.plan.Steps {
		if !m.clear(i) {
			return
		}
	}
	m.record(Record{Kind: RecordCompensated})
	m.finish(Compensated)
}

// reached tells whether all that came after a step is undone. Known holds what was found before: the ways through a graph are many.
func (m *Machine) reached(i int, known map[int]bool) bool {
	reached, found := known[i]
	if found {
		return reached
	}
	reached = true
	for _, later := range m.plan.Steps[i].Before {
		if !m.clear(later) || !m.reached(later, known) {
			reached = false
			break
		}
	}
	known[i] = reached
	return reached
}

// clear tells whether nothing of a step is left that is to be undone, or that is not over.
func (m *Machine) clear(i int) bool {
	for j := range m.s.Steps[i].Tasks {
		switch t := &m.s.Steps[i].Tasks[j]; t.Status {
		case Idle, Refused, Undone:
		case Done, Failed:
			if m.undoable(i) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func (m *Machine) undoable(i int) bool {
	return m.plan.Steps[i].Undo != nil || m.plan.Steps[i].Revocable
}

// undoStep begins to undo tasks of a step, as many as may be under way at once, and tells whether something has changed.
func (m *Machine) undoStep(i int) bool {
	step, st := &m.plan.Steps[i], &m.s.Steps[i]
	under := 0
	for j := range st.Tasks {
		if s := st.Tasks[j].Status; s == Undoing || s == Revoking || s == Stuck {
			under++
		}
	}
	changed := false
	for j := len(st.Tasks) - 1; j >= 0; j-- {
		t := &st.Tasks[j]
		if t.Status != Done && t.Status != Failed || !m.undoable(i) {
			continue
		}
		if step.Each != nil && under >= step.AtOnce || under > 0 && m.full() {
			return changed
		}
		under++
		changed = true
		m.undoTask(TaskID{Step: i, Item: j}, t)
	}
	return changed
}

func (m *Machine) undoTask(id TaskID, t *Task) {
	step := &m.plan.Steps[id.Step]
	t.Attempt, t.Tries, t.Misses, t.Alt, t.Text = 1, 0, 0, 0, ""
	if step.Undo == nil {
		t.Status = Revoking
		m.eff.Revoke = append(m.eff.Revoke, t.Child)
		return
	}
	t.Status = Undoing
	r, err := m.request(step.Undo, m.scope(id.Step, &id))
	if err != nil {
		m.park(id, err.Error())
		return
	}
	t.Request = r
	m.call(id)
}

// undoAnswered takes how an attempt to undo ended.
func (m *Machine) undoAnswered(e *Event, t *Task) {
	step, r := &m.plan.Steps[e.Task.Step], &e.Result
	status := r.Answer.Status
	rec := Record{Undo: true, Attempt: t.Attempt, Status: status, Took: r.Took, Text: r.Text, Replica: r.By}
	switch {
	case r.Verdict == Answered && (status >= 200 && status < 300 || step.Undo != nil && slices.Contains(step.Undo.Done, status)):
		t.Status, t.Request, t.Text = Undone, nil, ""
		rec.Kind = RecordUndone
		m.recordTask(e.Task, rec)
	case r.Verdict == Answered && RefusedByDefault(status):
		rec.Kind = RecordRefused
		m.recordTask(e.Task, rec)
		m.park(e.Task, failure(&rec))
	default:
		rec.Kind = RecordFailed
		if m.retry(t, step.Again, true, r, &rec) {
			m.note(e.Task, rec)
			break
		}
		m.recordTask(e.Task, rec)
		m.park(e.Task, failure(&rec))
	}
	m.advance()
}

// revoke compensates a child that has completed, since its parent is being compensated.
func (m *Machine) revoke() {
	if m.s.Phase != Completed {
		return // it is on its way, or there
	}
	m.s.Phase, m.s.Ended, m.s.Output = Compensating, time.Time{}, nil
	m.record(Record{Kind: RecordRevoked})
	m.back(Cause{Text: "the saga that it is a part of is being compensated"})
	m.retreat()
}
