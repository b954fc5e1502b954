package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// SagaDefinition is the definition of a saga, as a program builds it: the same form that a file of sagas/*.yaml has. What it says is
// written into such a file, as by go generate, and it is `atoll check` that reads expressions and knows services. The builder finds
// what is empty, doubled or contradictory; its methods change the definition and return it, and JSON and WriteFile return the
// errors of all of them.
//
// Texts may hold ${expressions} in CEL: see Expr and Plain.
type SagaDefinition struct {
	doc  sagaDoc
	errs []error
}

type sagaDoc struct {
	Saga    string          `json:"saga"`
	Owner   string          `json:"owner,omitempty"`
	Summary string          `json:"summary,omitempty"`
	Input   json.RawMessage `json:"input,omitempty"`
	Start   []sagaStartDoc  `json:"start,omitempty"`
	Key     string          `json:"key,omitempty"`
	Lock    string          `json:"lock,omitempty"`
	Timeout string          `json:"timeout,omitempty"`
	Keep    string          `json:"keep,omitempty"`
	Steps   []sagaStepDoc   `json:"steps"`
	Output  json.RawMessage `json:"output,omitempty"`
}

type sagaStartDoc struct {
	Event  string          `json:"event,omitempty"`
	When   string          `json:"when,omitempty"`
	Key    string          `json:"key,omitempty"`
	Name   string          `json:"name,omitempty"`
	Cron   string          `json:"cron,omitempty"`
	Zone   string          `json:"zone,omitempty"`
	Missed string          `json:"missed,omitempty"`
	Input  json.RawMessage `json:"input,omitempty"`
}

// NewSaga begins a definition.
func NewSaga(name string) *SagaDefinition {
	d := &SagaDefinition{doc: sagaDoc{Saga: name, Steps: []sagaStepDoc{}}}
	d.need("the name of the saga", name)
	return d
}

// Expr is an expression in CEL as a text: ${text}. A value that is one expression has its type, not that of a text.
func Expr(cel string) string { return "${" + cel + "}" }

// Plain is a text in which nothing is an expression, whatever it holds.
func Plain(text string) string { return strings.ReplaceAll(text, "${", "$${") }

// Owner says which team answers for the saga.
func (d *SagaDefinition) Owner(team string) *SagaDefinition {
	d.once("owner", &d.doc.Owner, team)
	return d
}

// Summary says in one sentence what the saga is for.
func (d *SagaDefinition) Summary(text string) *SagaDefinition {
	d.once("summary", &d.doc.Summary, text)
	return d
}

// Input is the JSON Schema of what the saga is started with. A start with anything else is refused, and expressions are checked
// against it. It may be of any type that becomes such a schema as JSON, a json.RawMessage included.
func (d *SagaDefinition) Input(schema any) *SagaDefinition {
	d.onceValue("input", &d.doc.Input, schema)
	return d
}

// Key is the business key of an instance to search by, such as ${input.order}.
func (d *SagaDefinition) Key(text string) *SagaDefinition {
	d.once("key", &d.doc.Key, text)
	return d
}

// Lock names a lock, such as order/${input.order}, that at most one unfinished instance holds. Others wait for their turn.
func (d *SagaDefinition) Lock(text string) *SagaDefinition {
	d.once("lock", &d.doc.Lock, text)
	return d
}

// Timeout is how long an instance may take to pass its pivot. One that takes longer is compensated.
func (d *SagaDefinition) Timeout(t time.Duration) *SagaDefinition {
	d.onceSpan("timeout", &d.doc.Timeout, t)
	return d
}

// Keep is how long an instance is kept after its end.
func (d *SagaDefinition) Keep(t time.Duration) *SagaDefinition {
	d.onceSpan("keep", &d.doc.Keep, t)
	return d
}

// Output is what the saga answers with in the end: any value, with expressions.
func (d *SagaDefinition) Output(v any) *SagaDefinition {
	d.onceValue("output", &d.doc.Output, v)
	return d
}

// StartEvent starts an instance by each event of a topic.
type StartEvent struct {
	Topic string
	When  string // condition in CEL, such as event.data.amount > 0; default: each event starts one
	Key   string // the idempotency key, such as ${event.subject}; default the event's source and id
	Input any    // default the event's data
}

// StartSchedule starts instances by the clock.
type StartSchedule struct {
	Name   string // unique within the saga
	Cron   string // minute, hour, day of the month, month and day of the week, such as 0 2 * * *
	Zone   string // time zone, such as Europe/Vienna; default UTC
	Missed string // what happens about times that passed while Atoll did not run: once, which is the default, or skip
	Input  any
}

