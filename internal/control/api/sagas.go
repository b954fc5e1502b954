package api

import (
	"encoding/json"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Saga is a definition of a saga.
type Saga struct {
	Saga       string          `json:"saga"`
	Version    string          `json:"version"`
	Owner      string          `json:"owner,omitempty"`
	Summary    string          `json:"summary,omitempty"`
	File       string          `json:"file,omitempty"`
	InForce    bool            `json:"in_force"` // new instances run this version
	StartedBy  []SagaStarter   `json:"started_by"`
	Key        string          `json:"key,omitempty"`  // as the definition has it
	Lock       string          `json:"lock,omitempty"` // as the definition has it
	Timeout    string          `json:"timeout,omitempty"`
	Instances  map[string]int  `json:"instances"` // by state, of all versions
	Steps      []SagaStep      `json:"steps"`
	Definition json.RawMessage `json:"definition,omitempty"` // the canonical JSON; not in lists
}

// SagaStarter is what may start instances: a service, a route, an event or a schedule.
type SagaStarter struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	When string `json:"when,omitempty"` // of a schedule: cron
}

// The kinds of SagaStarter.
const (
	StarterService  = "service"
	StarterRoute    = "route"
	StarterEvent    = "event"
	StarterSchedule = "schedule"
)

// SagaStep is a step of a definition.
type SagaStep struct {
	Step  string   `json:"step"`
	Kind  string   `json:"kind"` // call, child, wait, sleep
	Role  string   `json:"role"` // compensatable, pivot, retriable
	After []string `json:"after"`
	Does  string   `json:"does"` // such as POST billing/invoices
	Undo  string   `json:"undo,omitempty"`
	When  string   `json:"when,omitempty"`
	Each  string   `json:"each,omitempty"`
	Async bool     `json:"async,omitempty"`
}

// The roles of steps.
const (
	RoleCompensatable = "compensatable"
	RolePivot         = "pivot"
	RoleRetriable     = "retriable"
)

// SagaInstance is an instance of a saga.
type SagaInstance struct {
	ID      string     `json:"id"`
	Saga    string     `json:"saga"`
	Version string     `json:"version"`
	Key     string     `json:"key,omitempty"`
	State   string     `json:"state"`
	Error   *SagaError `json:"error,omitempty"`
	Parent  string     `json:"parent,omitempty"` // id of the instance that it is a step of
	Started time.Time  `json:"started"`
	Ended   time.Time  `json:"ended,omitzero"`
}

// The states of instances.
const (
	SagaRunning      = "running"
	SagaCompensating = "compensating"
	SagaParked       = "parked"
	SagaCompleted    = "completed"
	SagaCompensated  = "compensated"
)

// Over tells whether nothing more happens.
func (i *SagaInstance) Over() bool { return i.State == SagaCompleted || i.State == SagaCompensated }

// SagaError is what went wrong.
type SagaError struct {
	Step string `json:"step,omitempty"`
	Text string `json:"text"`
}

// SagaQuery finds instances. Each field that is set narrows.
type SagaQuery struct {
	Saga   string    `json:"saga,omitempty"`
	States []string  `json:"states,omitempty"`
	Key    string    `json:"key,omitempty"`
	Step   string    `json:"step,omitempty"`  // of the error
	Error  string    `json:"error,omitempty"` // part of its text, whatever the case
	Parent string    `json:"parent,omitempty"`
	Since  time.Time `json:"since,omitzero"`   // started at or after
	Until  time.Time `json:"until,omitzero"`   // started before
	Before string    `json:"before,omitempty"` // id: the page of those that are older
	Limit  int       `json:"limit,omitempty"`
}

// SagaInstances is a page of instances, the newest first.
type SagaInstances struct {
	Instances []SagaInstance `json:"instances"`
	Next      string         `json:"next,omitempty"` // before of the next page
}

// SagaDetail is all that is known of an instance.
type SagaDetail struct {
	SagaInstance
	By           string           `json:"by,omitempty"` // who started it
	Compensating bool             `json:"compensating"` // it is being compensated, or was
	Input        json.RawMessage  `json:"input"`
	Output       json.RawMessage  `json:"output,omitempty"`
	Lock         string           `json:"lock,omitempty"`
	Locked       bool             `json:"locked,omitempty"` // it holds the lock
	Deadline     time.Time        `json:"deadline,omitzero"`
	TraceID      string           `json:"trace_id,omitempty"`
	Newer        string           `json:"newer_version,omitempty"` // in force, where the instance runs another
	Steps        []SagaStepStatus `json:"steps"`
	Children     []SagaInstance   `json:"children,omitempty"`
	History      []SagaRecord     `json:"history"`
}

