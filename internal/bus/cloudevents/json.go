package cloudevents

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/fault"
)

// Marshal writes an event in the JSON event format, all of its attributes in it. The topic is not part of it.
func Marshal(e *bus.Event) []byte {
	out := make([]byte, 0, 256+e.Size())
	out = append(out, `{"specversion":"1.0"`...)
	member := func(name, value string) {
		if value != "" {
			out = append(out, ',', '"')
			out = append(out, name...)
			out = append(out, '"', ':')
			out = appendText(out, value)
		}
	}
	member("id", e.ID)
	member("source", e.Source)
	member("type", e.Type)
	member("subject", e.Subject)
	if !e.Time.IsZero() {
		member("time", e.Time.UTC().Format(time.RFC3339Nano))
	}
	member("datacontenttype", e.DataType)
	member("dataschema", e.DataSchema)
	for _, a := range e.Extensions {
		member(a.Name, a.Value)
	}
	switch {
	case len(e.Data) == 0:
	case isJSON(e.DataType) && json.Valid(e.Data) && utf8.Valid(e.Data):
		out = append(out, `,"data":`...)
		out = append(out, e.Data...)
	case isText(e.DataType) && utf8.Valid(e.Data):
		out = append(out, `,"data":`...)
		out = appendText(out, string(e.Data))
	default:
		out = append(out, `,"data_base64":"`...)
		out = base64.StdEncoding.AppendEncode(out, e.Data)
		out = append(out, '"')
	}
	return append(out, '}')
}

// appendText appends a JSON string (RFC 8259, 7).
func appendText(out []byte, s string) []byte {
	out = append(out, '"')
	for _, r := range s {
		switch {
		case r == '"', r == '\\':
			out = append(out, '\\', byte(r))
		case r < 0x20:
			out = append(out, '\\', 'u', '0', '0', upperHex[r>>4], upperHex[r&15])
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	return append(out, '"')
}

// Unmarshal reads an event in the JSON event format. Its topic is not part of it. The event may share memory with text.
func Unmarshal(text []byte) (*bus.Event, error) {
	e, err := unmarshal(text)
	if err != nil {
		return nil, err
	}
	if err := check(e); err != nil {
		return nil, err
	}
	return e, nil
}

func unmarshal(text []byte) (*bus.Event, error) {
	s, err := newScanner(text)
	if err != nil {
		return nil, err
	}
	return s.event()
}

func unmarshalBatch(text []byte) ([]*bus.Event, error) {
	s, err := newScanner(text)
	if err != nil {
		return nil, err
	}
	if !s.open('[') {
		return nil, notJSON("a batch is an array")
	}
	events := []*bus.Event{}
	for s.more() {
		if len(events) == MaxBatch {
			return nil, fault.New(fault.CodeEventTooLarge, "the batch has more than %d events", MaxBatch).Fix("send several smaller ones")
		}
		e, err := s.event()
		if err != nil {
			return nil, bus.InBatch(len(events), idOf(e), err)
		}
		events = append(events, e)
	}
	return events, nil
}

// payload is what the members data and data_base64 of an event hold.
type payload struct{ data, base64 json.RawMessage }

// idOf is the id of an event, as far as that has been read.
func idOf(e *bus.Event) string {
	if e == nil {
		return ""
	}
	return e.ID
}

// event reads an event. With an error it returns what had been read before, or nil.
func (s *scanner) event() (*bus.Event, error) {
	if !s.open('{') {
		return nil, notJSON("an event is an object")
	}
	e, p := &bus.Event{Extensions: make([]bus.Attribute, 0, 4)}, payload{}
	seen := map[string]bool{}
	for s.more() {
		name := plain(s.value())
		if seen[name] {
			return e, invalid("the attribute %s stands there twice", name)
		}
		seen[name] = true
		if err := setJSON(e, &p, name, s.value()); err != nil {
			return e, err
		}
	}
	if !seen["specversion"] {
		return e, invalid("the attribute specversion is missing")
	}
	return e, p.decode(e)
}

// setJSON sets an attribute from its JSON value (JSON event format, 2.2).
func setJSON(e *bus.Event, p *payload, name string, value json.RawMessage) error {
	switch name {
	case "data":
		p.data = value
		return nil
	case "data_base64":
		p.base64 = value
		return nil
	}
	text, null, ok := canonical(value)
	switch {
	case !ok:
		return invalid("the attribute %s is neither text, nor true or false, nor a whole number of 32 bits", name)
	case null && name == "specversion":
		return invalid("the attribute specversion is missing")
	case null:
		return nil // null is as good as nothing
	case isCore(name) && value[0] != '"':
		return invalid("the attribute %s is not text", name)
	case text == "":
		return invalid("the attribute %s is empty", name)
	case name == "specversion" && text != specVersion:
		return unknownVersion(text)
	case name == "specversion":
		return nil
	}
	return set(e, name, text)
}

// canonical is the canonical text of a value of one of CloudEvents' types; null is told apart from text.
func canonical(value json.RawMessage) (text string, null, ok bool) {
	switch value[0] {
	case 'n':
		return "", true, true
	case 't', 'f':
		return string(value), false, true
	case '"':
		return plain(value), false, true
	case '{', '[':
		return "", false, false
	}
	n, err := strconv.ParseInt(string(value), 10, 32)
	return strconv.FormatInt(n, 10), false, err == nil
}

// decode sets an event's data (JSON event format, 3.1.2).
func (p payload) decode(e *bus.Event) error {
	switch {
	case p.data != nil && p.base64 != nil:
		return invalid("it has both data and data_base64")
	case p.base64 != nil && p.base64[0] != 'n':
		if p.base64[0] != '"' {
			return invalid("data_base64 is not text")
		}
		data, err := base64.StdEncoding.DecodeString(plain(p.base64))
		if err != nil {
			return invalid("data_base64 is not Base64")
		}
		e.Data = data
	case p.data != nil && (e.DataType == "" || isJSON(e.DataType)):
		if e.DataType == "" {
			e.DataType = typeJSON
		}
		e.Data = p.data
	case p.data != nil:
		if p.data[0] != '"' {
			return invalid("data is not text, as the datacontenttype %s wants", e.DataType)
		}
		if _, params, _ := strings.Cut(e.DataType, ";"); !charsetIsUTF8(params) {
			return invalid("data of the type %s cannot stand in JSON as text", e.DataType).Fix("send it as data_base64")
		}
		e.Data = []byte(plain(p.data))
	}
	if len(e.Data) == 0 {
		e.Data = nil
	}
	return nil
}

func notJSON(format string, args ...any) *fault.Error {
	return invalid("its JSON is broken: "+format, args...)
}
