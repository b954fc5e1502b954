package define

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga"
)

// Defaults of what a definition leaves open.
const (
	attempts      = 5
	attemptsAfter = 20 // after the pivot, and of undo
	backoff       = 500 * time.Millisecond
	maxBackoff    = time.Minute
	timeout       = 30 * time.Second
	asyncTimeout  = 24 * time.Hour
	atOnce        = 8
)

// Options of Compile. The zero value compiles against nothing, as is right for a definition that was stored when it was in force.
type Options struct {
	Others map[string]*manifest.Saga // sagas by name, for children
	// Contract answers the contract of a service, or nil where there is none that is known.
	Contract func(service string) *Contract
	// Topic answers the JSON Schema of a topic's data, or nil.
	Topic func(topic string) []byte
}

// Compile makes a plan of a definition. The plan is nil where the faults hold one that is more than a warning.
func Compile(s *manifest.Saga, o Options) (*saga.Plan, fault.List) {
	source, err := s.Canonical()
	if err != nil {
		return nil, fault.List{fault.New(fault.CodeSagaShape, "the definition of %s cannot be written as JSON", s.Name).Fix("correct its values").Because(err).At(s.Place(""))}
	}
	env, types, err := newEnv()
	if err != nil {
		return nil, fault.List{fault.New(fault.CodeInternal, "expressions cannot be compiled").Because(err)}
	}
	c := &compiler{saga: s, o: o, env: env, types: types, outputs: make([]*cel.Type, len(s.Steps))}
	sum := sha256.Sum256(source)
	c.plan = &saga.Plan{
		Name: s.Name, Hash: hex.EncodeToString(sum[:]), Source: source, Saga: s,
		Timeout: s.Timeout.Std(), Keep: s.Keep.Std(), Steps: make([]saga.Step, len(s.Steps)),
	}
	nodes, findings := saga.Shape(s, o.Others)
	for _, f := range findings {
		c.faults = append(c.faults, f.Fault.At(s.Place(f.Path)))
	}
	if nodes == nil || len(findings) > 0 {
		return nil, c.faults.Sorted()
	}
	c.nodes = nodes
	c.compile()
	if c.faults.HasErrors() {
		return nil, c.faults.Sorted()
	}
	return c.plan, c.faults.Sorted()
}

// Decode reads a definition from its canonical JSON. What Compile makes of it has the same hash.
func Decode(canonical []byte) (*manifest.Saga, error) {
	d := json.NewDecoder(bytes.NewReader(canonical))
	d.DisallowUnknownFields()
	s := &manifest.Saga{}
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("decode definition of saga: %w", err)
	}
	return s, nil
}

// compiler makes one plan.
type compiler struct {
	saga    *manifest.Saga
	o       Options
	env     *cel.Env
	types   *catalog
	nodes   []saga.Node
	plan    *saga.Plan
	input   *cel.Type
	outputs []*cel.Type   // of steps
	held    map[pair]bool // objects that have been held against schemas, of the value in hand
	faults  fault.List
}

// find says that something at a path is wrong that is no expression.
func (c *compiler) find(path string, code fault.Code, remedy, format string, args ...any) {
	c.faults = append(c.faults, fault.New(code, format, args...).Fix("%s", remedy).At(c.saga.Place(path)))
}

func (c *compiler) compile() {
	c.compileInput()
	over := c.overInput()
	c.plan.Key = c.optional(over, "key", c.saga.Key)
	c.plan.Lock = c.optional(over, "lock", c.saga.Lock)
	for _, i := range c.order() {
		c.step(i)
	}
	if c.saga.Output != "" {
		c.plan.Output = c.value(c.atEnd(), "output", c.saga.Output).template()
	}
	for i := range c.saga.Start {
		c.start(fmt.Sprintf("start[%d]", i), &c.saga.Start[i])
	}
}

// order lists the steps so that each comes behind those that lie before it.
func (c *compiler) order() []int {
	var out []int
	done := make([]bool, len(c.nodes))
	var visit func(i int)
	visit = func(i int) {
		if done[i] {
			return
		}
		done[i] = true
		for _, from := range c.nodes[i].After {
			visit(from)
		}
		out = append(out, i)
	}
	for i := range c.nodes {
		visit(i)
	}
	return out
}

