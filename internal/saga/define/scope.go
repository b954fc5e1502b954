package define

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/ext"

	"github.com/atollhq/atoll/internal/manifest"
)

// Limits of an expression, so that none costs more than a moment.
const (
	maxExpression = 8192      // characters
	maxCost       = 1_000_000 // in CEL's units, each about the cost of one call
	maxRange      = 10_000
	maxRegex      = 1000
)

// scope is what expressions of one place may read.
type scope struct {
	env   *cel.Env
	reads []string // variables, such as input and steps
	steps []int    // of which steps the outputs
	step  int      // to which the place belongs; -1: to none
	undo  bool
	saga  *manifest.Saga
}

// newEnv is what all expressions have in common.
func newEnv() (*cel.Env, *catalog, error) {
	options := []cel.EnvOption{
		cel.OptionalTypes(), ext.Strings(), ext.Math(), ext.Lists(ext.ListsMaxRangeSize(maxRange)), ext.Encoders(),
		cel.CrossTypeNumericComparisons(true), cel.DefaultUTCTimeZone(true), cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(100), cel.RegexProgramSizeLimit(maxRegex),
	}
	env, err := cel.NewEnv(append(options, mixedOverloads()...)...)
	if err != nil {
		return nil, nil, fmt.Errorf("make CEL environment: %w", err)
	}
	types := newCatalog(env.CELTypeProvider())
	env, err = env.Extend(cel.CustomTypeProvider(types))
	if err != nil {
		return nil, nil, fmt.Errorf("make CEL environment: %w", err)
	}
	return env, types, nil
}

// variable is one that expressions read, with its type.
type variable struct {
	name string
	typ  *cel.Type
}

func (c *compiler) sagaVariables() []variable {
	return []variable{{"saga.id", cel.StringType}, {"saga.name", cel.StringType}, {"saga.key", cel.StringType}, {"saga.started", cel.TimestampType}}
}

// newScope is base with further variables.
func (c *compiler) newScope(base *cel.Env, sc scope, variables ...variable) *scope {
	options := make([]cel.EnvOption, 0, len(variables))
	for _, v := range variables {
		options = append(options, cel.Variable(v.name, v.typ))
		name, _, _ := strings.Cut(v.name, ".")
		if !slices.Contains(sc.reads, name) {
			sc.reads = append(sc.reads, name)
		}
	}
	env, err := base.Extend(options...)
	if err != nil {
		panic("define: variables cannot be declared: " + err.Error())
	}
	slices.Sort(sc.reads)
	sc.env, sc.saga = env, c.saga
	return &sc
}

// overNothing is the scope of values that are the same for every instance.
func (c *compiler) overNothing() *scope { return c.newScope(c.env, scope{step: -1}) }

// overInput is the scope of key and lock.
func (c *compiler) overInput() *scope {
	return c.newScope(c.env, scope{step: -1}, append(c.sagaVariables(), variable{"input", c.input})...)
}

// overEvent is the scope of what is asked of an event.
func (c *compiler) overEvent(topic string) *scope {
	return c.newScope(c.env, scope{step: -1}, variable{"event", c.eventType(topic)})
}

// atEnd is the scope of the saga's output.
func (c *compiler) atEnd() *scope {
	all := make([]int, len(c.saga.Steps))
	for i := range all {
		all[i] = i
	}
	variables := append(c.sagaVariables(), variable{"input", c.input})
	for i := range all {
		variables = append(variables, variable{"steps." + c.saga.Steps[i].Name, c.outputs[i]})
	}
	return c.newScope(c.env, scope{step: -1, steps: all}, variables...)
}

// atStep is the scope of a step before its call is known: of when, each, wait, sleep and a child's input.
func (c *compiler) atStep(i int) *scope {
	variables := append(c.sagaVariables(), variable{"input", c.input})
	for _, from := range c.ahead(i) {
		variables = append(variables, variable{"steps." + c.saga.Steps[from].Name, c.outputs[from]})
	}
	return c.newScope(c.env, scope{step: i, steps: c.ahead(i)}, variables...)
}

