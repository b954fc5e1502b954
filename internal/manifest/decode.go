package manifest

import (
	"encoding"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/fault"
)

// field is one key of a manifest type, as its tags describe it.
type field struct {
	index    int
	key      string
	doc      string
	enum     []string
	def      string // the default, as a manifest would write it
	required bool
	free     bool // the value of a free name in a map: any scalar is text there
	typ      reflect.Type
}

// fieldsOf lists the keys of a struct type, in order.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("key")
		if key == "" || key == "-" {
			continue
		}
		var enum []string
		if e := f.Tag.Get("enum"); e != "" {
			enum = strings.Split(e, ",")
		}
		fields = append(fields, field{
			index: i, key: key, doc: f.Tag.Get("doc"), enum: enum, def: f.Tag.Get("default"),
			required: f.Tag.Get("required") == "true", typ: f.Type,
		})
	}
	return fields
}

// decoder fills values of this package's types from nodes. It says every fault and goes on.
type decoder struct {
	*reader
	vars    *variables
	partial bool // an overlay: nothing is required and no default filled in
	literal bool // texts stay as they are written: what ${…} holds is not a variable
}

// short is a struct that may also be written as one word of text, such as an entry of calls. Its UnmarshalText sets the
// field that the text stands for; the others have their defaults by then.
type short interface {
	encoding.TextUnmarshaler
	shortForm() string // what the text is, for users
}

// shortForm is what the text of a type is that is also written as a mapping, or "".
func shortForm(t reflect.Type) string {
	if s, ok := reflect.TypeAssert[short](reflect.New(t)); ok {
		return s.shortForm()
	}
	return ""
}

// isText tells whether a type is written as one word of text.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// decode fills v, which can be set, from n. The field describes v.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, f field) {
	t := v.Type()
	switch {
	case isOptionalList(t) && n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		d.decode(n, v.Elem(), f)
	case t == reflect.TypeFor[JSON]():
		d.json(n, v, f)
	case isText(t) && (n.Kind != yaml.MappingNode || shortForm(t) == ""):
		d.text(n, v, f)
	case t.Kind() == reflect.Struct:
		d.structure(n, v, f)
	case t.Kind() == reflect.Map:
		d.mapping(n, v, f)
	case t.Kind() == reflect.Slice:
		d.list(n, v, f)
	default:
		d.scalar(n, v, f)
	}
}

// isOptionalList tells whether a type is a list that may be left away, which is not the same as an empty one.
func isOptionalList(t reflect.Type) bool {
	return t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Slice
}

// wrongType says that a node is not of the kind that its key wants.
func (d *decoder) wrongType(n *yaml.Node, f field, want string) {
	e := d.fault(n, fault.CodeWrongType, "%s wants %s, this is %s", f.key, want, kindOf(n)).
		Fix("write %s", example(f))
	d.add(e)
}

// text fills a type that reads itself from text.
func (d *decoder) text(n *yaml.Node, v reflect.Value, f field) {
	isShort := shortForm(v.Type()) != ""
	if isShort {
		d.fill(v)
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" || isShort && n.ShortTag() != "!!str" {
		d.wrongType(n, f, wanted(v.Type()))
		return
	}
	text, ok := d.expand(n, f)
	if !ok {
		return
	}
	err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	if e, ok := errors.AsType[*fault.Error](err); ok {
		d.add(e.At(d.position(n)))
	}
}

// structure fills a struct from a mapping: unknown and doubled keys are refused, defaults filled in.
func (d *decoder) structure(n *yaml.Node, v reflect.Value, f field) {
	d.fill(v)
	if n.Kind != yaml.MappingNode {
		d.wrongType(n, f, wanted(v.Type()))
		return
	}
	fields := fieldsOf(v.Type())
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		at := indexOf(fields, key.Value)
		switch {
		case at < 0:
			d.unknownKey(key, fields)
		case seen[key.Value]:
			d.add(d.fault(key, fault.CodeDuplicateKey, "%s stands here a second time", key.Value).
				Fix("keep one of the two"))
		default:
			d.decodeField(val, v.Field(fields[at].index), fields[at])
		}
		seen[key.Value] = true
	}
	for _, f := range fields {
		if f.required && !d.partial && !seen[f.key] {
			d.add(d.fault(n, fault.CodeMissingKey, "the key %s is missing here", f.key).
				Fix("add a line \"%s: %s\"", f.key, example(f)))
		}
	}
}

// decodeField fills one field. Services and environments are the loader's, which knows of files and overlays.
func (d *decoder) decodeField(n *yaml.Node, v reflect.Value, f field) {
	switch v.Type() {
	case reflect.TypeFor[[]*Service](), reflect.TypeFor[map[string]Environment]():
		return
	}
	d.decode(n, v, f)
	if len(f.enum) > 0 && n.Kind == yaml.ScalarNode && !slices.Contains(f.enum, v.String()) {
		e := d.fault(n, fault.CodeBadValue, "%s cannot be %q", f.key, v.String()).
			Fix("write one of %s", strings.Join(f.enum, ", "))
		if near := nearest(v.String(), f.enum); near != "" {
			e = e.Fix("did you mean %s? It is one of %s", near, strings.Join(f.enum, ", "))
		}
		d.add(e)
	}
}

func indexOf(fields []field, key string) int {
	for i, f := range fields {
		if f.key == key {
			return i
		}
	}
	return -1
}

func (d *decoder) unknownKey(key *yaml.Node, fields []field) {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.key
	}
	e := d.fault(key, fault.CodeUnknownKey, "there is no key %q here", key.Value)
	if near := nearest(key.Value, names); near != "" {
		e = e.Fix("did you mean %q?", near)
	} else {
		e = e.Fix("the keys here are %s", strings.Join(names, ", "))
	}
	d.add(e)
}

