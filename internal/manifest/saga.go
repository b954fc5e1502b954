package manifest

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/atollhq/atoll/internal/fault"
)

// Saga is the definition of a saga: steps that services take, and how each is undone. It is one file of what sagas in atoll.yaml
// names. Texts in it may hold ${expressions} in CEL, which the manifest does not read.
type Saga struct {
	Name    string      `key:"saga" json:"saga" required:"true" doc:"Name of the saga: lower-case letters, digits and hyphens."`
	Owner   string      `key:"owner" json:"owner,omitempty" doc:"The team that answers for the saga."`
	Summary string      `key:"summary" json:"summary,omitempty" doc:"What the saga is for, in one sentence."`
	Input   JSON        `key:"input" json:"input,omitempty" doc:"JSON Schema of what the saga is started with; a start with anything else is refused, and expressions are checked against it. Default: any value."`
	Start   []SagaStart `key:"start" json:"start,omitempty" doc:"What starts the saga beside POST to SAGAS_URL: events and schedules."`
	Key     string      `key:"key" json:"key,omitempty" doc:"Business key of an instance to search by, such as ${input.order}."`
	Lock    string      `key:"lock" json:"lock,omitempty" doc:"Name of a lock, such as order/${input.order}: of the instances of all sagas with the same lock one runs at a time, the others wait for their turn."`
	Timeout Duration    `key:"timeout" json:"timeout,omitempty" doc:"How long an instance may take to pass its pivot; one that takes longer is compensated. Default: no limit."`
	Keep    Duration    `key:"keep" json:"keep,omitempty" doc:"How long an instance is kept after its end. Default: what saga_store says."`
	Steps   []SagaStep  `key:"steps" json:"steps" required:"true" doc:"The steps. One without after follows the one that stands before it."`
	Output  JSON        `key:"output" json:"output,omitempty" doc:"What the saga answers with in the end: any value with ${expressions}."`

	File string `key:"-" json:"-"` // relative to the application's folder

	places map[string]place // by path, such as steps[0].do.call
	sound  bool             // every key is known and of the right type
}

// SagaStore is where the instances of sagas are kept.
type SagaStore struct {
	Database Database `key:"database" default:"sqlite" doc:"sqlite, postgres, or the URL of a PostgreSQL database that exists."`
	Keep     Duration `key:"keep" default:"720h" doc:"How long an instance is kept after its end, with its history; a saga may say otherwise."`
}

// place is where something stands in a file.
type place struct {
	at     fault.Position
	source string
}

// SagaStart is one thing that starts instances: an event, or the clock.
type SagaStart struct {
	Event  string `key:"event" json:"event,omitempty" doc:"Topic whose events each start an instance. A start has either this or cron."`
	When   string `key:"when" json:"when,omitempty" doc:"Only of event: condition in CEL over event.data, event.subject, event.type, event.source, event.id; others start nothing."`
	Key    string `key:"key" json:"key,omitempty" doc:"Only of event: the idempotency key, such as ${event.subject}; events with the same one start one instance. Default: source and id of the event."`
	Name   string `key:"name" json:"name,omitempty" doc:"Only of cron: name of the schedule, unique within the saga."`
	Cron   Cron   `key:"cron" json:"cron,omitzero" doc:"When: minute, hour, day of the month, month and day of the week, as in the schedules of a service."`
	Zone   string `key:"zone" json:"zone,omitempty" doc:"Only of cron: time zone. Default UTC."`
	Missed Missed `key:"missed" json:"missed,omitempty" enum:"once,skip" doc:"Only of cron: what happens about times that passed while Atoll did not run. Default once."`
	Input  JSON   `key:"input" json:"input,omitempty" doc:"Input of the instance: any value, of an event with ${expressions} over it. Default: the event's data."`
}

