package sdk

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

type sagaStepDoc struct {
	Step    string          `json:"step"`
	Do      any             `json:"do,omitempty"`
	Child   any             `json:"child,omitempty"`
	Wait    *sagaWaitDoc    `json:"wait,omitempty"`
	Sleep   string          `json:"sleep,omitempty"`
	Until   string          `json:"until,omitempty"`
	Undo    any             `json:"undo,omitempty"`
	After   *[]string       `json:"after,omitempty"`
	Pivot   bool            `json:"pivot,omitempty"`
	Retry   *sagaRetryDoc   `json:"retry,omitempty"`
	Timeout string          `json:"timeout,omitempty"`
	When    string          `json:"when,omitempty"`
	Each    *sagaEachDoc    `json:"each,omitempty"`
	Output  json.RawMessage `json:"output,omitempty"`
}

type sagaCallDoc struct {
	Call    string            `json:"call"`
	Body    json.RawMessage   `json:"body,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Refused []int             `json:"refused,omitempty"`
	Done    []int             `json:"done,omitempty"`
	Async   *sagaAsyncDoc     `json:"async,omitempty"`
}

type sagaAsyncDoc struct {
	Timeout string `json:"timeout,omitempty"`
	Event   string `json:"event,omitempty"`
	Key     string `json:"key,omitempty"`
	By      string `json:"by,omitempty"`
}

type sagaChildDoc struct {
	Saga  string          `json:"saga"`
	Input json.RawMessage `json:"input,omitempty"`
}

type sagaWaitDoc struct {
	Event   string `json:"event"`
	Key     string `json:"key"`
	By      string `json:"by,omitempty"`
	Timeout string `json:"timeout,omitempty"`
	Else    string `json:"else,omitempty"`
}

type sagaRetryDoc struct {
	Attempts   int    `json:"attempts,omitempty"`
	Backoff    string `json:"backoff,omitempty"`
	MaxBackoff string `json:"max_backoff,omitempty"`
}

type sagaEachDoc struct {
	In     string `json:"in"`
	AtOnce int    `json:"at_once,omitempty"`
}

// StepOption is a part of a step: Do, Child, WaitFor, SleepFor or Until, of which a step has one, and what may be said beside.
type StepOption func(*stepBuilder)

// stepBuilder is a step that is being built. Each part is said once.
type stepBuilder struct {
	def  *SagaDefinition
	doc  sagaStepDoc
	name string // in errors
	said map[string]bool
}

func (b *stepBuilder) say(what string) {
	if b.said[what] {
		b.def.wrong("%s says %s twice", b.name, what)
	}
	b.said[what] = true
}

func (b *stepBuilder) need(what, text string) { b.def.need(b.name+": "+what, text) }

// Step adds a step, which follows the one that was added before it unless After says otherwise. Its name is of lower-case letters,
// digits and underscores: expressions of later steps read its output as steps.NAME.
func (d *SagaDefinition) Step(name string, parts ...StepOption) *SagaDefinition {
	b := &stepBuilder{def: d, doc: sagaStepDoc{Step: name}, name: "step " + name, said: map[string]bool{}}
	d.need("the name of a step", name)
	for i := range d.doc.Steps {
		if d.doc.Steps[i].Step == name && name != "" {
			d.wrong("two steps have the name %s", name)
		}
	}
	for _, part := range parts {
		part(b)
	}
	var kinds []string
	for _, kind := range []string{"do", "child", "wait", "sleep", "until"} {
		if b.said[kind] {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) != 1 {
		d.wrong("%s has to be one of Do, Child, WaitFor, SleepFor, Until, and is %d: %v", b.name, len(kinds), kinds)
	}
	d.doc.Steps = append(d.doc.Steps, b.doc)
	return d
}

// DoOption is a part of a call that takes a step: Body, BodyOf, Headers, RefusedOn, Async.
type DoOption interface {
	applyDo(*stepBuilder, *sagaCallDoc)
}

// UndoOption is a part of a call that undoes a step: Body, BodyOf, Headers, DoneOn.
type UndoOption interface {
	applyUndo(*stepBuilder, *sagaCallDoc)
}

// CallOption is a part of either.
type CallOption interface {
	DoOption
	UndoOption
}

// Do is the call that takes the step: METHOD service/path, such as POST stock/reservations. Values that expressions insert into it
// are escaped. The default of the body is the saga's input.
func Do(call string, parts ...DoOption) StepOption {
	return func(b *stepBuilder) {
		b.say("do")
		b.need("the call", call)
		doc := sagaCallDoc{Call: call}
		for _, part := range parts {
			part.applyDo(b, &doc)
		}
		b.doc.Do = doc.short()
	}
}

// Undo is the call that undoes the step. It may read the saga's input and step.key, not the step's own output, as the answer may
// never have come.
func Undo(call string, parts ...UndoOption) StepOption {
	return func(b *stepBuilder) {
		b.say("undo")
		b.need("the call of undo", call)
		doc := sagaCallDoc{Call: call}
		for _, part := range parts {
			part.applyUndo(b, &doc)
		}
		b.doc.Undo = doc.short()
	}
}

// UndoNone says that the step has no effect that needs undoing.
func UndoNone() StepOption {
	return func(b *stepBuilder) {
		b.say("undo")
		b.doc.Undo = "none"
	}
}

// short is the call as a text if there is nothing more to say of it.
func (c sagaCallDoc) short() any {
	if c.Body == nil && c.Headers == nil && c.Refused == nil && c.Done == nil && c.Async == nil {
		return c.Call
	}
	return c
}

// Body is the body of a call, sent as JSON. Its values may be of any type, and texts may hold expressions.
type Body map[string]any

func (v Body) applyDo(b *stepBuilder, c *sagaCallDoc)   { c.body(b, map[string]any(v)) }
func (v Body) applyUndo(b *stepBuilder, c *sagaCallDoc) { c.body(b, map[string]any(v)) }

func (c *sagaCallDoc) body(b *stepBuilder, v any) {
	if c.Body != nil {
		b.def.wrong("%s has two bodies in one call", b.name)
	}
	c.Body = b.def.value(b.name+": the body", v)
}

// BodyOf is a body that is no map: a list, a struct, one expression.
func BodyOf(v any) CallOption { return anyBody{v} }

type anyBody struct{ v any }

func (a anyBody) applyDo(b *stepBuilder, c *sagaCallDoc)   { c.body(b, a.v) }
func (a anyBody) applyUndo(b *stepBuilder, c *sagaCallDoc) { c.body(b, a.v) }

// Headers are further headers of a call. Their values may hold expressions.
type Headers map[string]string

func (h Headers) applyDo(b *stepBuilder, c *sagaCallDoc)   { c.headers(b, h) }
func (h Headers) applyUndo(b *stepBuilder, c *sagaCallDoc) { c.headers(b, h) }

func (c *sagaCallDoc) headers(b *stepBuilder, h Headers) {
	if c.Headers != nil {
		b.def.wrong("%s has headers twice in one call", b.name)
	}
	for name := range h {
		b.need("the name of a header", name)
	}
	c.Headers = maps.Clone(h)
}

// RefusedOn lists the statuses by which the service refuses the step for good. Without it every 4xx is one, but 408, 421, 425
// and 429.
func RefusedOn(statuses ...int) DoOption { return refusedOn(statuses) }

type refusedOn []int

func (s refusedOn) applyDo(_ *stepBuilder, c *sagaCallDoc) { c.Refused = append(c.Refused, s...) }

// DoneOn lists the statuses, beside 2xx, that mean undone, such as 404.
func DoneOn(statuses ...int) UndoOption { return doneOn(statuses) }

type doneOn []int

func (s doneOn) applyUndo(_ *stepBuilder, c *sagaCallDoc) { c.Done = append(c.Done, s...) }

// Async says that the answer 202 means that the step has begun. Its end is told by CompleteStep or RefuseStep, or by an event.
type Async struct {
	Timeout time.Duration // how long the end may take; default 24 h
	Event   string        // topic of an event that tells the end; its data are the answer's body
	Key     string        // which event is meant: this must equal By, such as ${input.order}
	By      string        // what of an event is compared with Key; default ${event.subject}
}

func (a Async) applyDo(b *stepBuilder, c *sagaCallDoc) {
	if c.Async != nil {
		b.def.wrong("%s is async twice", b.name)
	}
	c.Async = &sagaAsyncDoc{b.def.spanOrNone(b.name+": the timeout of async", a.Timeout), a.Event, a.Key, a.By}
}

// Child runs another saga as the step. Its input, nil for that of this saga, is any value, with expressions.
func Child(saga string, input any) StepOption {
	return func(b *stepBuilder) {
		b.say("child")
		b.need("the saga", saga)
		if b.doc.Child = saga; input != nil {
			b.doc.Child = sagaChildDoc{saga, b.def.value(b.name+": the input", input)}
		}
	}
}

// EventWait is an event that a step waits for, whose data are the step's output.
type EventWait struct {
	Topic   string
	Key     string        // which event is meant: this must equal By, such as ${input.order}
	By      string        // what of an event is compared with Key; default ${event.subject}
	Timeout time.Duration // how long to wait at most; default no limit
	GoOn    bool          // when that is over, go on with null as output; by default that is like a refusal
}

// WaitFor waits for an event. Those count too that came after the start of the instance and before the step.
func WaitFor(e EventWait) StepOption {
	return func(b *stepBuilder) {
		b.say("wait")
		b.need("the topic", e.Topic)
		b.need("the key of the event", e.Key)
		b.doc.Wait = &sagaWaitDoc{Event: e.Topic, Key: e.Key, By: e.By, Timeout: b.def.spanOrNone(b.name+": the timeout of the event", e.Timeout)}
		if e.GoOn {
			b.doc.Wait.Else = "go-on"
			if e.Timeout == 0 {
				b.def.wrong("%s goes on when its time is over, and has no timeout", b.name)
			}
		}
	}
}

// SleepFor waits for some time.
func SleepFor(t time.Duration) StepOption {
	return func(b *stepBuilder) {
		b.say("sleep")
		b.doc.Sleep = b.def.span(b.name, t)
	}
}

// SleepExpr waits for as long as an expression says, such as ${duration(input.grace)}.
func SleepExpr(text string) StepOption {
	return func(b *stepBuilder) {
		b.say("sleep")
		b.need("the time to sleep", text)
		b.doc.Sleep = text
	}
}

// Until waits for the time that an expression says, such as ${timestamp(input.due)}.
func Until(text string) StepOption {
	return func(b *stepBuilder) {
		b.say("until")
		b.need("the time to wait until", text)
		b.doc.Until = text
	}
}

// After names the steps that must have ended before this one begins; none of them: it begins at once. Steps that do not follow each
// other run side by side.
func After(steps ...string) StepOption {
	return func(b *stepBuilder) {
		b.say("after")
		after := append([]string{}, steps...)
		for i, name := range after {
			b.need("the step to follow", name)
			if slices.Contains(after[:i], name) {
				b.def.wrong("%s follows %s twice", b.name, name)
			}
		}
		b.doc.After = &after
	}
}

// Pivot makes it the step that decides: before it everything can be undone, after it everything is tried until it is done.
func Pivot() StepOption {
	return func(b *stepBuilder) {
		b.say("pivot")
		b.doc.Pivot = true
		for i := range b.def.doc.Steps {
			if b.def.doc.Steps[i].Pivot {
				b.def.wrong("%s and step %s are both the pivot", b.name, b.def.doc.Steps[i].Step)
			}
		}
	}
}

// Retry is how often and when a call is tried whose outcome is not known.
type Retry struct {
	Attempts   int           // at most; 0 for the default of the step's place
	Backoff    time.Duration // before the second attempt; it doubles with each further one; default 500 ms
	MaxBackoff time.Duration // default 1 min
}

// Retries says how the calls of the step are tried again.
func Retries(r Retry) StepOption {
	return func(b *stepBuilder) {
		b.say("retry")
		if r.Attempts < 0 {
			b.def.wrong("%s has %d attempts", b.name, r.Attempts)
		}
		b.doc.Retry = &sagaRetryDoc{r.Attempts, b.def.spanOrNone(b.name+": the backoff", r.Backoff), b.def.spanOrNone(b.name+": the longest backoff", r.MaxBackoff)}
	}
}

// AttemptTimeout is how long one attempt may take; default 30 s.
func AttemptTimeout(t time.Duration) StepOption {
	return func(b *stepBuilder) {
		b.say("timeout")
		b.doc.Timeout = b.def.span(b.name+": the timeout", t)
	}
}

// When is a condition in plain CEL, such as input.amount > 100. If it is false the step is skipped.
func When(cel string) StepOption {
	return func(b *stepBuilder) {
		b.say("when")
		b.need("the condition", cel)
		b.def.condition(b.name, cel)
		b.doc.When = cel
	}
}

// Each takes the step for each item of a list, such as ${input.lines}, so many at once; 0 for the default, 8. Expressions of the step
// read item and index, and its output is the list of outputs.
func Each(list string, atOnce int) StepOption {
	return func(b *stepBuilder) {
		b.say("each")
		b.need("the list of each", list)
		if atOnce < 0 {
			b.def.wrong("%s takes %d items at once", b.name, atOnce)
		}
		b.doc.Each = &sagaEachDoc{list, atOnce}
	}
}

// StepOutput is what steps.NAME is for later steps: any value, with expressions, also over answer.status, answer.body and
// answer.headers. Default the body of the answer.
func StepOutput(v any) StepOption {
	return func(b *stepBuilder) {
		b.say("output")
		b.doc.Output = b.def.value(b.name+": the output", v)
	}
}