// optional is a text that a definition may leave away.
func (c *compiler) optional(sc *scope, path, text string) saga.Text {
	if text == "" {
		return nil
	}
	return c.text(sc, path, text, textRules{strict: true})
}

// step compiles one step, once those before it have been.
func (c *compiler) step(i int) {
	m, at := &c.saga.Steps[i], func(key string) string { return fmt.Sprintf("steps[%d].%s", i, key) }
	node := c.nodes[i]
	p := &c.plan.Steps[i]
	*p = saga.Step{
		Name: m.Name, Role: node.Role, After: node.After, Before: node.Before,
		Retry: retry(m.Retry, node.Role == saga.Retriable), Again: retry(m.Retry, true),
	}
	if p.Again.Attempts < attemptsAfter {
		p.Again.Attempts = attemptsAfter // to give up early leaves something undone
	}
	sc := c.atStep(i)
	if m.When != "" {
		p.When = c.condition(sc, at("when"), m.When)
	}
	item := []variable(nil)
	if m.Each != nil {
		var typ *cel.Type
		p.Each, typ = c.list(sc, at("each.in"), m.Each.In)
		p.AtOnce = cmp.Or(m.Each.AtOnce, atOnce)
		item = []variable{{"item", typ}, {"index", cel.IntType}}
	}
	if m.Each != nil {
		sc = c.within(sc, false, item...)
	}
	switch {
	case m.Do != nil:
		p.Kind = saga.KindCall
		c.do(i, c.within(sc, false, variable{"step.key", cel.StringType}))
	case m.Child != nil:
		p.Kind, p.Child = saga.KindChild, m.Child.Saga
		// Also of a definition that was stored once, whose child may be another by now: Shape would not have taken it otherwise.
		p.Revocable = node.Role == saga.Compensatable && m.Undo == nil
		c.outputs[i] = cel.DynType
		c.child(sc, at("child"), p, m)
	case m.Wait != nil:
		c.wait(sc, at("wait"), p, m.Wait)
		c.outputs[i] = c.eventData(m.Wait.Event)
	default:
		p.Kind = saga.KindSleep
		c.outputs[i] = cel.DynType
		if m.Sleep != "" {
			p.Sleep = c.sleep(sc, at("sleep"), m.Sleep)
		} else {
			p.Sleep = c.until(sc, at("until"), m.Until)
		}
	}
	if m.Each != nil {
		c.outputs[i] = cel.ListType(c.outputs[i])
	}
	if m.Undo != nil && !m.Undo.None() {
		undo := c.within(sc, true, variable{"step.key", cel.StringType})
		p.Undo = c.call(undo, at("undo"), m.Undo.Call, m.Undo.Body, m.Undo.Headers)
		p.Undo.Done, p.Undo.Timeout = m.Undo.Done, cmp.Or(m.Timeout.Std(), timeout)
	}
}

func retry(m manifest.SagaRetry, patient bool) saga.Retry {
	r := saga.Retry{Attempts: m.Attempts, Backoff: cmp.Or(m.Backoff.Std(), backoff), MaxBackoff: cmp.Or(m.MaxBackoff.Std(), maxBackoff)}
	if r.Attempts == 0 {
		r.Attempts = attempts
		if patient {
			r.Attempts = attemptsAfter
		}
	}
	r.MaxBackoff = max(r.MaxBackoff, r.Backoff)
	return r
}

// do compiles the call of a step.
func (c *compiler) do(i int, sc *scope) {
	m, path := &c.saga.Steps[i], fmt.Sprintf("steps[%d].do", i)
	p := &c.plan.Steps[i]
	p.Do = c.call(sc, path, m.Do.Call, m.Do.Body, m.Do.Headers)
	p.Do.Timeout = cmp.Or(m.Timeout.Std(), timeout)
	p.Do.Refused = refused(m.Do.Refused)
	if a := m.Do.Async; a != nil {
		p.Do.Async = &saga.Async{Timeout: cmp.Or(a.Timeout.Std(), asyncTimeout), Topic: a.Event}
		if a.Event != "" {
			p.Do.Async.Key = c.text(sc, path+".async.key", a.Key, textRules{strict: true})
			p.Do.Async.By = c.by(path+".async.by", a.Event, a.By)
		}
	}
	body := c.answerType(m.Do)
	c.outputs[i] = body
	if m.Output == "" {
		return
	}
	answer := c.types.add(&structType{label: "answer", fields: map[string]*cel.Type{
		"status": cel.IntType, "headers": cel.MapType(cel.StringType, cel.StringType), "body": body,
	}})
	v := c.value(c.within(sc, false, variable{"answer", answer}), fmt.Sprintf("steps[%d].output", i), m.Output)
	p.Output, c.outputs[i] = v.template(), v.typ(c, "steps."+m.Name)
}

