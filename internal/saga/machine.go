package saga

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Limits of one instance.
const (
	MaxInput  = 1 << 20
	MaxOutput = 256 << 10 // of one step; what is larger is dropped, and the history says so
	MaxState  = 4 << 20   // of all outputs together
	MaxItems  = 1000      // of each
	MaxKey    = 512       // bytes of what instances, locks and events are found by: no index takes texts of any length
	MaxNested = 1000      // levels of a value; encoding/json reads ten times as many, and a state must be readable whatever it holds
	keptData  = 1 << 10   // of an output, in the history
	keptText  = 500       // of a failure
)

// Machine decides what one instance does: which calls it makes, when it tries again, what it undoes, when it waits for a person. It
// is pure: it has no clock and does nothing by itself. A shell tells it what happened, makes its state durable, and then does what
// follows. The same state and event have the same effects.
type Machine struct {
	plan *Plan
	s    *State
	now  time.Time
	eff  Effects
	vars map[string]json.RawMessage // outputs of steps that have ended
}

// NewMachine returns the machine of an instance of a plan.
func NewMachine(plan *Plan, s *State) *Machine { return &Machine{plan: plan, s: s} }

// State is the instance. Only the machine may change it.
func (m *Machine) State() *State { return m.s }

// Plan is what the instance runs.
func (m *Machine) Plan() *Plan { return m.plan }

// Opening is what a new instance begins with.
type Opening struct {
	ID     string
	Input  json.RawMessage
	At     time.Time
	Trace  string
	Parent string
	Depth  int
	Held   []string // locks of the parent, and of its parents
	By     string   // who starts it
}

// Begin makes a new instance. An error is a *fault.Error; there is no instance then.
func Begin(plan *Plan, o Opening) (*Machine, Effects, error) {
	s := &State{
		ID: o.ID, Saga: plan.Name, Hash: plan.Hash, Input: o.Input, Phase: Running, Parent: o.Parent, Depth: o.Depth, Held: o.Held, Trace: o.Trace,
		Started: o.At, Steps: make([]StepState, len(plan.Steps)),
	}
	if len(s.Input) == 0 {
		s.Input = json.RawMessage("null")
	}
	if len(s.Input) > MaxInput {
		return nil, Effects{}, fault.New(fault.CodeSagaInput, "the input has %d bytes, at most %d are taken", len(s.Input), MaxInput).
			Fix("put what is large elsewhere, and its address into the input")
	}
	if tooDeep(s.Input) {
		return nil, Effects{}, fault.New(fault.CodeSagaInput, "the input has more than %d levels", MaxNested).Fix("send it with fewer lists and objects within each other")
	}
	if plan.Input != nil {
		if err := plan.Input.Check(s.Input); err != nil {
			return nil, Effects{}, err
		}
	}
	m := NewMachine(plan, s)
	m.begin(o.At)
	for _, name := range []struct {
		what string
		text Text
		to   *string
	}{{"key", plan.Key, &s.Key}, {"lock", plan.Lock, &s.Lock}} {
		if name.text == nil {
			continue
		}
		value, err := name.text.Text(&Scope{Input: s.Input, Saga: m.info()})
		if err != nil {
			return nil, Effects{}, fault.New(fault.CodeSagaInput, "the %s of saga %s cannot be had from this input: %s", name.what, plan.Name, err).
				Fix("send an input that has what %s reads", name.what)
		}
		if len(value) > MaxKey {
			return nil, Effects{}, fault.New(fault.CodeSagaInput, "the %s of saga %s has %d bytes with this input, at most %d are taken", name.what, plan.Name, len(value), MaxKey).
				Fix("let the %s be of what names the thing, such as its number", name.what)
		}
		*name.to = value
	}
	if plan.Timeout > 0 {
		s.Deadline = o.At.Add(plan.Timeout)
	}
	if slices.Contains(s.Held, s.Lock) {
		s.Lock = ""
	}
	m.record(Record{Kind: RecordStarted, By: o.By, Text: s.Key})
	if s.Lock != "" {
		m.eff.Acquire = true
	} else {
		m.advance()
	}
	return m, m.end(), nil
}

func (m *Machine) begin(now time.Time) {
	m.now, m.eff = now.UTC(), Effects{}
}

// end brings the phase up to date and returns what is to be done.
func (m *Machine) end() Effects {
	s := m.s
	m.eff.Await = slices.DeleteFunc(m.eff.Await, func(a Await) bool { // it may have been forgotten since
		id, err := m.FindTask(a.Task)
		return err != nil || m.s.Task(id).Topic == ""
	})
	if !s.Phase.Ended() {
		before := s.Phase
		s.Phase = Running
		if s.Back {
			s.Phase = Compensating
		}
		if m.stuck() {
			s.Phase = Parked
			m.eff.Parked = before != Parked
		}
	}
	return m.eff
}

func (m *Machine) stuck() bool {
	for i := range m.s.Steps {
		for j := range m.s.Steps[i].Tasks {
			if m.s.Steps[i].Tasks[j].Status == Stuck {
				return true
			}
		}
	}
	return false
}

