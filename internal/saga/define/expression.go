package define

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

// spot is where an expression is written.
type spot struct {
	path  string
	text  string
	whole bool // without ${}
}

// expression compiles one; nil if it is at fault, which has been said.
func (c *compiler) expression(sc *scope, at spot) *expression {
	trimmed := strings.TrimSpace(at.text)
	switch {
	case trimmed == "":
		c.fail(at, problem{text: "there is no expression here", remedy: "write one, such as input.order", at: -1})
		return nil
	case at.whole && holdsExpression(trimmed):
		c.fail(at, problem{text: "this is an expression as a whole", remedy: "write it without ${ and }", at: -1})
		return nil
	}
	parsed, issues := sc.env.Parse(at.text)
	if issues.Err() != nil {
		c.refuse(sc, at, issues)
		return nil
	}
	if p := sc.stray(parsed, at.text); p != nil {
		c.fail(at, *p)
		return nil
	}
	c.types.missed = nil
	checked, issues := sc.env.Check(parsed)
	if issues.Err() != nil {
		c.refuse(sc, at, issues)
		return nil
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize), cel.CustomDecoratorV2(decorate)}
	if expensive(checked.NativeRep().Expr()) {
		options = append(options, cel.CostLimit(maxCost))
	}
	program, err := sc.env.Program(checked, options...)
	if err != nil {
		c.fail(at, problem{text: "this cannot be evaluated: " + lower(err.Error()), remedy: "correct it", at: -1})
		return nil
	}
	return &expression{text: at.text, whole: at.whole, program: program, typ: checked.OutputType(), direct: selectionOf(checked.NativeRep().Expr())}
}

// expensive tells whether an expression may take more time than its length says.
func expensive(e ast.Expr) bool {
	found := false
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.ComprehensionKind:
			found = true
		case ast.CallKind:
			found = found || !cheap(e.AsCall().FunctionName())
		default:
		}
	}))
	return found
}

// cheap tells whether a function takes time in proportion to its operands at most, and makes nothing larger than them.
func cheap(function string) bool {
	return strings.ContainsAny(function, "_!@") ||
		slices.Contains([]string{
			"size", "int", "uint", "double", "string", "bool", "dyn", "type", "timestamp", "duration", "bytes", "contains", "startsWith", "endsWith", "orValue", "hasValue", "value",
		}, function) || strings.HasPrefix(function, "get")
}

// selectionOf is an expression that does no more than select; nil of others.
func selectionOf(e ast.Expr) *selection {
	switch e.Kind() {
	case ast.IdentKind:
		return &selection{root: e.AsIdent()}
	case ast.SelectKind:
		sel := e.AsSelect()
		of := selectionOf(sel.Operand())
		if of == nil || sel.IsTestOnly() {
			return nil
		}
		of.path = append(of.path, hop{sel.FieldName(), -1})
		return of
	case ast.CallKind:
		call := e.AsCall()
		if call.FunctionName() != operators.Index || len(call.Args()) != 2 {
			return nil
		}
		of, key := selectionOf(call.Args()[0]), call.Args()[1]
		if of == nil || key.Kind() != ast.LiteralKind {
			return nil
		}
		switch v := key.AsLiteral().(type) {
		case types.String:
			of.path = append(of.path, hop{string(v), -1})
		case types.Int:
			if v < 0 || v > maxValue {
				return nil
			}
			of.path = append(of.path, hop{index: int(v)})
		default:
			return nil
		}
		return of
	default:
		return nil
	}
}

var (
	undefinedField = regexp.MustCompile(`^undefined field '([^']*)'`)
	undeclared     = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	noOverload     = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'`)
)

