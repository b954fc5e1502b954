package define

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga"
)

// call compiles a call, and holds it against the contract of the service.
func (c *compiler) call(sc *scope, path, written string, body manifest.JSON, headers map[string]string) *saga.Call {
	method, service, target, ok := manifest.ParseSagaCall(written)
	if !ok {
		c.find(path+".call", fault.CodeBadValue, "write METHOD service/path, such as POST stock/reservations", "%q is not a call", written)
		return &saga.Call{}
	}
	out := &saga.Call{Service: service, Method: method, Path: c.path(sc, path+".call", target)}
	op := c.reach(path+".call", method, service, target)
	want := schema{}
	if op != nil {
		want = op.request()
	}
	switch {
	case body != "":
		v := c.value(sc, path+".body", body)
		out.Body = v.template()
		c.fits(v, want, 0)
	case method == "POST" || method == "PUT" || method == "PATCH":
		out.Body = &template{[]segment{{expr: c.expression(sc, spot{path: path, text: "input"})}}}
		c.fitsType(path, "input", c.input, want, 0)
	}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		out.Headers = append(out.Headers, saga.Header{Name: name, Value: c.text(sc, path+".headers."+name, headers[name], textRules{header: true})})
	}
	return out
}

// path compiles the path of a call.
func (c *compiler) path(sc *scope, at, target string) saga.Text {
	for _, part := range splitOr(target) {
		if !part.expr && strings.ContainsAny(part.text, " \t\r\n#\\\"<>^`{|}") {
			c.find(at, fault.CodeBadPath, "escape it with %, or take it away", "the path of a call holds a character that cannot stand in one: %s", target)
			break
		}
	}
	return c.text(sc, at, target, textRules{path: true})
}

func splitOr(text string) []part {
	parts, err := split(text)
	if err != nil {
		return nil
	}
	return parts
}

// pathTemplate is the path of a call with {} for expressions, without its query.
func pathTemplate(target string) string {
	var b strings.Builder
	for _, p := range splitOr(target) {
		text, _, query := strings.Cut(p.text, "?")
		switch {
		case p.expr:
			b.WriteString("{}")
		default:
			b.WriteString(text)
			if query {
				return b.String()
			}
		}
	}
	return b.String()
}

// operation is what a contract says of a call; nil where none does.
func (c *compiler) operation(written string) *operation {
	method, service, target, ok := manifest.ParseSagaCall(written)
	contract := c.contract(service)
	if !ok || contract == nil {
		return nil
	}
	op, _, _ := contract.find(method, pathTemplate(target))
	return op
}

// contract is that of a service; nil where none speaks of paths.
func (c *compiler) contract(service string) *Contract {
	if c.o.Contract == nil {
		return nil
	}
	if contract := c.o.Contract(service); contract != nil && len(contract.paths) > 0 {
		return contract
	}
	return nil
}

// reach is operation, and says that the service knows no such call.
func (c *compiler) reach(path, method, service, target string) *operation {
	contract := c.contract(service)
	if contract == nil {
		return nil
	}
	op, why, remedy := contract.find(method, pathTemplate(target))
	if op == nil {
		c.find(path, fault.CodeSagaExpression, remedy, "%s", why)
	}
	return op
}

// pair is an object's type and the schema that it is held against. Each is looked at once in a value, since both may refer to
// themselves.
type pair struct {
	typ    string
	schema uintptr
}

// fits holds a value against the schema of where it goes, as far as can be told without running.
func (c *compiler) fits(v *value, want schema, depth int) {
	want, fields, ok := want.resolve()
	if !ok || v.broken || depth > maxReferences {
		return
	}
	if depth == 0 {
		c.held = map[pair]bool{}
	}
	names, null := kinds(fields)
	switch {
	case v.expr != nil:
		c.fitsType(v.path, v.expr.written(), v.expr.typ, want, depth)
	case v.object != nil:
		if c.ofKind(v.path, "this", "an object", want, names, "object") {
			c.members(v, want, fields, depth)
		}
	case v.list != nil:
		if c.ofKind(v.path, "this", "a list", want, names, "array") {
			for _, item := range v.list {
				c.fits(item, want.items(fields), depth+1)
			}
		}
	case v.text != nil:
		c.ofKind(v.path, "this", "a text", want, names, "string")
	case v.fixed == nil:
		if !null {
			c.ofKind(v.path, "this", "null", want, names, "null")
		}
	default:
		c.fitsFixed(v, want, names)
	}
}