// SagaStep is one step of a saga. It has exactly one of Do, Child, Wait, Sleep and Until.
type SagaStep struct {
	Name    string     `key:"step" json:"step" required:"true" doc:"Name of the step, unique within the saga: letters, digits and underscores, as expressions read it in steps.NAME."`
	Do      *SagaCall  `key:"do" json:"do,omitempty" doc:"The call that takes the step: METHOD service/path, or a mapping."`
	Child   *SagaChild `key:"child" json:"child,omitempty" doc:"Another saga that is run as this step."`
	Wait    *SagaWait  `key:"wait" json:"wait,omitempty" doc:"An event that is waited for."`
	Sleep   string     `key:"sleep" json:"sleep,omitempty" doc:"How long to wait, such as 10m, or an expression that is a duration."`
	Until   string     `key:"until" json:"until,omitempty" doc:"When to go on: an expression that is a timestamp, such as ${timestamp(input.due)}."`
	Undo    *SagaUndo  `key:"undo" json:"undo,omitempty" doc:"The call that undoes the step: METHOD service/path, a mapping, or none for a step that has nothing to undo."`
	After   *[]string  `key:"after" json:"after,omitempty" doc:"Steps that must have ended before this one begins; [] for none. Steps that do not wait for each other run side by side. Default: the step before."`
	Pivot   bool       `key:"pivot" json:"pivot,omitempty" doc:"The step that decides: before it everything can be undone, after it everything is tried until it is done."`
	Retry   SagaRetry  `key:"retry" json:"retry,omitzero" doc:"How often and when a call is tried whose outcome is not known."`
	Timeout Duration   `key:"timeout" json:"timeout,omitempty" default:"30s" doc:"How long one attempt may take."`
	When    string     `key:"when" json:"when,omitempty" doc:"Condition in CEL; if it is false the step is skipped."`
	Each    *SagaEach  `key:"each" json:"each,omitempty" doc:"Take the step for each item of a list."`
	Output  JSON       `key:"output" json:"output,omitempty" doc:"What steps.NAME is for later steps: any value with ${expressions}, also over answer.body, answer.status and answer.headers. Default: the body of the answer."`
}

// SagaCall is a call that takes a step.
type SagaCall struct {
	Call    string            `key:"call" json:"call" required:"true" doc:"METHOD service/path, such as POST stock/reservations; without METHOD it is POST. ${expressions} in it are escaped."`
	Body    JSON              `key:"body" json:"body,omitempty" doc:"Body, sent as JSON: any value with ${expressions}. Default: the saga's input, with POST, PUT and PATCH."`
	Headers map[string]string `key:"headers" json:"headers,omitempty" doc:"Further headers; values may hold ${expressions}."`
	Refused []int             `key:"refused" json:"refused,omitempty" doc:"Statuses by which the service refuses the step for good. Default: every 4xx but 408, 421, 425 and 429."`
	Async   *SagaAsync        `key:"async" json:"async,omitempty" doc:"The answer 202 means that the step has begun; its end is told later."`
}

// SagaAsync is how the end of a step is told that was answered with 202: by POST to the address in Atoll-Callback, or by an event.
type SagaAsync struct {
	Timeout Duration `key:"timeout" json:"timeout,omitempty" default:"24h" doc:"How long the end may take; after that the outcome is not known."`
	Event   string   `key:"event" json:"event,omitempty" doc:"Topic of an event that tells the end; its data are the answer's body."`
	Key     string   `key:"key" json:"key,omitempty" doc:"Which event is meant: this must equal by, such as ${input.order}."`
	By      string   `key:"by" json:"by,omitempty" doc:"What of an event is compared with key. Default ${event.subject}."`
}

// SagaUndo is a call that undoes a step.
type SagaUndo struct {
	Call    string            `key:"call" json:"call" required:"true" doc:"METHOD service/path; without METHOD it is POST. none means that there is nothing to undo."`
	Body    JSON              `key:"body" json:"body,omitempty" doc:"Body, as in do."`
	Headers map[string]string `key:"headers" json:"headers,omitempty" doc:"Further headers; values may hold ${expressions}."`
	Done    []int             `key:"done" json:"done,omitempty" doc:"Statuses beside 2xx that mean undone, such as 404."`
}

// None tells that there is nothing to undo.
func (u *SagaUndo) None() bool { return u.Call == "none" }

// SagaChild is a saga that is run as a step.
type SagaChild struct {
	Saga  string `key:"saga" json:"saga" required:"true" doc:"Name of the saga."`
	Input JSON   `key:"input" json:"input,omitempty" doc:"Its input: any value with ${expressions}. Default: the input of this saga."`
}

// SagaWait is an event that a step waits for.
type SagaWait struct {
	Event   string   `key:"event" json:"event" required:"true" doc:"Topic of the event. Its data are the step's output."`
	Key     string   `key:"key" json:"key" required:"true" doc:"Which event is meant: this must equal by, such as ${input.order}. Events count that came after the start of the instance, also before this step."`
	By      string   `key:"by" json:"by,omitempty" doc:"What of an event is compared with key. Default ${event.subject}."`
	Timeout Duration `key:"timeout" json:"timeout,omitempty" doc:"How long to wait at most. Default: no limit."`
	Else    WaitElse `key:"else" json:"else,omitempty" enum:"fail,go-on" doc:"What happens when the time is over: fail, as if the step had been refused, or go-on, with null as output. Default fail."`
}

// WaitElse is what happens when an event did not come.
type WaitElse string

// What can happen.
const (
	WaitFail WaitElse = "fail"
	WaitGoOn WaitElse = "go-on"
)

