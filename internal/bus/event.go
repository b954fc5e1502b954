package bus

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/atollhq/atoll/internal/fault"
)

// The limits of one event.
const (
	MaxData       = 1 << 20                                       // bytes of data
	MaxAttribute  = 4 << 10                                       // bytes of one attribute
	MaxAttributes = 64                                            // extension attributes
	MaxEvent      = MaxData + (MaxAttributes+7)*(MaxAttribute+64) // bytes of all that
)

// Names of extension attributes that mean something here.
const (
	AttributeKey        = "partitionkey"   // ordering key: events of one key are delivered one after the other
	AttributeTrace      = "traceparent"    // W3C Trace Context
	AttributeTraceState = "tracestate"     // W3C Trace Context
	AttributeOnly       = "atollonly"      // Atoll's own: the one subscription that gets this event
	AttributeDeliverAt  = "atolldeliverat" // Atoll's own: when a delayed event is due, RFC 3339
	AttributePublisher  = "atollpublisher" // Atoll's own: the service that published
)

// Event is a CloudEvent (https://github.com/cloudevents/spec, version 1.0) on its way through a topic. It is never changed
// once it has been published.
type Event struct {
	Topic string // where it was published; no attribute of CloudEvents

	ID         string      // with Source it names the event: who takes it twice has taken the same event twice
	Source     string      // URI reference of where it happened, such as /services/orders
	Type       string      // what happened, such as order.placed
	Subject    string      // about what, such as an order's number; may be empty
	Time       time.Time   // when it happened; zero if nobody said
	DataType   string      // datacontenttype; may be empty
	DataSchema string      // URI of the data's schema; may be empty
	Extensions []Attribute // sorted by name, none twice
	Data       []byte
}

// Attribute is an extension attribute in its canonical text form.
type Attribute struct{ Name, Value string }

// NewID returns an id that no other event has.
func NewID() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("bus: the system has no random numbers: " + err.Error())
	}
	return hex.EncodeToString(b[:])
}

// Extension returns an extension attribute, or "".
func (e *Event) Extension(name string) string {
	for i := range e.Extensions {
		if e.Extensions[i].Name == name {
			return e.Extensions[i].Value
		}
	}
	return ""
}

// SetExtension sets an extension attribute; "" takes it away.
func (e *Event) SetExtension(name, value string) {
	at, found := slices.BinarySearchFunc(e.Extensions, name, func(a Attribute, name string) int { return strings.Compare(a.Name, name) })
	switch {
	case found && value == "":
		e.Extensions = slices.Delete(e.Extensions, at, at+1)
	case found:
		e.Extensions[at].Value = value
	case value != "":
		e.Extensions = slices.Insert(e.Extensions, at, Attribute{name, value})
	}
}

// Key is the ordering key, or "" for an event that has none.
func (e *Event) Key() string { return e.Extension(AttributeKey) }

// Size is about how many bytes the event takes.
func (e *Event) Size() int {
	n := len(e.Topic) + len(e.ID) + len(e.Source) + len(e.Type) + len(e.Subject) + len(e.DataType) + len(e.DataSchema) + len(e.Data) + 32
	for i := range e.Extensions {
		n += len(e.Extensions[i].Name) + len(e.Extensions[i].Value)
	}
	return n
}

// Clone is a copy that may be changed; it shares the data.
func (e *Event) Clone() *Event {
	out := *e
	out.Extensions = slices.Clone(e.Extensions)
	return &out
}

var attributeName = regexp.MustCompile(`^[a-z0-9]{1,40}$`)

// Validate tells what of the event is not as CloudEvents 1.0 wants it.
func (e *Event) Validate() error {
	for _, a := range []struct {
		name, value string
		required    bool
	}{
		{"id", e.ID, true},
		{"source", e.Source, true},
		{"type", e.Type, true},
		{"subject", e.Subject, false},
		{"datacontenttype", e.DataType, false},
		{"dataschema", e.DataSchema, false},
	} {
		if a.required && a.value == "" {
			return invalid("the attribute %s is missing", a.name)
		}
		if err := checkValue(a.name, a.value); err != nil {
			return err
		}
	}
	if isEnvelope(e.DataType) {
		return invalid("its datacontenttype is %.100s, which is the type of a whole event and not of an event's data", e.DataType).
			Fix("name the type that the data have, such as application/json, or application/octet-stream to pass an event on inside another")
	}
	if len(e.Extensions) > MaxAttributes {
		return invalid("there are %d extension attributes, at most %d are taken", len(e.Extensions), MaxAttributes)
	}
	for _, a := range e.Extensions {
		if !attributeName.MatchString(a.Name) {
			return invalid("%q is not a name for an attribute: lower-case letters and digits make one", a.Name)
		}
		if isCore(a.Name) {
			return invalid("%q belongs to CloudEvents itself, and is no name for an extension attribute", a.Name)
		}
		if err := checkValue(a.Name, a.Value); err != nil {
			return err
		}
	}
	if year := e.Time.UTC().Year(); year < 0 || year > 9999 {
		return invalid("its time is in the year %d, which RFC 3339 cannot write", year)
	}
	if len(e.Data) > MaxData {
		return fault.New(fault.CodeEventTooLarge, "the data has %d bytes, at most %d are taken", len(e.Data), MaxData).
			Fix("put what is large elsewhere, and its address into the event")
	}
	return nil
}

// isEnvelope tells whether a media type is one of events themselves. Whoever is delivered such data would read id and source
// from them, where their sender can write what he likes.
func isEnvelope(mediaType string) bool {
	const envelope = "application/cloudevents"
	mediaType = strings.TrimSpace(mediaType)
	return len(mediaType) >= len(envelope) && strings.EqualFold(mediaType[:len(envelope)], envelope)
}

// isCore tells whether a name belongs to an attribute of CloudEvents itself, or to the data in its JSON form.
func isCore(name string) bool {
	switch name {
	case "id", "source", "specversion", "type", "datacontenttype", "dataschema", "subject", "time", "data", "data_base64":
		return true
	}
	return false
}

// checkSize refuses an event that takes more bytes than a log has room for.
func checkSize(e *Event, room int) error {
	if size := e.Size(); size > room {
		return fault.New(fault.CodeEventTooLarge, "the event takes %d bytes with its attributes, and there is room for %d", size, room).
			Fix("put what is large elsewhere, and its address into the event; where events.nats names a cluster, its max_payload may be raised")
	}
	return nil
}

// checkValue refuses what the type String of CloudEvents excludes: control characters, surrogates, noncharacters.
func checkValue(name, value string) error {
	if len(value) > MaxAttribute {
		return invalid("the attribute %s has %d bytes, at most %d are taken", name, len(value), MaxAttribute)
	}
	if !utf8.ValidString(value) {
		return invalid("the attribute %s is not UTF-8", name)
	}
	for _, r := range value {
		if r < 0x20 || r >= 0x7f && r <= 0x9f || r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef {
			return invalid("the attribute %s holds the character %U, which CloudEvents excludes", name, r)
		}
	}
	return nil
}

// InBatch says which event of several a refusal is about, counted from 0, with its id where that is known.
func InBatch(i int, id string, err error) error {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err
	}
	if id != "" {
		id = fmt.Sprintf(" (id %.100s)", id)
	}
	out := *e
	out.Text = fmt.Sprintf("event %d%s: %s", i, id, e.Text)
	return &out
}

func invalid(format string, args ...any) *fault.Error {
	return fault.New(fault.CodeEventInvalid, "this is not a CloudEvent: %s", fmt.Sprintf(format, args...)).
		Fix("see https://github.com/cloudevents/spec, version 1.0")
}
