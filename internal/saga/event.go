package saga

import (
	"encoding/json"
	"time"
)

// EventKind is what happened to an instance.
type EventKind string

// The kinds.
const (
	EventGranted  EventKind = "granted"  // it holds its lock
	EventAnswered EventKind = "answered" // an attempt has ended
	EventTold     EventKind = "told"     // the end of a pending step is told, or the event has come that a step waits for
	EventTimer    EventKind = "timer"    // what is due by At is to be done
	EventChild    EventKind = "child"    // a child has ended
	EventResumed  EventKind = "resumed"  // it was loaded: attempts that were under way may have had effects
	EventCancel   EventKind = "cancel"
	EventRevoke   EventKind = "revoke" // compensate though it has completed; only of a child
	EventRetry    EventKind = "retry"
	EventSkip     EventKind = "skip"
	EventOverride EventKind = "override" // the step is done, with Data as output
	EventReplace  EventKind = "replace"  // make another call
)

// Event is what a Machine is told.
type Event struct {
	Kind    EventKind
	At      time.Time
	Task    TaskID
	Child   string // of Child: its id
	Attempt int    // of Answered: which one; others are stale
	Undo    bool   // of Answered
	Result  Result // of Answered, Told and Child

	By, Reason string          // of what a person asks for
	Data       json.RawMessage // of Override
	Request    *Request        // of Replace
}

// Verdict is what came of an attempt.
type Verdict string

// The verdicts.
const (
	Answered Verdict = "answered" // with a status
	NoAnswer Verdict = "no-answer"
	Unsent   Verdict = "unsent"  // nobody can have seen it
	Failure  Verdict = "failure" // refused by a callback, or by a child that was compensated
)

// Result is how an attempt ended.
type Result struct {
	Verdict Verdict
	Answer  Answer
	Text    string        // what went wrong, for users
	After   time.Duration // asked not to be tried again for so long
	By      string        // the replica
	Took    time.Duration
}

// Attempt is a call to make.
type Attempt struct {
	Task    TaskID
	Undo    bool
	Number  int
	Key     string // idempotency key
	Request Request
	Timeout time.Duration
	Async   bool // the answer may be 202
	Headers bool // somebody may read those of the answer
}

// Spawn is a child to start.
type Spawn struct {
	ID, Saga  string
	Input     json.RawMessage
	Revocable bool // it may have to be compensated once it has completed
}

// Await is an event to wait for: one of Topic for which the step's By gives Key.
type Await struct {
	Task  string // name of the task, such as paid or paid.3
	Topic string
	Key   string
}

// Effects is what follows from an event. All of it is to be done once the state is durable; Records are part of that.
type Effects struct {
	Calls   []Attempt
	Spawn   []Spawn
	Cancel  []string // children
	Revoke  []string // children
	Await   []Await
	Forget  []string // names of tasks that wait no longer
	Acquire bool     // State.Lock
	Release bool
	Parked  bool // newly
	Ended   bool // newly
	Records []Record
}

// RecordKind is what a line of an instance's history tells.
type RecordKind string

// The kinds of records.
const (
	RecordStarted     RecordKind = "started"
	RecordLocked      RecordKind = "locked"
	RecordSkipped     RecordKind = "skipped" // its condition did not hold
	RecordDone        RecordKind = "done"
	RecordPending     RecordKind = "pending"
	RecordFailed      RecordKind = "failed" // an attempt, whose outcome is not known
	RecordRefused     RecordKind = "refused"
	RecordInterrupted RecordKind = "interrupted" // by the end of the engine
	RecordUndone      RecordKind = "undone"
	RecordParked      RecordKind = "parked"
	RecordBack        RecordKind = "compensating"
	RecordChild       RecordKind = "child" // started
	RecordWaits       RecordKind = "waits"
	RecordCompleted   RecordKind = "completed"
	RecordCompensated RecordKind = "compensated"
	RecordCancelled   RecordKind = "cancelled"
	RecordRevoked     RecordKind = "revoked"
	RecordRetried     RecordKind = "retried"
	RecordOverridden  RecordKind = "overridden"
	RecordReplaced    RecordKind = "replaced"
	RecordPassed      RecordKind = "passed-over" // skipped by a person
	RecordMigrated    RecordKind = "migrated"
)

// Record is a line of history.
type Record struct {
	At      time.Time       `json:"at"`
	Kind    RecordKind      `json:"kind"`
	Step    string          `json:"step,omitempty"`
	Item    int             `json:"item,omitempty"` // of each, counted from 0
	Undo    bool            `json:"undo,omitempty"`
	Attempt int             `json:"attempt,omitempty"`
	Status  int             `json:"status,omitempty"` // of HTTP
	Took    time.Duration   `json:"took_ns,omitempty"`
	Text    string          `json:"text,omitempty"`
	Replica string          `json:"replica,omitempty"`
	By      string          `json:"by,omitempty"`   // who asked for it
	Data    json.RawMessage `json:"data,omitempty"` // an output, if it is short
}