// SagaRetry is how often and when a call is tried again. Zeros stand for defaults that depend on where the step stands.
type SagaRetry struct {
	Attempts   int      `key:"attempts" json:"attempts,omitempty" doc:"How often it is tried at most, from 1 to 10000. Default: 5 before the pivot and for the pivot, 20 after it and for undo. Then the saga is compensated, or an undo or a step after the pivot is parked."`
	Backoff    Duration `key:"backoff" json:"backoff,omitempty" doc:"Wait before the second attempt; it doubles with each further one, with some chance in it. Default 500ms."`
	MaxBackoff Duration `key:"max_backoff" json:"max_backoff,omitempty" doc:"Longest wait between two attempts. Default 1m."`
}

// SagaEach takes a step for each item of a list.
type SagaEach struct {
	In     string `key:"in" json:"in" required:"true" doc:"Expression that is a list of at most 1000 items, such as ${input.lines}. Expressions of the step read item and index."`
	AtOnce int    `key:"at_once" json:"at_once,omitempty" doc:"How many are under way at once, from 1 to 64. Default 8."`
}

func (*SagaCall) shortForm() string  { return "METHOD service/path" }
func (*SagaUndo) shortForm() string  { return "METHOD service/path" }
func (*SagaChild) shortForm() string { return "name of a saga" }

// UnmarshalText reads the short form.
func (c *SagaCall) UnmarshalText(text []byte) error { c.Call = string(text); return nil }

// UnmarshalText reads the short form.
func (u *SagaUndo) UnmarshalText(text []byte) error { u.Call = string(text); return nil }

// UnmarshalText reads the short form.
func (c *SagaChild) UnmarshalText(text []byte) error { c.Saga = string(text); return nil }

// UnmarshalJSON reads either form.
func (c *SagaCall) UnmarshalJSON(text []byte) error {
	type plain SagaCall // without methods
	return eitherForm(text, &c.Call, (*plain)(c))
}

// UnmarshalJSON reads either form.
func (u *SagaUndo) UnmarshalJSON(text []byte) error {
	type plain SagaUndo
	return eitherForm(text, &u.Call, (*plain)(u))
}

// UnmarshalJSON reads either form.
func (c *SagaChild) UnmarshalJSON(text []byte) error {
	type plain SagaChild
	return eitherForm(text, &c.Saga, (*plain)(c))
}

func eitherForm(text []byte, short *string, long any) error {
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, short)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(long)
}

// sagaCallForm is METHOD service/path.
var sagaCallForm = regexp.MustCompile(`^(?:(GET|HEAD|POST|PUT|PATCH|DELETE) +)?([a-z][a-z0-9-]*)(/.*)$`)

// ParseSagaCall takes METHOD service/path apart. ok is false for any other text.
func ParseSagaCall(text string) (method, service, path string, ok bool) {
	m := sagaCallForm.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return "", "", "", false
	}
	if m[1] == "" {
		m[1] = "POST"
	}
	return m[1], m[2], m[3], true
}

// Place is where a part of the saga is written, by its path, such as steps[0].do.call; of what is not written, where that is in
// which it would stand.
func (s *Saga) Place(path string) (fault.Position, string) {
	for {
		if p, ok := s.places[path]; ok || path == "" {
			return p.at, p.source
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// Canonical is the saga as JSON in its one form: two that say the same are the same text.
func (s *Saga) Canonical() ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v) // keys of objects within JSON are sorted now
}

// Services lists the services that the saga calls, each once, in the order of its steps.
func (s *Saga) Services() []string {
	var names []string
	seen := map[string]bool{}
	add := func(call string) {
		if _, service, _, ok := ParseSagaCall(call); ok && !seen[service] {
			seen[service] = true
			names = append(names, service)
		}
	}
	for i := range s.Steps {
		if s.Steps[i].Do != nil {
			add(s.Steps[i].Do.Call)
		}
		if s.Steps[i].Undo != nil && !s.Steps[i].Undo.None() {
			add(s.Steps[i].Undo.Call)
		}
	}
	return names
}

// Topics lists the topics whose events the saga takes: those that start it, and those that its steps wait for.
func (s *Saga) Topics() []string {
	var names []string
	seen := map[string]bool{"": true}
	add := func(topic string) {
		if !seen[topic] {
			seen[topic] = true
			names = append(names, topic)
		}
	}
	for _, start := range s.Start {
		add(start.Event)
	}
	for _, step := range s.Steps {
		if step.Wait != nil {
			add(step.Wait.Event)
		}
		if step.Do != nil && step.Do.Async != nil {
			add(step.Do.Async.Event)
		}
	}
	return names
}

// MarshalJSON writes the JSON text as it is.
func (j JSON) MarshalJSON() ([]byte, error) {
	if j == "" {
		return []byte("null"), nil
	}
	return []byte(j), nil
}

// UnmarshalJSON keeps the JSON text.
func (j *JSON) UnmarshalJSON(text []byte) error {
	*j = JSON(text)
	return nil
}
