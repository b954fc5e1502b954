package define

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga"
)

// value is a value as a definition writes it, with its expressions compiled. Exactly one of the fields below path is in use.
type value struct {
	path   string
	fixed  any // null, a truth value, a json.Number or a text
	object map[string]*value
	list   []*value
	expr   *expression
	text   *text // of several parts
	broken bool  // what is at fault has been said
}

// value compiles a value.
func (c *compiler) value(sc *scope, path string, written manifest.JSON) *value {
	d := json.NewDecoder(bytes.NewReader([]byte(written)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		c.find(path, fault.CodeBadValue, "write it as YAML or JSON", "this is no value")
		return &value{path: path, broken: true}
	}
	return c.valueOf(sc, path, v)
}

func (c *compiler) valueOf(sc *scope, path string, v any) *value {
	out := &value{path: path}
	switch v := v.(type) {
	case map[string]any:
		out.object = map[string]*value{}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if holdsExpression(key) {
				c.find(path, fault.CodeSagaExpression, "write the name itself; ${…} can stand in values", "the name of a member is no expression: %s", key)
			}
			out.object[key] = c.valueOf(sc, path+"."+key, v[key])
		}
	case []any:
		out.list = []*value{}
		for i, item := range v {
			out.list = append(out.list, c.valueOf(sc, fmt.Sprintf("%s[%d]", path, i), item))
		}
	case string:
		c.textValue(sc, out, v)
	default:
		out.fixed = v
	}
	return out
}

// textValue compiles a text within a value.
func (c *compiler) textValue(sc *scope, out *value, written string) {
	parts, ok := c.split(out.path, written)
	switch {
	case !ok:
		out.broken = true
	case len(parts) == 0:
		out.fixed = ""
	case len(parts) == 1 && !parts[0].expr:
		out.fixed = parts[0].text
	case len(parts) == 1:
		out.expr = c.expression(sc, spot{path: out.path, text: parts[0].text})
		out.broken = out.expr == nil
	default:
		out.text = c.textOf(sc, out.path, parts, textRules{})
		out.broken = out.text == nil
	}
}

// split takes a text apart, and says where an expression is not closed.
func (c *compiler) split(path, written string) ([]part, bool) {
	parts, err := split(written)
	if err != nil {
		c.fail(spot{path: path, text: parts[len(parts)-1].text}, problem{text: err.Error(), remedy: "write } behind the expression; $${ stands for a plain ${", at: -1})
		return nil, false
	}
	return parts, true
}

// segments appends the pieces of the JSON of a value.
func (v *value) segments(out []segment) []segment {
	plain := func(b ...byte) {
		if n := len(out); n > 0 && out[n-1].expr == nil {
			out[n-1].text = append(out[n-1].text, b...)
			return
		}
		out = append(out, segment{text: b})
	}
	switch {
	case v.object != nil:
		plain('{')
		for i, key := range slices.Sorted(maps.Keys(v.object)) {
			if i > 0 {
				plain(',')
			}
			plain(append(appendText(nil, key), ':')...)
			out = v.object[key].segments(out)
		}
		plain('}')
	case v.list != nil:
		plain('[')
		for i, item := range v.list {
			if i > 0 {
				plain(',')
			}
			out = item.segments(out)
		}
		plain(']')
	case v.expr != nil:
		out = append(out, segment{expr: v.expr})
	case v.text != nil:
		plain('"')
		for _, p := range v.text.parts {
			if p.expr == nil {
				plain(appendEscaped(nil, p.text)...)
			} else {
				out = append(out, segment{expr: p.expr, inText: true})
			}
		}
		plain('"')
	default:
		plain(v.constant()...)
	}
	return out
}

func (v *value) constant() []byte {
	switch fixed := v.fixed.(type) {
	case json.Number:
		return []byte(fixed)
	case string:
		return appendText(nil, fixed)
	case bool:
		return strconv.AppendBool(nil, fixed)
	}
	return []byte("null")
}

// template is the value made ready.
func (v *value) template() saga.Template {
	segments := v.segments(nil)
	if len(segments) == 1 && segments[0].expr == nil {
		return constant(segments[0].text)
	}
	return &template{segments}
}

// typ is what is known of the value's type.
func (v *value) typ(c *compiler, name string) *cel.Type {
	switch {
	case v.broken:
		return cel.DynType
	case len(v.object) > 0:
		t := &structType{label: name, fields: map[string]*cel.Type{}, must: map[string]bool{}}
		for key, member := range v.object {
			t.fields[key], t.must[key] = member.typ(c, memberOf(name, key)), true
		}
		return c.types.add(t)
	case v.object != nil:
		return cel.MapType(cel.StringType, cel.DynType)
	case v.list != nil:
		return cel.ListType(cel.DynType)
	case v.expr != nil:
		return v.expr.typ
	case v.text != nil:
		return cel.StringType
	}
	switch fixed := v.fixed.(type) {
	case bool:
		return cel.BoolType
	case string:
		return cel.StringType
	case json.Number:
		if n, err := number([]byte(fixed)); err == nil {
			if _, ok := n.(int64); ok {
				return cel.IntType
			}
			return cel.DoubleType
		}
	}
	return cel.DynType
}

// sound tells whether nothing in the value is at fault.
func (v *value) sound() bool {
	for _, member := range v.object {
		if !member.sound() {
			return false
		}
	}
	return !v.broken && !slices.ContainsFunc(v.list, func(item *value) bool { return !item.sound() })
}