// fill sets the defaults of a struct.
func (d *decoder) fill(v reflect.Value) {
	if d.partial {
		return
	}
	for _, f := range fieldsOf(v.Type()) {
		if f.def != "" {
			setDefault(v.Field(f.index), f)
		} else if f.typ.Kind() == reflect.Struct {
			d.fill(v.Field(f.index))
		}
	}
}

// setDefault sets a field from its tag, whose text is of a form that the type reads.
func setDefault(v reflect.Value, f field) {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if isText(v.Type()) {
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(f.def)); err != nil {
			panic("manifest: the default of " + f.key + " does not parse: " + err.Error())
		}
		return
	}
	if !setScalar(v, f.def) {
		panic("manifest: the default of " + f.key + " does not parse")
	}
}

// setScalar sets a string, number or truth value from its text.
func setScalar(v reflect.Value, text string) bool {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int:
		i, err := strconv.ParseInt(text, 0, 64)
		if err != nil {
			return false
		}
		v.SetInt(i)
	case reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return false
		}
		v.SetFloat(x)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return false
		}
		v.SetBool(b)
	default:
		panic("manifest: no scalar is a " + v.Kind().String())
	}
	return true
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, f field) {
	if n.Kind != yaml.MappingNode {
		d.wrongType(n, f, wanted(v.Type()))
		return
	}
	out := reflect.MakeMap(v.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		name := reflect.ValueOf(key.Value)
		if out.MapIndex(name).IsValid() {
			d.add(d.fault(key, fault.CodeDuplicateKey, "%s stands here a second time", key.Value).
				Fix("keep one of the two"))
			continue
		}
		item := reflect.New(v.Type().Elem()).Elem()
		d.decode(val, item, field{key: f.key + "." + key.Value, free: true, typ: item.Type()})
		out.SetMapIndex(name, item)
	}
	v.Set(out)
}

// list fills a slice; a list of one may be written as its item.
func (d *decoder) list(n *yaml.Node, v reflect.Value, f field) {
	items := n.Content
	if n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" || n.Kind == yaml.MappingNode && isMapping(v.Type().Elem()) {
		items = []*yaml.Node{n}
	} else if n.Kind != yaml.SequenceNode {
		d.wrongType(n, f, wanted(v.Type()))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		d.decode(item, out.Index(i), field{key: f.key, typ: out.Index(i).Type()})
		if at := out.Index(i).Addr().Interface(); item.Kind == yaml.MappingNode {
			if route, ok := at.(*Route); ok {
				route.At, _ = d.position(item)
			}
		}
	}
	v.Set(out)
}

// isMapping tells whether a type is written as a mapping, if perhaps in a short form too.
func isMapping(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && (!isText(t) || shortForm(t) != "")
}

// scalar fills text, a number or a truth value.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, f field) {
	tag := n.ShortTag()
	fits := n.Kind == yaml.ScalarNode && tag != "!!null"
	switch v.Kind() {
	case reflect.String:
		fits = fits && (tag == "!!str" || f.free)
	case reflect.Int:
		fits = fits && (tag == "!!int" || d.hasVariable(n.Value))
	case reflect.Float64:
		fits = fits && (tag == "!!int" || tag == "!!float" || d.hasVariable(n.Value))
	case reflect.Bool:
		fits = fits && (tag == "!!bool" || d.hasVariable(n.Value))
	default:
		panic("manifest: no scalar is a " + v.Kind().String())
	}
	if !fits {
		d.wrongType(n, f, wanted(v.Type()))
		return
	}
	if text, ok := d.expand(n, f); ok && !setScalar(v, text) {
		d.wrongType(n, f, wanted(v.Type()))
	}
}

// wanted describes, for users, what a type is written as.
func wanted(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Duration]():
		return "a time span"
	case t == reflect.TypeFor[Size]():
		return "a size"
	case t == reflect.TypeFor[JSON]():
		return "any value"
	case t == reflect.TypeFor[Percent]():
		return "a share"
	case t == reflect.TypeFor[Threshold]():
		return "a number, a share or a time span"
	case shortForm(t) != "":
		return shortForm(t) + " or a mapping"
	case isText(t):
		return "one word of text"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Struct, reflect.Map:
		return "a mapping"
	case reflect.Slice:
		return "a list"
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	default:
		return "text"
	}
}

// example is a value that a key could have.
func example(f field) string {
	t := f.typ
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case len(f.enum) > 0:
		return f.enum[0]
	case f.def != "":
		return f.def
	case t == reflect.TypeFor[Size]():
		return "10MB"
	case t == reflect.TypeFor[Limit]():
		return "50/s per address"
	case t == reflect.TypeFor[Database]():
		return "sqlite"
	case t == reflect.TypeFor[Percent]():
		return "99.9%"
	case t == reflect.TypeFor[Threshold]():
		return "0.05"
	case t == reflect.TypeFor[Cron]():
		return "'0 7 * * mon-fri'"
	case shortForm(t) != "":
		return shortForm(t)
	}
	switch t.Kind() {
	case reflect.Slice:
		return "[" + strings.Trim(example(field{key: f.key, typ: t.Elem()}), "[]") + "]"
	case reflect.Map, reflect.Struct:
		return "key: value lines below it, indented"
	case reflect.Int:
		return "1"
	case reflect.Float64:
		return "0.5"
	case reflect.Bool:
		return "true"
	default:
		return "text"
	}
}
