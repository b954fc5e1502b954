package manifest

import (
	"encoding/json"
	"reflect"
	"strconv"
)

// Schema returns the JSON Schema (draft 2020-12) of atoll.yaml, of service.yaml or of the file of a saga, for editors. It is made of the
// same tags that the decoder reads. What it accepts the decoder accepts, but for what only the whole
// application can tell.
func Schema(file string) []byte {
	top := reflect.TypeFor[App]()
	title := "atoll.yaml: an application"
	if file == ServiceFile {
		top, title = reflect.TypeFor[Service](), "service.yaml: one service of an application"
	}
	s := schemer{defs: map[string]any{}}
	if file == SagaFile {
		top, title = reflect.TypeFor[Saga](), "the file of a saga"
		s.literal = true
	}
	out := s.object(top, false)
	if file == ServiceFile {
		delete(out["properties"].(map[string]any), "dir")
	}
	out["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	out["title"] = title
	out["$defs"] = s.defs
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		panic("manifest: a schema of maps does not marshal: " + err.Error())
	}
	return append(text, '\n')
}

type object = map[string]any

// schemer makes schemas of types. Every struct type is one entry of defs, and a second one for overlays.
type schemer struct {
	defs    map[string]any
	literal bool // values hold no variables
}

// orVariable is a schema, or a text that holds a variable.
func (s schemer) orVariable(schema object) object {
	if s.literal {
		return schema
	}
	return object{"anyOf": []any{schema, object{"type": "string", "pattern": variable}}}
}

// variable matches a text that holds a variable, which stands for a value of any form.
const variable = `\$\{`

func (s schemer) object(t reflect.Type, partial bool) object {
	properties, required := object{}, []string{}
	for _, f := range fieldsOf(t) {
		p := s.field(f, partial)
		p["description"] = f.doc
		properties[f.key] = p
		if f.required && !partial {
			required = append(required, f.key)
		}
	}
	out := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		out["required"] = required
	}
	if keys := alternatives(t); len(keys) > 0 && !partial {
		one := make([]any, len(keys))
		for i, key := range keys {
			one[i] = object{"required": []string{key}}
		}
		out["oneOf"] = one
	}
	return out
}

// alternatives lists the keys of a type of which exactly one is written.
func alternatives(t reflect.Type) []string {
	switch t {
	case reflect.TypeFor[Route]():
		return []string{"to", "publish", "start"}
	case reflect.TypeFor[Auth]():
		return []string{"jwt", "apiKey"}
	case reflect.TypeFor[SagaStart]():
		return []string{"event", "cron"}
	case reflect.TypeFor[SagaStep]():
		return []string{"do", "child", "wait", "sleep", "until"}
	case reflect.TypeFor[Alert]():
		return []string{"metrics", "spans", "logs", "slo"}
	case reflect.TypeFor[Notify]():
		return []string{"webhook", "slack", "email"}
	}
	return nil
}

func (s schemer) field(f field, partial bool) object {
	out := s.schema(f.typ, partial, false)
	if len(f.enum) > 0 {
		out = s.orVariable(object{"enum": f.enum})
	}
	if f.def != "" {
		out["default"] = defaultValue(f)
	}
	return out
}

// defaultValue is a default as JSON has it.
func defaultValue(f field) any {
	t := f.typ
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if n, err := strconv.Atoi(f.def); err == nil && t.Kind() == reflect.Int {
		return n
	}
	if b, err := strconv.ParseBool(f.def); err == nil && t.Kind() == reflect.Bool {
		return b
	}
	return f.def
}

// words holds the patterns of the types that are one word of text.
func words(t reflect.Type) (pattern string, number bool) {
	switch t {
	case reflect.TypeFor[Duration]():
		return `^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*$|^[+-]?0$`, false
	case reflect.TypeFor[Size]():
		return sizePattern, true
	case reflect.TypeFor[Replicas]():
		return replicasPattern, true
	case reflect.TypeFor[Readiness]():
		return readinessPattern, false
	case reflect.TypeFor[Database]():
		return databasePattern, false
	case reflect.TypeFor[Limit]():
		return limitPattern, false
	case reflect.TypeFor[Percent]():
		return percentPattern, false
	}
	return "", false
}

func (s schemer) schema(t reflect.Type, partial, free bool) object {
	if pattern, number := words(t); pattern != "" {
		if !s.literal {
			pattern += "|" + variable
		}
		out := object{"type": "string", "pattern": pattern}
		if number {
			return object{"anyOf": []any{out, object{"type": "integer", "minimum": 0}}}
		}
		return out
	}
	if t == reflect.TypeFor[JSON]() {
		return object{}
	}
	if t == reflect.TypeFor[Threshold]() {
		return object{"anyOf": []any{object{"type": "string", "pattern": thresholdPattern + "|" + variable}, object{"type": "number"}}}
	}
	if t == reflect.TypeFor[Cron]() {
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		if isOptionalList(t) {
			return object{"anyOf": []any{object{"type": "null"}, s.schema(t.Elem(), partial, free)}}
		}
		return s.schema(t.Elem(), partial, free)
	case reflect.Struct:
		return s.structure(t, partial)
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.schema(t.Elem(), partial, true)}
	case reflect.Slice:
		item := s.schema(t.Elem(), partial, free)
		if t.Elem() == reflect.TypeFor[*Service]() {
			item = object{"anyOf": []any{object{"type": "string"}, item}}
		}
		list := object{"type": "array", "items": item}
		if isMapping(t.Elem()) || t.Elem().Kind() == reflect.Int {
			return object{"anyOf": []any{list, item}}
		}
		return object{"anyOf": []any{list, object{"allOf": []any{object{"type": "string"}, item}}}}
	default:
		return s.plain(t, free)
	}
}

// structure refers to the definition of a struct type, which it makes on the first occasion.
func (s schemer) structure(t reflect.Type, partial bool) object {
	name := t.Name()
	if t == reflect.TypeFor[Environment]() {
		partial = true
	}
	if partial {
		name += "Overlay"
	}
	if _, ok := s.defs[name]; !ok {
		s.defs[name] = nil // so that a type within itself ends
		s.defs[name] = s.object(t, partial)
	}
	ref := object{"$ref": "#/$defs/" + name}
	if shortForm(t) != "" {
		return object{"anyOf": []any{object{"type": "string"}, ref}}
	}
	return object{"allOf": []any{ref}}
}

// plain is the schema of text, a number or a truth value. The values of a map may be any scalar, as they
// are text in the end.
func (s schemer) plain(t reflect.Type, free bool) object {
	withVariable := func(kind string) object { return s.orVariable(object{"type": kind}) }
	switch t.Kind() {
	case reflect.Int:
		return withVariable("integer")
	case reflect.Float64:
		return withVariable("number")
	case reflect.Bool:
		return withVariable("boolean")
	default:
		if free {
			return object{"type": []any{"string", "number", "boolean"}}
		}
		return object{"type": "string"}
	}
}
