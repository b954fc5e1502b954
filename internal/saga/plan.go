package saga

import (
	"encoding/json"
	"time"

	"github.com/atollhq/atoll/internal/manifest"
)

// Plan is a definition made ready to run: its graph is known, and its expressions are compiled. It is immutable.
type Plan struct {
	Name   string
	Hash   string // of Source, SHA-256 in hex: the version
	Source []byte // the definition's canonical JSON
	Saga   *manifest.Saga

	Input   Checker // nil: anything goes
	Key     Text    // nil: none
	Lock    Text    // nil: none
	Timeout time.Duration
	Keep    time.Duration // 0: what the store says
	Steps   []Step        // in the order of the definition
	Output  Template      // nil: null
	Starts  []Start
}

// Kind is what a step does.
type Kind string

// The kinds.
const (
	KindCall  Kind = "call"
	KindChild Kind = "child"
	KindWait  Kind = "wait"
	KindSleep Kind = "sleep" // for a time, or until one
)

// Role is what a step may become of, by where it stands.
type Role string

// The roles.
const (
	Compensatable Role = "compensatable" // before the pivot, or in a saga without one
	Pivot         Role = "pivot"
	Retriable     Role = "retriable" // after the pivot
)

// Step is one step of a plan.
type Step struct {
	Name   string
	Kind   Kind
	Role   Role
	After  []int // steps that must have ended before, by place in Plan.Steps
	Before []int // steps that wait for this one

	When   Condition // nil: always
	Each   Template  // nil: once; else a list
	AtOnce int
	Output Template // nil: the body of the answer

	Do    *Call
	Undo  *Call // nil: nothing to undo
	Retry Retry // of Do
	Again Retry // of Undo

	Child string   // name of a saga
	Pass  Template // its input; nil: the input of this one

	Topic    string // of the event that is waited for
	WaitKey  Text
	WaitBy   Text // over an event
	WaitTime time.Duration
	GoOn     bool // once WaitTime is over

	Sleep     Moment
	Revocable bool // of a child without Undo: it is undone by compensating it
}

// Call is a request to a service.
type Call struct {
	Service string
	Method  string
	Path    Text     // escaped
	Body    Template // nil: none
	Headers []Header
	Refused func(status int) bool // of Do: a refusal for good
	Done    []int                 // of Undo: statuses that mean undone
	Timeout time.Duration         // of one attempt
	Async   *Async
}

// Header is a header of a call.
type Header struct {
	Name  string
	Value Text
}

// Async is how a step ends whose call was answered with 202.
type Async struct {
	Timeout time.Duration
	Topic   string // "": by callback alone
	Key     Text
	By      Text // over an event
}

// Retry is when a call is tried again whose outcome is not known.
type Retry struct {
	Attempts   int
	Backoff    time.Duration
	MaxBackoff time.Duration
}

// Start is what starts instances beside a request.
type Start struct {
	Topic string
	When  Condition // over an event; nil: always
	Key   Text      // over an event; nil: source and id

	Name   string // of a schedule
	Cron   manifest.Cron
	Zone   string
	Missed manifest.Missed

	Input Template // nil: the event's data
}

// Checker tells whether a value may be the input of a saga. The error is a *fault.Error.
type Checker interface {
	Check(input json.RawMessage) error
}

// Template is a value with compiled expressions, as Text, Condition and Moment are others. All are pure, bounded in time, and safe for
// concurrent use. An error is for users: it says in one sentence what of the values did not fit.
type Template interface {
	Value(s *Scope) (json.RawMessage, error)
}

// Text is a text.
type Text interface {
	Text(s *Scope) (string, error)
}

// Condition is true or false.
type Condition interface {
	Holds(s *Scope) (bool, error)
}

// Moment is when a sleep that begins at a time ends.
type Moment interface {
	End(begin time.Time, s *Scope) (time.Time, error)
}

// Scope is what expressions may read.
type Scope struct {
	Input json.RawMessage
	Steps map[string]json.RawMessage // outputs by step; null of one that was skipped
	Saga  Info
	Key   string          // step.key: the idempotency key of the step's do
	Item  json.RawMessage // of each; nil outside
	Index int             // of each
	// Answer is the answer to the step's call; only Step.Output reads it.
	Answer *Answer
	// Event is what starts a saga or is waited for, as {id, source, type, subject, time, data}; only expressions over an event read it.
	Event json.RawMessage

	memo any
}

// Memo is what expressions keep with the scope, so that a value is decoded once: nil, or what Remember was last given. A scope is
// for one goroutine at a time; a copy of it is another scope, whatever is changed in it.
func (s *Scope) Memo() any { return s.memo }

// Remember keeps what Memo answers.
func (s *Scope) Remember(memo any) { s.memo = memo }

// Info is saga.id and so on.
type Info struct {
	ID, Name, Key string
	Started       time.Time
}

// Answer is what came back.
type Answer struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitempty"` // names in lower case
	Body    json.RawMessage   `json:"body"`              // null where it was empty; a JSON string where it was no JSON
}