// within is a scope with more in it.
func (c *compiler) within(sc *scope, undo bool, variables ...variable) *scope {
	return c.newScope(sc.env, scope{step: sc.step, steps: sc.steps, undo: undo, reads: slices.Clone(sc.reads)}, variables...)
}

// ahead lists the steps that have ended when a step begins.
func (c *compiler) ahead(i int) []int {
	seen := map[int]bool{}
	var visit func(i int)
	visit = func(i int) {
		for _, from := range c.nodes[i].After {
			if !seen[from] {
				seen[from] = true
				visit(from)
			}
		}
	}
	visit(i)
	return slices.Sorted(maps.Keys(seen))
}

// problem is what is wrong with an expression, and where in it.
type problem struct {
	text, remedy string
	at, width    int // in characters; at -1: the whole of it
}

// stray finds a variable that cannot be read in a scope, before CEL does, which knows less about why.
func (sc *scope) stray(parsed *cel.Ast, text string) *problem {
	w := &walk{sc: sc, info: parsed.NativeRep().SourceInfo(), text: text, bound: map[string]int{}}
	w.visit(parsed.NativeRep().Expr())
	return w.found
}

// walk goes through a parsed expression.
type walk struct {
	sc    *scope
	info  *ast.SourceInfo
	text  string
	bound map[string]int // variables of macros
	found *problem
}

func (w *walk) fail(e ast.Expr, width int, remedy, format string, args ...any) {
	if w.found == nil {
		at := w.info.GetStartLocation(e.ID())
		w.found = &problem{text: fmt.Sprintf(format, args...), remedy: remedy, at: offset(w.text, at.Line(), at.Column()), width: width}
	}
}

// offset is the place of a line, from 1, and a column, from 0, in a text, in characters.
func offset(text string, line, column int) int {
	for i, l := range strings.Split(text, "\n") {
		if i+1 >= line {
			break
		}
		column += len([]rune(l)) + 1
	}
	return column
}

func (w *walk) visit(e ast.Expr) {
	switch e.Kind() {
	case ast.IdentKind:
		w.ident(e)
	case ast.SelectKind:
		w.selected(e)
	case ast.CallKind:
		call := e.AsCall()
		if call.IsMemberFunction() && !isNamespace(call.Target()) {
			w.visit(call.Target())
		}
		for _, arg := range call.Args() {
			w.visit(arg)
		}
	case ast.ListKind:
		for _, item := range e.AsList().Elements() {
			w.visit(item)
		}
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			w.visit(entry.AsMapEntry().Key())
			w.visit(entry.AsMapEntry().Value())
		}
	case ast.StructKind:
		for _, field := range e.AsStruct().Fields() {
			w.visit(field.AsStructField().Value())
		}
	case ast.ComprehensionKind:
		w.comprehension(e.AsComprehension())
	default:
	}
}

// isNamespace tells whether what looks like a variable is the first word of a function's name, such as math of math.greatest.
func isNamespace(e ast.Expr) bool {
	return e.Kind() == ast.IdentKind && slices.Contains([]string{"math", "base64", "json", "lists", "strings", "optional"}, e.AsIdent())
}

func (w *walk) comprehension(c ast.ComprehensionExpr) {
	w.visit(c.IterRange())
	w.visit(c.AccuInit())
	bound := []string{c.IterVar(), c.AccuVar(), c.IterVar2()}
	for _, name := range bound {
		w.bound[name]++
	}
	for _, e := range []ast.Expr{c.LoopCondition(), c.LoopStep(), c.Result()} {
		w.visit(e)
	}
	for _, name := range bound {
		w.bound[name]--
	}
}

func (w *walk) ident(e ast.Expr) {
	name := e.AsIdent()
	if w.bound[name] > 0 {
		return
	}
	switch {
	case slices.Contains([]string{"steps", "saga", "step"}, name) && slices.Contains(w.sc.reads, name):
		w.fail(e, len(name), "write "+members(name), "%s alone is no value", name)
	case !slices.Contains(w.sc.reads, name):
		if why := w.sc.why(name); why != "" {
			w.fail(e, len(name), w.sc.readable(), "%s", why)
		}
	}
}