// textRules is what a text must keep to.
type textRules struct {
	strict bool // texts and whole numbers only
	path   bool // of a call
	header bool
}

// text compiles a text that may hold expressions; a text that cannot be evaluated where it is at fault, which has been said.
func (c *compiler) text(sc *scope, path, written string, rules textRules) saga.Text {
	parts, ok := c.split(path, written)
	if !ok {
		return &text{}
	}
	if t := c.textOf(sc, path, parts, rules); t != nil {
		return t
	}
	return &text{}
}

func (c *compiler) textOf(sc *scope, path string, parts []part, rules textRules) *text {
	t := &text{}
	query, sound := false, true
	if rules.path {
		t.verify = verifyPath
	}
	if rules.header {
		t.verify = verifyHeader
	}
	for _, p := range parts {
		if !p.expr {
			query = query || strings.Contains(p.text, "?")
			t.parts = append(t.parts, textPart{text: p.text})
			continue
		}
		at := spot{path: path, text: p.text}
		e := c.expression(sc, at)
		if e == nil || !c.isText(at, e, rules.strict) {
			sound = false
			continue
		}
		one := textPart{expr: e}
		switch {
		case rules.path && query:
			one.escape = inQuery
		case rules.path:
			one.escape = inPath
		}
		t.parts = append(t.parts, one)
	}
	if !sound {
		return nil
	}
	return t
}

// isText refuses an expression whose value cannot be part of a text.
func (c *compiler) isText(at spot, e *expression, strict bool) bool {
	fits, want := true, "a text, a number or a time"
	switch e.typ.Kind() {
	case types.ListKind, types.MapKind, types.StructKind, types.NullTypeKind, types.TypeKind:
		fits = false
	case types.BoolKind, types.DoubleKind, types.DurationKind, types.BytesKind, types.TimestampKind:
		if strict {
			fits, want = false, "a text or a whole number"
		}
	default:
	}
	if !fits {
		c.fail(at, problem{text: "this is of type " + typeName(e.typ) + ", where " + want + " is wanted", remedy: "choose a part of it, or convert it by string(…)", at: -1})
	}
	return fits
}

// condition compiles an expression that is true or false.
func (c *compiler) condition(sc *scope, path, written string) saga.Condition {
	at := spot{path: path, text: written, whole: true}
	e := c.expression(sc, at)
	if e != nil && !is(e.typ, types.BoolKind) {
		c.fail(at, problem{text: "this is of type " + typeName(e.typ) + ", and no condition", remedy: "compare it with something, such as input.amount > 100", at: -1})
	}
	return condition{e}
}

// is tells whether a type is of a kind, as far as it is known.
func is(t *cel.Type, kind types.Kind) bool {
	return t.Kind() == kind || t.Kind() == types.DynKind
}

// single compiles a text that is one expression and nothing else.
func (c *compiler) single(sc *scope, path, written, example string) (*expression, spot) {
	parts, ok := c.split(path, strings.TrimSpace(written))
	if !ok {
		return nil, spot{}
	}
	if len(parts) != 1 || !parts[0].expr {
		c.find(path, fault.CodeSagaExpression, "write one, such as "+example, "%s is not one expression", written)
		return nil, spot{}
	}
	at := spot{path: path, text: parts[0].text}
	return c.expression(sc, at), at
}

// list compiles what each goes through, and answers the type of its items.
func (c *compiler) list(sc *scope, path, written string) (saga.Template, *cel.Type) {
	e, at := c.single(sc, path, written, "${input.lines}")
	if e == nil {
		return nil, cel.DynType
	}
	if !is(e.typ, types.ListKind) {
		c.fail(at, problem{text: "this is of type " + typeName(e.typ) + ", where a list is wanted", remedy: "choose a list, or write one: [a, b]", at: -1})
	}
	item := cel.DynType
	if e.typ.Kind() == types.ListKind && len(e.typ.Parameters()) == 1 {
		item = e.typ.Parameters()[0]
	}
	return &template{[]segment{{expr: e}}}, item
}

// sleep compiles how long to wait.
func (c *compiler) sleep(sc *scope, path, written string) saga.Moment {
	if !holdsExpression(written) {
		d, err := time.ParseDuration(strings.TrimSpace(written))
		if err != nil || d < 0 {
			c.find(path, fault.CodeBadDuration, "write a number and a unit, such as 10m, or an expression: ${duration(input.wait)}", "%q is not a time span", written)
		}
		return pause(d)
	}
	e, at := c.single(sc, path, written, "${duration(input.wait)}")
	if e != nil && !is(e.typ, types.DurationKind) {
		c.fail(at, problem{text: "this is of type " + typeName(e.typ) + ", where a duration is wanted", remedy: "write duration(" + e.text + ")", at: -1})
	}
	return span{e}
}

// until compiles when to go on.
func (c *compiler) until(sc *scope, path, written string) saga.Moment {
	e, at := c.single(sc, path, written, "${timestamp(input.due)}")
	if e != nil && !is(e.typ, types.TimestampKind) {
		c.fail(at, problem{text: "this is of type " + typeName(e.typ) + ", where a timestamp is wanted", remedy: "write timestamp(" + e.text + ")", at: -1})
	}
	return until{e}
}
