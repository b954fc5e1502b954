package define

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// schema is a part of a document that is a JSON Schema. The zero value says nothing.
type schema struct {
	node any
	root any    // of the document, for references
	name string // what users call the value

	joins []uintptr // of a part of allOf: the schemas that it is joined to, so that one within itself ends
}

// maxReferences is how many references are followed from one to the next.
const maxReferences = 32

// resolve follows references within the document, and joins what allOf says. ok is false where nothing is known.
func (s schema) resolve() (out schema, fields map[string]any, ok bool) {
	for range maxReferences {
		fields, ok := s.node.(map[string]any)
		if !ok {
			return s, nil, false
		}
		to, isReference := fields["$ref"].(string)
		if !isReference {
			if all, ok := fields["allOf"].([]any); ok {
				return s.join(fields, all)
			}
			return s, fields, true
		}
		node, found := pointed(s.root, to)
		if !found {
			return s, nil, false
		}
		s.node = node
	}
	return s, nil, false
}

// join is a schema with what its allOf adds.
func (s schema) join(fields map[string]any, all []any) (schema, map[string]any, bool) {
	self := reflect.ValueOf(fields).Pointer()
	if slices.Contains(s.joins, self) {
		return s, nil, false
	}
	joins := append(slices.Clone(s.joins), self)
	out := map[string]any{}
	properties := map[string]any{}
	var required []any
	add := func(from map[string]any) {
		for key, v := range from {
			switch key {
			case "properties":
				own, _ := v.(map[string]any)
				maps.Copy(properties, own)
			case "required":
				names, _ := v.([]any)
				required = append(required, names...)
			case "allOf":
			default:
				out[key] = v
			}
		}
	}
	for _, one := range all {
		_, more, ok := schema{node: one, root: s.root, joins: joins}.resolve()
		if !ok {
			return s, nil, false
		}
		add(more)
	}
	add(fields)
	if len(properties) > 0 {
		out["properties"] = properties
	}
	if len(required) > 0 {
		out["required"] = required
	}
	s.node, s.joins = out, nil
	return s, out, true
}

// pointed is what a reference such as #/components/schemas/Invoice names.
func pointed(root any, to string) (any, bool) {
	path, ok := strings.CutPrefix(to, "#")
	if !ok {
		return nil, false
	}
	at := root
	for step := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if path == "" {
			break
		}
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch v := at.(type) {
		case map[string]any:
			if at, ok = v[step]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			at = v[i]
		default:
			return nil, false
		}
	}
	return at, true
}

// kinds lists the types of JSON that a schema allows, null left out; nil where any is.
func kinds(fields map[string]any) (names []string, null bool) {
	for _, key := range []string{"oneOf", "anyOf", "not", "if"} {
		if _, ok := fields[key]; ok {
			return nil, true
		}
	}
	switch t := fields["type"].(type) {
	case string:
		names = []string{t}
	case []any:
		for _, one := range t {
			names = append(names, fmt.Sprint(one))
		}
	default:
		if _, ok := fields["properties"].(map[string]any); ok {
			names = []string{"object"}
		}
	}
	if fields["nullable"] == true || slices.Contains(names, "null") {
		null = true
	}
	return slices.DeleteFunc(names, func(n string) bool { return n == "null" }), null || len(names) == 0
}

// property is the schema of a member of an object. known is false where the schema does not speak of it; allowed tells whether it
// may be there all the same.
func (s schema) property(fields map[string]any, name string) (p schema, known, allowed bool) {
	properties, _ := fields["properties"].(map[string]any)
	if node, ok := properties[name]; ok {
		return schema{node: node, root: s.root, name: memberOf(s.name, name)}, true, true
	}
	switch more := fields["additionalProperties"].(type) {
	case bool:
		return schema{}, false, more
	case map[string]any:
		return schema{node: more, root: s.root, name: memberOf(s.name, name)}, true, true
	}
	return schema{}, false, true
}

// memberOf is what users call a member of something: input.order, or order of the body of POST stock/reservations.
func memberOf(of, name string) string {
	if strings.Contains(of, " ") {
		return name + " of " + of
	}
	return of + "." + name
}

// items is the schema of the items of a list.
func (s schema) items(fields map[string]any) schema {
	return schema{node: fields["items"], root: s.root, name: "an item of " + s.name}
}

// requires lists the members that an object must have.
func requires(fields map[string]any) []string {
	var names []string
	list, _ := fields["required"].([]any)
	for _, one := range list {
		if name, ok := one.(string); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