func members(name string) string {
	switch name {
	case "saga":
		return "saga.id, saga.name, saga.key or saga.started"
	case "step":
		return "step.key"
	}
	return "steps.NAME, with the name of a step that lies before this place"
}

// readable says what there is instead.
func (sc *scope) readable() string {
	if len(sc.reads) == 0 {
		return "write the value itself"
	}
	return "what can be read here is " + strings.Join(sc.reads, ", ")
}

// why says why a variable cannot be read; "" of what is none anywhere.
func (sc *scope) why(name string) string {
	switch name {
	case "answer":
		return "answer is there only in the output of a step that calls"
	case "item", "index":
		return name + " is there only in a step with each"
	case "event":
		return "event is there only where an event is looked at: in start, and in by"
	case "step":
		return "step.key is there only in the call, the undo and the output of a step"
	case "steps":
		return "no step lies before this place"
	case "input", "saga":
		return name + " is not known here"
	}
	return ""
}

// selected visits a selection; of steps, saga and step it holds the member against what there is.
func (w *walk) selected(e ast.Expr) {
	sel := e.AsSelect()
	of := sel.Operand()
	if of.Kind() != ast.IdentKind || w.bound[of.AsIdent()] > 0 {
		w.visit(of)
		return
	}
	name, field := of.AsIdent(), sel.FieldName()
	width := len(name) + 1 + len(field)
	own := slices.Contains([]string{"steps", "saga", "step"}, name)
	switch {
	case !own || !slices.Contains(w.sc.reads, name) && name != "steps":
		w.ident(of)
	case sel.IsTestOnly():
		w.fail(of, width, "write "+name+"."+field+" != null; a step that was skipped has null as output", "%s.%s is always there", name, field)
	case name == "saga" && !slices.Contains([]string{"id", "name", "key", "started"}, field):
		w.fail(of, width, meant(field, []string{"id", "name", "key", "started"}, "there are"), "there is no %s in saga", field)
	case name == "step" && field != "key":
		w.fail(of, width, "write step.key", "there is no %s in step", field)
	case name == "steps":
		if p := w.sc.noStep(field); p != nil {
			w.fail(of, width, p.remedy, "%s", p.text)
		}
	}
}

// noStep says why the output of a step cannot be read.
func (sc *scope) noStep(name string) *problem {
	var names, all []string
	at := -1
	for i := range sc.saga.Steps {
		step := sc.saga.Steps[i].Name
		all = append(all, step)
		if slices.Contains(sc.steps, i) {
			names = append(names, step)
		}
		if step == name {
			at = i
		}
	}
	switch {
	case slices.Contains(names, name):
		return nil
	case len(all) == 0 || at < 0:
		return &problem{text: fmt.Sprintf("there is no step %s", name), remedy: meant(name, all, "the steps are")}
	case sc.step < 0:
		return &problem{text: "there is no output of steps here", remedy: sc.readable()}
	case at == sc.step && sc.undo:
		return &problem{
			text:   fmt.Sprintf("the undo of %s cannot read its output: its answer may never have come", name),
			remedy: "use input, or step.key, by which the service knows what it did",
		}
	case at == sc.step:
		return &problem{text: fmt.Sprintf("step %s has no output before it has ended", name), remedy: "in output, write answer.body for it"}
	}
	here := sc.saga.Steps[sc.step].Name
	return &problem{
		text:   fmt.Sprintf("step %s does not lie before %s, so that its output may not be there", name, here),
		remedy: fmt.Sprintf("let %s come after it: after: [%s]", here, name),
	}
}

// meant suggests what was meant, or says what there is.
func meant(word string, candidates []string, there string) string {
	if near := manifest.Nearest(word, candidates); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	if len(candidates) == 0 {
		return "there is nothing else either"
	}
	more := ""
	if len(candidates) > 20 {
		candidates, more = candidates[:20], ", …"
	}
	return there + " " + strings.Join(candidates, ", ") + more
}
