package saga

import (
	"encoding/json"
	"slices"
	"time"
)

// Phase is where an instance stands.
type Phase string

// The phases. Completed and Compensated are ends; Parked waits for a person.
const (
	Running      Phase = "running"
	Compensating Phase = "compensating"
	Parked       Phase = "parked"
	Completed    Phase = "completed"
	Compensated  Phase = "compensated"
)

// Phases lists them, in an order that stores depend on.
func Phases() []Phase { return []Phase{Running, Compensating, Parked, Completed, Compensated} }

// Ended tells whether nothing more happens.
func (p Phase) Ended() bool { return p == Completed || p == Compensated }

// State is all that is known of one instance. A Machine alone changes it. Its JSON is what stores keep.
type State struct {
	ID       string          `json:"id"`
	Saga     string          `json:"saga"`
	Hash     string          `json:"hash"` // of the plan that it runs
	Key      string          `json:"key,omitempty"`
	Input    json.RawMessage `json:"input"`
	Phase    Phase           `json:"phase"`
	Back     bool            `json:"back,omitempty"`   // it is being compensated, or was
	Lock     string          `json:"lock,omitempty"`   // that it holds or waits for
	Locked   bool            `json:"locked,omitempty"` // it holds Lock
	Held     []string        `json:"held,omitempty"`   // locks of the instances that it is a step of: it needs none of them itself
	Parent   string          `json:"parent,omitempty"` // id of the instance that it is a step of
	Depth    int             `json:"depth,omitempty"`  // how many sagas it lies within
	Trace    string          `json:"trace,omitempty"`  // traceparent
	Started  time.Time       `json:"started"`
	Ended    time.Time       `json:"ended,omitzero"`
	Deadline time.Time       `json:"deadline,omitzero"` // for the pivot to be passed
	Cause    *Cause          `json:"cause,omitempty"`   // why it is being compensated, or what is parked
	Output   json.RawMessage `json:"output,omitempty"`
	Steps    []StepState     `json:"steps"` // as in the plan
}

// TaskID names a task: the place of its step in the plan, and the place of its item, 0 without each.
type TaskID struct {
	Step int `json:"s"`
	Item int `json:"i,omitempty"`
}

// Cause is what went wrong.
type Cause struct {
	Step string `json:"step,omitempty"` // "" where it was no step
	Text string `json:"text"`
}

// StepState is one step of an instance.
type StepState struct {
	Name    string          `json:"n,omitempty"` // under which it has begun, where a migration has given it another: its keys stay
	Begun   bool            `json:"b,omitempty"`
	Ended   bool            `json:"e,omitempty"` // done or skipped: later steps may begin
	Skipped bool            `json:"sk,omitempty"`
	Output  json.RawMessage `json:"o,omitempty"`
	Tasks   []Task          `json:"t,omitempty"` // one, or one for each item
}

// Status is where a task stands.
type Status string

// The statuses.
const (
	Idle     Status = ""         // not begun
	Calling  Status = "calling"  // an attempt is under way (Due is zero), or the next waits for its time
	Pending  Status = "pending"  // answered with 202: the end is told later
	Waiting  Status = "waiting"  // for an event
	Sleeping Status = "sleeping" // until Due
	Nested   Status = "child"    // a child runs
	Done     Status = "done"
	Refused  Status = "refused"  // failed, and certainly without an effect
	Failed   Status = "failed"   // failed, perhaps with an effect
	Stuck    Status = "parked"   // waits for a person
	Undoing  Status = "undoing"  // as Calling
	Revoking Status = "revoking" // the child is being compensated
	Undone   Status = "undone"
)

// Task is one call, child, wait or sleep.
type Task struct {
	Status  Status          `json:"st,omitempty"`
	Item    json.RawMessage `json:"it,omitempty"`
	Attempt int             `json:"a,omitempty"`  // the latest, counted from 1 anew for undo
	Tries   int             `json:"tr,omitempty"` // attempts that failed since the last time that a person asked
	Misses  int             `json:"mi,omitempty"` // attempts in a row that reached nobody
	Unsure  bool            `json:"u,omitempty"`  // some attempt may have had an effect
	Took    bool            `json:"x,omitempty"`  // it certainly had one
	Due     time.Time       `json:"d,omitzero"`
	Request *Request        `json:"r,omitempty"`  // the same for every attempt
	Alt     int             `json:"al,omitempty"` // how many requests took the place of others
	Output  json.RawMessage `json:"o,omitempty"`
	Text    string          `json:"tx,omitempty"` // the latest failure
	Skipped bool            `json:"sk,omitempty"` // by a person
	Child   string          `json:"c,omitempty"`  // id of the child that runs
	Topic   string          `json:"w,omitempty"`  // of the event that is waited for
	WaitKey string          `json:"k,omitempty"`
}

// Request is a call with its expressions put in.
type Request struct {
	Service string            `json:"s"`
	Method  string            `json:"m"`
	Path    string            `json:"p"`
	Headers map[string]string `json:"h,omitempty"`
	Body    json.RawMessage   `json:"b,omitempty"`
}

// over tells whether a task has ended, as a refusal or not.
func (t *Task) over(refused bool) bool {
	if refused {
		return t.Status == Refused || t.Status == Failed
	}
	return t.Status == Done
}

// flying tells whether an attempt is under way.
func (t *Task) flying() bool {
	return (t.Status == Calling || t.Status == Undoing) && t.Due.IsZero()
}

// Clone is a copy that shares nothing that a Machine changes.
func (s *State) Clone() *State {
	out := *s
	out.Steps = make([]StepState, len(s.Steps))
	for i := range s.Steps {
		out.Steps[i] = s.Steps[i]
		out.Steps[i].Tasks = append([]Task(nil), s.Steps[i].Tasks...)
	}
	return &out
}

// Blocked tells whether the instance waits for its lock.
func (s *State) Blocked() bool { return s.Lock != "" && !s.Locked && !s.Phase.Ended() && !s.Back }

// Flying tells whether some attempt is under way.
func (s *State) Flying() bool {
	for i := range s.Steps {
		for j := range s.Steps[i].Tasks {
			if s.Steps[i].Tasks[j].flying() {
				return true
			}
		}
	}
	return false
}

// locks are those that a child need not take.
func (s *State) locks() []string {
	if s.Lock == "" {
		return s.Held
	}
	return append(slices.Clone(s.Held), s.Lock)
}

// Wake is when something is due without anything happening; zero for never.
func (s *State) Wake() time.Time {
	var at time.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if s.Phase.Ended() {
		return at
	}
	earlier(s.Deadline)
	for i := range s.Steps {
		for j := range s.Steps[i].Tasks {
			earlier(s.Steps[i].Tasks[j].Due)
		}
	}
	return at
}

// Task is one of the tasks, or nil.
func (s *State) Task(id TaskID) *Task {
	if id.Step < 0 || id.Step >= len(s.Steps) || id.Item < 0 || id.Item >= len(s.Steps[id.Step].Tasks) {
		return nil
	}
	return &s.Steps[id.Step].Tasks[id.Item]
}