// SagaStepStatus is a step of an instance, as its definition has it, and how far it has come.
type SagaStepStatus struct {
	SagaStep
	State  string          `json:"state"`
	Output json.RawMessage `json:"output,omitempty"`
	Tasks  []SagaTask      `json:"tasks,omitempty"` // one, or one for each item
}

// The states of steps: the worst of what its tasks are.
const (
	StepOpen    = "open"
	StepRunning = "running"
	StepDone    = "done"
	StepSkipped = "skipped"
	StepFailed  = "failed"
	StepParked  = "parked"
	StepUndoing = "undoing"
	StepUndone  = "undone"
)

// SagaTask is one call, child, wait or sleep of a step.
type SagaTask struct {
	Task    string       `json:"task"`  // reserve, or reserve.3
	State   string       `json:"state"` // calling, pending, waiting, sleeping, child, done, refused, failed, parked, undoing, revoking, undone, or open
	Attempt int          `json:"attempt,omitempty"`
	Due     time.Time    `json:"due,omitzero"` // when it goes on by itself
	Text    string       `json:"text,omitempty"`
	Passed  bool         `json:"passed,omitempty"` // a person has passed over it
	Child   string       `json:"child,omitempty"`
	Topic   string       `json:"topic,omitempty"` // of the event that it waits for
	Key     string       `json:"key,omitempty"`
	Request *SagaRequest `json:"request,omitempty"` // that is made, or would be
}

// SagaRequest is a call to a service.
type SagaRequest struct {
	Service string            `json:"service"`
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    json.RawMessage   `json:"body,omitempty"`
}

// SagaRecord is a line of an instance's history.
type SagaRecord struct {
	At      time.Time       `json:"at"`
	Kind    string          `json:"kind"`
	Task    string          `json:"task,omitempty"` // reserve, or reserve.3
	Undo    bool            `json:"undo,omitempty"`
	Attempt int             `json:"attempt,omitempty"`
	Status  int             `json:"status,omitempty"`
	TookMS  float64         `json:"took_ms,omitempty"`
	Text    string          `json:"text,omitempty"`
	Replica string          `json:"replica,omitempty"`
	By      string          `json:"by,omitempty"` // who asked for it
	Data    json.RawMessage `json:"data,omitempty"`
}

// SagaStart asks for an instance.
type SagaStart struct {
	Input json.RawMessage `json:"input"`
	Key   string          `json:"key,omitempty"` // idempotency key
	By    string          `json:"by,omitempty"`
}

// SagaAction is what a person does with an instance, or with all that a query finds.
type SagaAction struct {
	Action  string          `json:"action"`
	Step    string          `json:"step,omitempty"` // name of a step, or reserve.3 for an item; "" for the one that is parked
	By      string          `json:"by,omitempty"`
	Reason  string          `json:"reason,omitempty"`  // required but to cancel and retry
	Output  json.RawMessage `json:"output,omitempty"`  // of override
	Request *SagaRequest    `json:"request,omitempty"` // of replace
	Select  *SagaQuery      `json:"select,omitempty"`  // of an action on many; Before and Limit do not count
	DryRun  bool            `json:"dry_run,omitempty"` // of an action on many: only find them
}

// The actions.
const (
	ActionCancel   = "cancel"
	ActionRetry    = "retry"
	ActionSkip     = "skip"
	ActionOverride = "override"
	ActionReplace  = "replace"
)

// SagaActed is what became of an action on many.
type SagaActed struct {
	Found  int           `json:"found"`
	Done   int           `json:"done"`
	Failed []SagaFailure `json:"failed"`         // the first twenty
	More   bool          `json:"more,omitempty"` // there are more than one request does
}

// SagaFailure says why something was not done with an instance.
type SagaFailure struct {
	ID    string       `json:"id"`
	Fault *fault.Error `json:"fault"`
}

// SagaMigration makes instances ones of the version in force: one of them, or all of a saga that have not ended.
type SagaMigration struct {
	ID      string            `json:"id,omitempty"`
	Saga    string            `json:"saga,omitempty"`
	Version string            `json:"version,omitempty"` // of saga: only those of this version, or of versions that begin so
	Steps   map[string]string `json:"steps,omitempty"`   // old names to new ones
	By      string            `json:"by,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	DryRun  bool              `json:"dry_run,omitempty"` // only say which can be migrated
}

// SagaMigrated is what became of a migration.
type SagaMigrated struct {
	Version   string             `json:"version"` // in force
	Instances []SagaMigratedItem `json:"instances"`
	More      bool               `json:"more,omitempty"` // there are more than one request does
}

// SagaMigratedItem is one instance of a migration. Without a fault it was migrated, or could be.
type SagaMigratedItem struct {
	ID    string       `json:"id"`
	From  string       `json:"from"` // version
	Fault *fault.Error `json:"fault,omitempty"`
}