// StartOn has instances started by events too.
func (d *SagaDefinition) StartOn(e StartEvent) *SagaDefinition {
	d.need("the topic of a start", e.Topic)
	d.condition("the start by "+e.Topic, e.When)
	d.doc.Start = append(d.doc.Start, sagaStartDoc{Event: e.Topic, When: e.When, Key: e.Key, Input: d.orNone("the input of the start by "+e.Topic, e.Input)})
	return d
}

// StartAt has instances started by the clock too.
func (d *SagaDefinition) StartAt(s StartSchedule) *SagaDefinition {
	d.need("the name of a schedule", s.Name)
	d.need("the cron of the schedule "+s.Name, s.Cron)
	for _, other := range d.doc.Start {
		if s.Name != "" && other.Name == s.Name {
			d.wrong("two schedules have the name %s", s.Name)
		}
	}
	input := d.orNone("the input of the schedule "+s.Name, s.Input)
	d.doc.Start = append(d.doc.Start, sagaStartDoc{Name: s.Name, Cron: s.Cron, Zone: s.Zone, Missed: s.Missed, Input: input})
	return d
}

// JSON is the definition as JSON, without defaults filled in: the same definition is always the same text.
func (d *SagaDefinition) JSON() ([]byte, error) {
	if err := d.err(); err != nil {
		return nil, err
	}
	return marshalPlain(d.doc)
}

// WriteFile writes the definition to a file, which has it whole or as it was, and is left alone if it says the same. It is JSON,
// which YAML understands, so its name may end with .yaml, .yml or .json.
func (d *SagaDefinition) WriteFile(path string) error {
	text, err := d.JSON()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		return fmt.Errorf("write saga %s: %w", d.doc.Saga, err)
	}
	out.WriteByte('\n')
	if before, err := os.ReadFile(path); err == nil && bytes.Equal(before, out.Bytes()) {
		return nil
	}
	if err := replaceFile(path, out.Bytes()); err != nil {
		return fmt.Errorf("write saga %s: %w", d.doc.Saga, err)
	}
	return nil
}

// replaceFile writes a file beside, and puts it in the place of the other when it is on disk.
func replaceFile(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	if folder, err := os.Open(dir); err == nil {
		_ = folder.Sync() // where a folder cannot be synced, a crash may leave the file as it was
		_ = folder.Close()
	}
	return nil
}

func (d *SagaDefinition) err() error {
	errs := d.errs
	if len(d.doc.Steps) == 0 {
		errs = append(slices.Clip(errs), errors.New("it has no step"))
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("saga %s: %w", d.doc.Saga, errors.Join(errs...))
}

func (d *SagaDefinition) wrong(format string, args ...any) {
	d.errs = append(d.errs, fmt.Errorf(format, args...))
}

func (d *SagaDefinition) need(what, text string) {
	if strings.TrimSpace(text) == "" {
		d.wrong("%s is empty", what)
	}
}

// condition refuses one that is written as a value is.
func (d *SagaDefinition) condition(of, cel string) {
	if strings.HasPrefix(strings.TrimSpace(cel), "${") {
		d.wrong("the condition of %s is plain CEL, without ${ and }", of)
	}
}

// once sets what is said once.
func (d *SagaDefinition) once(what string, to *string, text string) {
	d.need(what, text)
	if *to != "" {
		d.wrong("%s is said twice", what)
	}
	*to = text
}

func (d *SagaDefinition) onceValue(what string, to *json.RawMessage, v any) {
	if *to != nil {
		d.wrong("%s is said twice", what)
	}
	*to = d.value(what, v)
}

func (d *SagaDefinition) onceSpan(what string, to *string, t time.Duration) {
	if *to != "" {
		d.wrong("%s is said twice", what)
	}
	*to = d.span(what, t)
}

func (d *SagaDefinition) value(what string, v any) json.RawMessage {
	text, err := marshalPlain(v)
	if err != nil {
		d.wrong("%s: %w", what, err)
	}
	return text
}

// orNone is value, for what may be left out.
func (d *SagaDefinition) orNone(what string, v any) json.RawMessage {
	if v == nil {
		return nil
	}
	return d.value(what, v)
}

// span is a time span as a definition has it: 24h, 500ms.
func (d *SagaDefinition) span(what string, t time.Duration) string {
	if t <= 0 {
		d.wrong("%s is %s, which is no time", what, t)
	}
	text := t.String()
	for _, zero := range []string{"0s", "0m"} {
		if rest, ok := strings.CutSuffix(text, zero); ok && strings.HasSuffix(rest, map[string]string{"0s": "m", "0m": "h"}[zero]) {
			text = rest
		}
	}
	return text
}

// spanOrNone is span, for what may be left out.
func (d *SagaDefinition) spanOrNone(what string, t time.Duration) string {
	if t == 0 {
		return ""
	}
	return d.span(what, t)
}

// marshalPlain leaves <, > and & as they are, which expressions are full of.
func marshalPlain(v any) (json.RawMessage, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