// trouble is what is parked, or else what went wrong. A step that is parked while it is undone comes before why it is undone.
func (m *Machine) trouble() Cause {
	if m.s.Phase == Parked {
		for i := range m.s.Steps {
			for j := range m.s.Steps[i].Tasks {
				if t := &m.s.Steps[i].Tasks[j]; t.Status == Stuck {
					return Cause{Step: m.label(TaskID{Step: i, Item: j}), Text: undoText(m.s.Back) + t.Text}
				}
			}
		}
	}
	if m.s.Cause == nil {
		return Cause{}
	}
	return *m.s.Cause
}

func undoText(undo bool) string {
	if undo {
		return "undo: "
	}
	return ""
}

// Handle tells what happened. An error is a *fault.Error that refuses what a person or service asked for, and nothing has changed.
// What comes too late, or twice, changes nothing and has no effects.
func (m *Machine) Handle(e *Event) (Effects, error) {
	m.begin(e.At)
	e.Result.Text = clip(e.Result.Text)
	var err error
	switch e.Kind {
	case EventGranted:
		m.granted()
	case EventAnswered:
		m.answered(e)
	case EventTold:
		err = m.told(e)
	case EventTimer:
		m.timer()
	case EventChild:
		m.childEnded(e)
	case EventResumed:
		m.resume()
	case EventCancel:
		err = m.cancel(e)
	case EventRevoke:
		m.revoke()
	case EventRetry, EventSkip, EventOverride, EventReplace:
		err = m.operate(e)
	default:
		panic("saga: an event of kind " + string(e.Kind))
	}
	if err != nil {
		return Effects{}, err
	}
	return m.end(), nil
}

func (m *Machine) granted() {
	if m.s.Locked || m.s.Phase.Ended() {
		return
	}
	m.s.Locked = true
	m.record(Record{Kind: RecordLocked, Text: m.s.Lock})
	m.advance()
}

// advance begins all that may begin.
func (m *Machine) advance() {
	if m.s.Back {
		m.retreat()
		return
	}
	if m.s.Blocked() {
		return
	}
	for again := true; again && !m.s.Back; {
		again = false
		for i := range m.plan.Steps {
			if m.s.Back {
				break
			}
			if !m.s.Steps[i].Begun && m.free(i) {
				m.beginStep(i)
				again = true
			}
		}
	}
	if m.s.Back { // what was to begin could not
		m.retreat()
		return
	}
	if m.s.Phase.Ended() {
		return
	}
	for i := range m.s.Steps {
		if !m.s.Steps[i].Ended {
			return
		}
	}
	m.complete()
}

// free tells whether all that a step waits for has ended.
func (m *Machine) free(i int) bool {
	for _, from := range m.plan.Steps[i].After {
		if !m.s.Steps[from].Ended {
			return false
		}
	}
	return true
}

// complete ends the instance as it was meant to.
func (m *Machine) complete() {
	if m.plan.Output != nil {
		output, err := m.plan.Output.Value(m.scope(-1, nil))
		if err == nil && tooDeep(output) {
			err = errTooDeep
		}
		if err != nil {
			m.record(Record{Kind: RecordCompleted, Text: "its output cannot be had: " + err.Error()})
			m.finish(Completed)
			return
		}
		m.s.Output = output
	}
	m.record(Record{Kind: RecordCompleted})
	m.finish(Completed)
}

func (m *Machine) finish(p Phase) {
	m.s.Phase, m.s.Ended, m.s.Deadline = p, m.now, time.Time{}
	m.eff.Ended = true
	m.eff.Release = m.s.Lock != ""
	m.s.Locked = false
}

// beginStep begins a step, or skips it.
func (m *Machine) beginStep(i int) {
	step, st := &m.plan.Steps[i], &m.s.Steps[i]
	st.Begun = true
	if step.Role != Compensatable {
		m.s.Deadline = time.Time{}
	}
	if step.When != nil {
		holds, err := step.When.Holds(m.scope(i, nil))
		if err != nil {
			m.spoiled(i, "its condition cannot be had: "+err.Error())
			return
		}
		if !holds {
			st.Ended, st.Skipped, st.Output = true, true, null()
			m.record(Record{Kind: RecordSkipped, Step: step.Name})
			return
		}
	}
	if step.Each == nil {
		st.Tasks = []Task{{}}
		m.beginTask(i, 0)
		return
	}
	items, err := m.items(i)
	if err != nil {
		m.spoiled(i, err.Error())
		return
	}
	st.Tasks = make([]Task, len(items))
	for j, item := range items {
		st.Tasks[j].Item = item
	}
	m.feed(i)
}

func null() json.RawMessage { return json.RawMessage("null") }

