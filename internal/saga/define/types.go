package define

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// catalog holds the types of objects that schemas describe, for the checker of expressions. What an expression is told about is
// there only while it is checked: values are maps.
type catalog struct {
	types.Provider
	structs map[string]*structType
	byNode  map[uintptr]string // names of the types made of maps of documents
	missed  []miss             // fields that were asked for in vain
}

// structType is an object whose members are known.
type structType struct {
	label  string // what users call such an object
	fields map[string]*cel.Type
	lazy   func() map[string]*cel.Type // makes fields on first use, since schemas may refer to themselves
	open   bool                        // others may be there
	must   map[string]bool             // members that are there for sure
}

type miss struct{ typ, field string }

func newCatalog(base types.Provider) *catalog {
	return &catalog{Provider: base, structs: map[string]*structType{}, byNode: map[uintptr]string{}}
}

// add names a type. Names begin with #, so that no expression can hold one.
func (c *catalog) add(s *structType) *cel.Type {
	name := "#" + s.label
	for c.structs[name] != nil {
		name += "'"
	}
	c.structs[name] = s
	return cel.ObjectType(name)
}

// structOf is the object that a type stands for, or nil.
func (c *catalog) structOf(t *cel.Type) *structType {
	if t == nil || t.Kind() != types.StructKind {
		return nil
	}
	s := c.structs[t.TypeName()]
	if s != nil && s.fields == nil && s.lazy != nil {
		s.fields = s.lazy()
	}
	return s
}

// FindStructType implements types.Provider.
func (c *catalog) FindStructType(name string) (*types.Type, bool) {
	if c.structs[name] != nil {
		return types.NewTypeTypeWithParam(cel.ObjectType(name)), true
	}
	return c.Provider.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (c *catalog) FindStructFieldNames(name string) ([]string, bool) {
	if s := c.structOf(cel.ObjectType(name)); s != nil {
		return slices.Sorted(maps.Keys(s.fields)), true
	}
	return c.Provider.FindStructFieldNames(name)
}

// FindStructFieldType implements types.Provider.
func (c *catalog) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	s := c.structOf(cel.ObjectType(name))
	if s == nil {
		return c.Provider.FindStructFieldType(name, field)
	}
	if t := s.fields[field]; t != nil {
		return &types.FieldType{Type: t}, true
	}
	if s.open {
		return &types.FieldType{Type: cel.DynType}, true
	}
	c.missed = append(c.missed, miss{name, field})
	return nil, false
}

// NewValue implements types.Provider: expressions make no objects of these types.
func (c *catalog) NewValue(name string, fields map[string]ref.Val) ref.Val {
	if c.structs[name] != nil {
		return types.NewErr("there is no constructor of %s", name)
	}
	return c.Provider.NewValue(name, fields)
}

// typeOf is the type of the values that a schema describes.
func (c *catalog) typeOf(s schema) *cel.Type {
	s, fields, ok := s.resolve()
	if !ok {
		return cel.DynType
	}
	names, null := kinds(fields)
	if len(names) != 1 {
		return cel.DynType
	}
	var t *cel.Type
	switch names[0] {
	case "string":
		t = cel.StringType
	case "integer":
		t = cel.IntType
	case "number":
		return cel.DynType // 5 is an int, and 5.5 a double
	case "boolean":
		t = cel.BoolType
	case "array":
		if null {
			return cel.DynType
		}
		return cel.ListType(c.typeOf(s.items(fields)))
	case "object":
		return c.objectType(s, fields, null)
	default:
		return cel.DynType
	}
	if null {
		return cel.NullableType(t)
	}
	return t
}

// objectType is a type with the members that a schema names, or a map where it names none. Members that it does not name are
// refused unless it says additionalProperties, though JSON Schema would let them pass: to read one is a mistake more often than not.
func (c *catalog) objectType(s schema, fields map[string]any, null bool) *cel.Type {
	properties, _ := fields["properties"].(map[string]any)
	more := fields["additionalProperties"]
	if len(properties) == 0 {
		if null {
			return cel.DynType
		}
		if _, ok := more.(map[string]any); ok {
			return cel.MapType(cel.StringType, c.typeOf(schema{node: more, root: s.root, name: "a member of " + s.name}))
		}
		return cel.MapType(cel.StringType, cel.DynType)
	}
	key := reflect.ValueOf(properties).Pointer()
	if name, ok := c.byNode[key]; ok {
		return cel.ObjectType(name)
	}
	must := map[string]bool{}
	for _, name := range requires(fields) {
		must[name] = true
	}
	_, isSchema := more.(map[string]any)
	t := &structType{label: s.name, open: more == true || isSchema, must: must}
	t.lazy = func() map[string]*cel.Type {
		out := map[string]*cel.Type{}
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			p, _, _ := s.property(fields, name)
			out[name] = c.typeOf(p)
		}
		return out
	}
	typ := c.add(t)
	c.byNode[key] = typ.TypeName()
	return typ
}

// label is what users call a type.
func label(t string) string {
	return strings.Trim(strings.TrimPrefix(t, "#"), "'")
}