// answerType is the type of the body that a call answers with in the end.
func (c *compiler) answerType(m *manifest.SagaCall) *cel.Type {
	if m.Async != nil {
		if m.Async.Event != "" {
			return c.eventData(m.Async.Event)
		}
		return cel.DynType
	}
	if op := c.operation(m.Call); op != nil {
		return c.types.typeOf(op.answer())
	}
	return cel.DynType
}

// refused tells which statuses are refusals for good.
func refused(statuses []int) func(int) bool {
	if len(statuses) > 0 {
		return func(status int) bool { return slices.Contains(statuses, status) }
	}
	return func(status int) bool {
		switch status {
		case 408, 421, 425, 429: // of which none says that the request is wrong (RFC 9110, RFC 8470, RFC 6585)
			return false
		}
		return status >= 400 && status < 500
	}
}

// child compiles what a child is started with.
func (c *compiler) child(sc *scope, path string, p *saga.Step, m *manifest.SagaStep) {
	other := c.o.Others[m.Child.Saga]
	var want schema
	if other != nil && other.Input != "" {
		want = parseSchema([]byte(other.Input), "the input of "+other.Name)
	}
	if m.Child.Input == "" {
		c.fitsType(path, "input", c.input, want, 0)
		return
	}
	v := c.value(sc, path+".input", m.Child.Input)
	p.Pass = v.template()
	c.fits(v, want, 0)
}

// wait compiles what a step waits for.
func (c *compiler) wait(sc *scope, path string, p *saga.Step, m *manifest.SagaWait) {
	p.Kind, p.Topic, p.WaitTime, p.GoOn = saga.KindWait, m.Event, m.Timeout.Std(), m.Else == manifest.WaitGoOn
	p.WaitKey = c.text(sc, path+".key", m.Key, textRules{strict: true})
	p.WaitBy = c.by(path+".by", m.Event, m.By)
}

// by compiles what of an event is compared with a key.
func (c *compiler) by(path, topic, text string) saga.Text {
	return c.text(c.overEvent(topic), path, cmp.Or(text, "${event.subject}"), textRules{strict: true})
}

// start compiles what starts instances.
func (c *compiler) start(path string, m *manifest.SagaStart) {
	p := saga.Start{Topic: m.Event, Name: m.Name, Cron: m.Cron, Zone: cmp.Or(m.Zone, "UTC"), Missed: cmp.Or(m.Missed, manifest.MissedOnce)}
	sc := c.overNothing()
	if m.Event != "" {
		sc = c.overEvent(m.Event)
		p.Zone, p.Missed = "", ""
	}
	if m.When != "" {
		p.When = c.condition(sc, path+".when", m.When)
	}
	p.Key = c.optional(sc, path+".key", m.Key)
	want := parseSchema([]byte(c.saga.Input), "the input of "+c.saga.Name)
	switch {
	case m.Input != "":
		v := c.value(sc, path+".input", m.Input)
		p.Input = v.template()
		if fixed, ok := p.Input.(constant); ok && v.sound() {
			c.accepts(path+".input", fixed)
		} else {
			c.fits(v, want, 0)
		}
	case m.Event != "":
		c.fitsType(path+".event", "data of the event", c.eventData(m.Event), want, 0)
	default:
		fixed := constant("null")
		p.Input = fixed
		c.accepts(path, fixed)
	}
	c.plan.Starts = append(c.plan.Starts, p)
}

// accepts refuses an input that is always the same and never fits.
func (c *compiler) accepts(path string, input constant) {
	if c.plan.Input == nil {
		return
	}
	if err := c.plan.Input.Check(json.RawMessage(input)); err != nil {
		c.find(path, fault.CodeSagaInput, "write what the schema of input asks for", "a start with this would be refused: %s", sentence(err))
	}
}
