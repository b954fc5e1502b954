package contract

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/fault"
)

// How much of what is wrong is told.
const (
	maxViolations = 5
	maxRule       = 200 // characters of each
)

var _ bus.Contract = (*Contracts)(nil)

// Has tells whether a topic has a contract.
func (c *Contracts) Has(topic string) bool { return c.schemas[topic] != nil }

// Check tells how an event breaks the contract of its topic; nil if it does not, or if there is none. Data without a
// datacontenttype counts as JSON, as in CloudEvents' JSON format.
func (c *Contracts) Check(e *bus.Event) error {
	schema := c.schemas[e.Topic]
	if schema == nil {
		return nil
	}
	broken := func(format string, args ...any) *fault.Error {
		return fault.New(fault.CodeEventContract, "the event breaks the contract of %s: %s", e.Topic, fmt.Sprintf(format, args...)).
			Fix("correct the data; the schema is named by publishes of the service that the topic belongs to")
	}
	if e.DataType != "" && !isJSON(e.DataType) {
		return broken("its data is %s, and the schema is for JSON", e.DataType).Fix("send the data as application/json")
	}
	if len(e.Data) == 0 {
		return broken("it has no data")
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(e.Data))
	if err != nil {
		return broken("its data is not JSON").Because(err)
	}
	switch err := schema.Validate(value).(type) { //nolint:errorlint // the validator returns these as they are
	case nil:
		return nil
	case *jsonschema.ValidationError:
		return broken("%s", strings.Join(violations(err), "; "))
	default:
		return fault.New(fault.CodeInternal, "the contract of %s cannot be checked", e.Topic).Because(err)
	}
}

// isJSON tells whether a media type declares JSON.
func isJSON(mediaType string) bool {
	mediaType, _, _ = strings.Cut(mediaType, ";")
	_, subtype, _ := strings.Cut(strings.ToLower(strings.TrimSpace(mediaType)), "/")
	return subtype == "json" || strings.HasSuffix(subtype, "+json")
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
		if len(e.Causes) > 0 {
			return
		}
		if len(told) == maxViolations {
			more++
			return
		}
		told = append(told, fmt.Sprintf("at %s: %s", pointer(e.InstanceLocation), short(e.ErrorKind.LocalizedString(printer))))
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