// items are what a step is taken for.
func (m *Machine) items(i int) ([]json.RawMessage, error) {
	text, err := m.plan.Steps[i].Each.Value(m.scope(i, nil))
	if err != nil {
		return nil, fmt.Errorf("its list cannot be had: %w", err)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(text, &items); err != nil {
		return nil, fmt.Errorf("what it is to be taken for is no list, but %.40s", text)
	}
	if tooDeep(text) {
		return nil, errTooDeep
	}
	if len(items) > MaxItems {
		return nil, fmt.Errorf("its list has %d items, at most %d are taken", len(items), MaxItems)
	}
	return items, nil
}

// spoiled fails a step that cannot even begin.
func (m *Machine) spoiled(i int, text string) {
	m.s.Steps[i].Tasks = []Task{{Status: Refused}}
	m.fail(TaskID{Step: i}, Record{Kind: RecordRefused, Text: text})
}

// feed begins the next items of a step, as many as may be under way at once, and ends the step when all are done.
func (m *Machine) feed(i int) {
	step, st := &m.plan.Steps[i], &m.s.Steps[i]
	under, done := 0, 0
	for j := range st.Tasks {
		switch st.Tasks[j].Status {
		case Idle:
		case Done:
			done++
		default:
			under++
		}
	}
	for j := range st.Tasks {
		if m.s.Back || step.Each != nil && under >= step.AtOnce {
			return
		}
		if st.Tasks[j].Status == Idle {
			if under > 0 && m.full() {
				return
			}
			under++
			m.beginTask(i, j)
			if st.Tasks[j].Status == Done {
				under, done = under-1, done+1
			}
		}
	}
	if done == len(st.Tasks) {
		m.endStep(i)
	}
}

// endStep lets later steps begin.
func (m *Machine) endStep(i int) {
	st := &m.s.Steps[i]
	if st.Ended {
		return
	}
	st.Ended = true
	if m.plan.Steps[i].Each == nil {
		st.Output = st.Tasks[0].Output
		st.Tasks[0].Output = nil
		return
	}
	outputs := make([]json.RawMessage, len(st.Tasks))
	for j := range st.Tasks {
		outputs[j] = st.Tasks[j].Output
		if outputs[j] == nil {
			outputs[j] = null()
		}
		st.Tasks[j].Output = nil
	}
	text, err := json.Marshal(outputs)
	if err != nil {
		panic("saga: an output that is no JSON: " + err.Error())
	}
	st.Output = text
}

// scope is what the expressions of a step read; -1 stands for those of the saga itself.
func (m *Machine) scope(i int, t *TaskID) *Scope {
	sc := &Scope{Input: m.s.Input, Steps: m.outputs(), Saga: m.info()}
	if i < 0 {
		return sc
	}
	id := TaskID{Step: i}
	if t != nil {
		id = *t
		sc.Item, sc.Index = m.s.Steps[i].Tasks[id.Item].Item, id.Item
	}
	sc.Key = m.key(id, false)
	return sc
}

func (m *Machine) info() Info {
	return Info{ID: m.s.ID, Name: m.s.Saga, Key: m.s.Key, Started: m.s.Started}
}

// outputs are those of the steps that have ended.
func (m *Machine) outputs() map[string]json.RawMessage {
	if m.vars == nil {
		m.vars = make(map[string]json.RawMessage, len(m.s.Steps))
	}
	for i := range m.s.Steps {
		st := &m.s.Steps[i]
		if !st.Ended {
			continue
		}
		output := st.Output
		if output == nil {
			output = null()
		}
		m.vars[m.plan.Steps[i].Name] = output
	}
	return m.vars
}

// label is the name of a task: that of its step, and the place of the item.
func (m *Machine) label(id TaskID) string {
	step := &m.plan.Steps[id.Step]
	if step.Each == nil {
		return step.Name
	}
	return step.Name + "." + strconv.Itoa(id.Item)
}

// branch is the label that a task has begun under, which its keys have for good: services know it by that.
func (m *Machine) branch(id TaskID) string {
	label := m.label(id)
	if name := m.s.Steps[id.Step].Name; name != "" {
		return name + strings.TrimPrefix(label, m.plan.Steps[id.Step].Name)
	}
	return label
}

// key is the idempotency key of a task, which is the same for each attempt.
func (m *Machine) key(id TaskID, undo bool) string {
	op := "do"
	if undo {
		op = "undo"
	}
	key := m.s.ID + "/" + m.branch(id) + "/" + op
	if t := m.s.Task(id); t != nil && t.Alt > 0 {
		key += "/alt" + strconv.Itoa(t.Alt)
	}
	return key
}

// clip is the beginning of a text.
func clip(text string) string {
	if len(text) <= keptText {
		return text
	}
	return strings.ToValidUTF8(text[:keptText], "")
}

// record adds a line to the history.
func (m *Machine) record(r Record) {
	r.At = m.now
	r.Text = clip(r.Text)
	m.eff.Records = append(m.eff.Records, r)
}

// recordTask adds a line about a task.
func (m *Machine) recordTask(id TaskID, r Record) {
	r.Step, r.Item = m.plan.Steps[id.Step].Name, id.Item
	m.record(r)
}
