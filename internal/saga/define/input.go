package define

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"cel.dev/cel-go/cel"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/atollhq/atoll/internal/fault"
)

// How much of what is wrong with an input is told.
const (
	maxViolations = 5
	maxRule       = 200 // characters of each
)

// parseSchema reads a JSON Schema; one that cannot be read says nothing.
func parseSchema(text []byte, name string) schema {
	var node any
	if len(text) == 0 || json.Unmarshal(text, &node) != nil {
		return schema{}
	}
	return schema{node: node, root: node, name: name}
}

// nodeOf is what byNode knows an object of a document by.
func nodeOf(fields map[string]any) uintptr {
	properties, _ := fields["properties"].(map[string]any)
	return reflect.ValueOf(properties).Pointer()
}

// compileInput makes the checker and the type of the input.
func (c *compiler) compileInput() {
	c.input = cel.DynType
	if c.saga.Input == "" {
		return
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(c.saga.Input)))
	if err != nil {
		c.find("input", fault.CodeContractInvalid, "write one, such as {type: object}", "this is no JSON Schema")
		return
	}
	const address = "input.json"
	j := jsonschema.NewCompiler()
	j.UseLoader(noLoader{})
	if err := j.AddResource(address, doc); err != nil {
		c.find("input", fault.CodeContractInvalid, "correct its $id", "this is no JSON Schema")
		return
	}
	compiled, err := j.Compile(address)
	if err != nil {
		why := "it cannot be compiled"
		if wrong, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
			if v, ok := errors.AsType[*jsonschema.ValidationError](wrong.Err); ok {
				why = strings.Join(violations(v), "; ")
			}
		}
		c.find("input", fault.CodeContractInvalid, "correct it; a schema of input refers to itself alone", "this is no JSON Schema: %s", why)
		return
	}
	c.plan.Input = &checker{c.saga.Name, compiled}
	c.input = c.types.typeOf(parseSchema([]byte(c.saga.Input), "input"))
}

// noLoader fetches nothing.
type noLoader struct{}

// Load implements jsonschema.URLLoader.
func (noLoader) Load(string) (any, error) {
	return nil, errors.New("a schema of input refers to itself alone")
}

// checker checks inputs against a schema.
type checker struct {
	name   string
	schema *jsonschema.Schema
}

// Check implements saga.Checker.
func (k *checker) Check(input json.RawMessage) error {
	bad := func(format string, args ...any) *fault.Error {
		return fault.New(fault.CodeSagaInput, "the input is not as %s wants it: %s", k.name, fmt.Sprintf(format, args...)).
			Fix("correct it; the schema stands in the file of the saga, under input")
	}
	if len(input) == 0 {
		input = json.RawMessage("null")
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(input))
	if err != nil {
		return bad("it is not JSON").Because(err)
	}
	switch err := k.schema.Validate(value).(type) { //nolint:errorlint // the validator returns these as they are
	case nil:
		return nil
	case *jsonschema.ValidationError:
		return bad("%s", strings.Join(violations(err), "; "))
	default:
		return fault.New(fault.CodeInternal, "the input of %s cannot be checked", k.name).Because(err)
	}
}

// violations tells the first rules that are broken, each with its place.
func violations(err *jsonschema.ValidationError) []string {
	var told []string
	more := 0
	printer := message.NewPrinter(language.English)
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		for _, cause := range e.Causes {
			walk(cause)
		}
		switch {
		case len(e.Causes) > 0:
		case len(told) == maxViolations:
			more++
		default:
			told = append(told, fmt.Sprintf("at %s: %s", pointer(e.InstanceLocation), short(e.ErrorKind.LocalizedString(printer))))
		}
	}
	walk(err)
	if more > 0 {
		told = append(told, fmt.Sprintf("and %d more", more))
	}
	return told
}

// pointer is a place in a document (RFC 6901), the top of it as a word.
func pointer(path []string) string {
	if len(path) == 0 {
		return "the top"
	}
	var b strings.Builder
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	for _, step := range path {
		b.WriteByte('/')
		b.WriteString(escape.Replace(step))
	}
	return short(b.String())
}

func short(text string) string {
	if runes := []rune(text); len(runes) > maxRule {
		return string(runes[:maxRule]) + "…"
	}
	return text
}

// sentence is what a fault says, without its code.
func sentence(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Text
	}
	return err.Error()
}

// eventType is the type of an event of a topic.
func (c *compiler) eventType(topic string) *cel.Type {
	return c.types.add(&structType{label: "event", fields: map[string]*cel.Type{
		"id": cel.StringType, "source": cel.StringType, "type": cel.StringType, "subject": cel.StringType, "time": cel.StringType, "data": c.eventData(topic),
	}})
}

// eventData is the type of the data of a topic's events.
func (c *compiler) eventData(topic string) *cel.Type {
	if c.o.Topic == nil {
		return cel.DynType
	}
	return c.types.typeOf(parseSchema(c.o.Topic(topic), "the data of "+topic))
}