func (c *compiler) fitsFixed(v *value, want schema, names []string) {
	switch fixed := v.fixed.(type) {
	case string:
		c.ofKind(v.path, "this", "a text", want, names, "string")
	case bool:
		c.ofKind(v.path, "this", "true or false", want, names, "boolean")
	case json.Number:
		n, _ := number([]byte(fixed))
		if _, whole := n.(int64); whole {
			c.ofKind(v.path, "this", "a whole number", want, names, "integer", "number")
		} else {
			c.ofKind(v.path, "this", "a number", want, names, "number")
		}
	}
}

// ofKind refuses a value of a kind that its place does not take.
func (c *compiler) ofKind(path, what, is string, want schema, wanted []string, kinds ...string) bool {
	if len(wanted) == 0 || slices.ContainsFunc(kinds, func(k string) bool { return slices.Contains(wanted, k) }) {
		return true
	}
	c.find(path, fault.CodeSagaExpression, "write what the schema asks for", "%s is %s, and %s is to be of type %s", what, is, want.name, strings.Join(wanted, " or "))
	return false
}

// members holds the members of an object against a schema.
func (c *compiler) members(v *value, want schema, fields map[string]any, depth int) {
	for _, name := range requires(fields) {
		if v.object[name] == nil {
			c.find(v.path, fault.CodeSagaExpression, "add it", "%s is wanted in %s", name, want.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v.object)) {
		p, known, allowed := want.property(fields, name)
		if !known && !allowed {
			properties, _ := fields["properties"].(map[string]any)
			c.find(v.object[name].path, fault.CodeSagaExpression, meant(name, slices.Sorted(maps.Keys(properties)), "there are"), "there is no %s in %s", name, want.name)
		}
		if known {
			c.fits(v.object[name], p, depth+1)
		}
	}
}

// fitsType holds what is known of a type against a schema. What it is the type of is said to users.
func (c *compiler) fitsType(path, what string, t *cel.Type, want schema, depth int) {
	want, fields, ok := want.resolve()
	if !ok || depth > maxReferences {
		return
	}
	if depth == 0 {
		c.held = map[pair]bool{}
	}
	names, _ := kinds(fields)
	is := "of type " + typeName(t)
	switch t.Kind() {
	case types.StringKind, types.TimestampKind, types.DurationKind, types.BytesKind:
		c.ofKind(path, what, is, want, names, "string")
	case types.IntKind, types.UintKind:
		c.ofKind(path, what, is, want, names, "integer", "number")
	case types.DoubleKind:
		c.ofKind(path, what, is, want, names, "number", "integer")
	case types.BoolKind:
		c.ofKind(path, what, is, want, names, "boolean")
	case types.ListKind:
		if c.ofKind(path, what, is, want, names, "array") && len(t.Parameters()) == 1 {
			c.fitsType(path, "an item of "+what, t.Parameters()[0], want.items(fields), depth+1)
		}
	case types.MapKind:
		c.ofKind(path, what, is, want, names, "object")
	case types.StructKind:
		if c.ofKind(path, what, is, want, names, "object") {
			c.structFits(path, what, t, want, fields, depth)
		}
	default:
	}
}

// structFits holds the members of a type against a schema.
func (c *compiler) structFits(path, what string, t *cel.Type, want schema, fields map[string]any, depth int) {
	s := c.types.structOf(t)
	both := pair{t.TypeName(), nodeOf(fields)}
	if s == nil || c.types.byNode[both.schema] == both.typ || c.held[both] {
		return
	}
	c.held[both] = true
	for _, name := range requires(fields) {
		if s.fields[name] == nil && !s.open {
			c.find(path, fault.CodeSagaExpression, "write the body member by member", "%s is wanted in %s, and %s has none", name, want.name, what)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.fields)) {
		p, known, allowed := want.property(fields, name)
		switch {
		case !known && !allowed && s.must[name]:
			c.find(path, fault.CodeSagaExpression, "write the body member by member", "%s has %s, and there is none in %s", what, name, want.name)
		case known:
			c.fitsType(path, memberOf(what, name), s.fields[name], p, depth+1)
		}
	}
}