// refuse turns what CEL says about an expression into a fault.
func (c *compiler) refuse(sc *scope, at spot, issues *cel.Issues) {
	first := issues.Errors()[0]
	p := problem{at: -1, remedy: "correct it; expressions are written in CEL"}
	if first.Location != nil && first.Location.Line() > 0 {
		p.at, p.width = token(at.text, offset(at.text, first.Location.Line(), first.Location.Column()))
	}
	switch message := first.Message; {
	case undefinedField.MatchString(message):
		field := undefinedField.FindStringSubmatch(message)[1]
		p.text, p.remedy = c.missing(field)
	case undeclared.MatchString(message):
		p.text, p.remedy = unknown(sc, undeclared.FindStringSubmatch(message)[1])
	case noOverload.MatchString(message):
		m := noOverload.FindStringSubmatch(message)
		p.text = operator(m[1]) + " cannot be applied to " + plainTypes(m[2])
		p.remedy = "convert one of them: string(…), int(…), double(…), timestamp(…) and duration(…) do"
	case strings.HasPrefix(message, "Syntax error: "):
		message, _, _ = strings.Cut(strings.TrimPrefix(message, "Syntax error: "), " expecting ")
		p.text = "this is no expression: " + strings.ReplaceAll(message, "'<EOF>'", "end")
	default:
		p.text = "this is no expression: " + plainTypes(lower(message))
	}
	c.fail(at, p)
}

// missing says that an object has no such member.
func (c *compiler) missing(field string) (text, remedy string) {
	for _, m := range c.types.missed {
		if m.field == field {
			names, _ := c.types.FindStructFieldNames(m.typ)
			return "there is no " + field + " in " + label(m.typ), meant(field, names, "there are")
		}
	}
	return "there is no " + field + " here", "correct the name"
}

// unknown says that nothing has a name.
func unknown(sc *scope, name string) (text, remedy string) {
	switch name {
	case "now", "today", "uuid", "random", "rand", "env":
		return "there is no " + name + ": a body is the same for every attempt", "use saga.started for a time, and step.key or saga.id for a key of its own"
	}
	remedy = sc.readable()
	if near := manifest.Nearest(name, sc.reads); near != "" {
		remedy = "did you mean " + near + "?"
	}
	return "there is no " + name + " in CEL, and nothing of that name to read", remedy
}

// operator is how an operator is written.
func operator(name string) string {
	if name == "_[_]" {
		return "[ ]"
	}
	return strings.Trim(strings.ReplaceAll(name, "_", ""), "@")
}

// plainTypes tells types as users know them.
func plainTypes(text string) string {
	text = strings.NewReplacer("#", "", "wrapper(", "nullable(").Replace(text)
	return strings.ReplaceAll(text, "'", "")
}

// typeName tells a type as users know it.
func typeName(t *cel.Type) string { return plainTypes(t.String()) }

func lower(text string) string {
	if text == "" {
		return text
	}
	return strings.ToLower(text[:1]) + text[1:]
}

// token is the word or sign at a place in an expression.
func token(text string, at int) (start, width int) {
	runes := []rune(text)
	if at < 0 || at >= len(runes) {
		return max(0, len(runes)-1), 1
	}
	word := func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }
	if runes[at] == '.' && at+1 < len(runes) && word(runes[at+1]) {
		at++
	}
	for runes[at] == '(' && at > 0 && word(runes[at-1]) || at > 0 && word(runes[at]) && word(runes[at-1]) {
		at--
	}
	end := at + 1
	for word(runes[at]) && end < len(runes) && word(runes[end]) {
		end++
	}
	for !word(runes[at]) && end < len(runes) && strings.ContainsRune("=&|<>", runes[at]) && strings.ContainsRune("=&|", runes[end]) {
		end++
	}
	return at, end - at
}

// fail says what is wrong with an expression, at its place in the file where that can be told.
func (c *compiler) fail(at spot, p problem) {
	pos, source := c.saga.Place(at.path)
	written, before := at.text, ""
	if !at.whole {
		before = "${"
	}
	runes := []rune(source)
	if pos.Column >= 1 && pos.Column <= len(runes) && written != "" && !strings.Contains(written, "\n") {
		rest := string(runes[pos.Column-1:])
		if i := strings.Index(rest, before+written); i >= 0 {
			start := pos.Column + len([]rune(rest[:i])) + len(before)
			pos.Column, pos.Width = start, len([]rune(written))
			if p.at >= 0 {
				pos.Column, pos.Width = start+p.at, max(1, p.width)
			}
		}
	}
	e := &expression{text: written, whole: at.whole}
	c.faults = append(c.faults, fault.New(fault.CodeSagaExpression, "%s: %s", e.written(), p.text).Fix("%s", p.remedy).At(pos, source))
}
