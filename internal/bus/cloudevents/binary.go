package cloudevents

import (
	"net/http"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/bus"
)

// decodeBinary reads the attributes of an event from headers; the body is its data (HTTP protocol binding, 3.1).
func decodeBinary(topic, publisher string, h http.Header, contentType string, body []byte, now time.Time) (*bus.Event, error) {
	e := &bus.Event{DataType: contentType, Extensions: make([]bus.Attribute, 0, 4)}
	if len(body) > 0 {
		e.Data = body
	}
	version := false
	for name, values := range h {
		if len(name) <= 3 || !strings.EqualFold(name[:3], "ce-") {
			continue
		}
		attribute := attributeOf(name)
		if len(values) != 1 {
			return nil, invalid("the attribute %s stands there %d times", attribute, len(values))
		}
		value, ok := unescape(values[0])
		if !ok {
			return nil, invalid("the header %s is not encoded as the HTTP binding says (3.1.3.2)", name)
		}
		if attribute == "specversion" {
			version = true
		}
		if err := setText(e, attribute, value); err != nil {
			return nil, err
		}
	}
	if !version {
		if err := fillIn(e, topic, publisher, h, now); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// attributeOf is the attribute of a header. Those that every event has come without an allocation.
func attributeOf(header string) string {
	switch header {
	case "Ce-Specversion":
		return "specversion"
	case "Ce-Id":
		return "id"
	case "Ce-Source":
		return "source"
	case "Ce-Type":
		return "type"
	case "Ce-Time":
		return "time"
	case "Ce-Subject":
		return "subject"
	case "Ce-Partitionkey":
		return bus.AttributeKey
	case "Ce-Traceparent":
		return bus.AttributeTrace
	}
	return strings.ToLower(header[3:])
}

// fillIn makes a CloudEvent of what is none yet.
func fillIn(e *bus.Event, topic, publisher string, h http.Header, now time.Time) error {
	if e.ID == "" {
		id, ok := unquote(first(h, "Idempotency-Key"))
		if !ok {
			return invalid("the header Idempotency-Key has a quote that is not closed")
		}
		e.ID = id
	}
	if e.ID == "" {
		e.ID = bus.NewID()
	}
	if e.Source == "" {
		e.Source = "/services/" + publisher
	}
	if e.Type == "" {
		e.Type = topic
	}
	if e.Time.IsZero() {
		e.Time = now.UTC()
	}
	return nil
}

// setText sets an attribute of binary mode from its canonical text.
func setText(e *bus.Event, name, value string) error {
	if value == "" {
		return invalid("the attribute %s is empty", name)
	}
	switch name {
	case "specversion":
		if value != specVersion {
			return unknownVersion(value)
		}
	case "datacontenttype":
		return invalid("the header ce-datacontenttype has no place beside Content-Type, which is that attribute")
	case "data":
		return invalid("data is the body, not a header")
	default:
		return set(e, name, value)
	}
	return nil
}

// set sets an attribute other than specversion from its canonical text.
func set(e *bus.Event, name, value string) error {
	switch name {
	case "id":
		e.ID = value
	case "source":
		e.Source = value
	case "type":
		e.Type = value
	case "subject":
		e.Subject = value
	case "datacontenttype":
		e.DataType = value
	case "dataschema":
		e.DataSchema = value
	case "time":
		t, err := time.Parse(time.RFC3339Nano, value)
		if t = t.UTC(); err != nil || t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
			return invalid("the time %q is not as RFC 3339 writes it", value)
		}
		e.Time = t
	default:
		if e.Extension(name) != "" {
			return invalid("the attribute %s stands there twice", name)
		}
		if len(e.Extensions) > bus.MaxAttributes {
			return nil // more than enough to be refused
		}
		e.SetExtension(name, value)
	}
	return nil
}

func unknownVersion(version string) error {
	return invalid("its specversion is %q", version).Fix("send version %s of CloudEvents", specVersion)
}

// Encode sets the headers of a delivery to an event's attributes: Content-Type, one ce- header for each attribute, and the
// trace context unless h has one. Attributes of Atoll's own are left out. The body is the event's data.
func Encode(h http.Header, e *bus.Event) {
	values := make([]string, 0, 10+len(e.Extensions))
	put := func(name, value string) {
		if value == "" {
			return
		}
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	delete(h, "Content-Type")
	put("Content-Type", e.DataType)
	put("Ce-Specversion", specVersion)
	put("Ce-Id", escape(e.ID))
	put("Ce-Source", escape(e.Source))
	put("Ce-Type", escape(e.Type))
	put("Ce-Subject", escape(e.Subject))
	put("Ce-Dataschema", escape(e.DataSchema))
	if !e.Time.IsZero() {
		put("Ce-Time", e.Time.UTC().Format(time.RFC3339Nano))
	}
	for _, a := range e.Extensions {
		if !strings.HasPrefix(a.Name, ownPrefix) && a.Name != "" {
			put(headerName(a.Name), escape(a.Value))
		}
	}
	if parent := e.Extension(bus.AttributeTrace); len(h["Traceparent"]) == 0 && isTraceParent(parent) {
		put("Traceparent", parent)
		if state := e.Extension(bus.AttributeTraceState); isPrintable(state) {
			put("Tracestate", state)
		}
	}
}

// headerName is the header of an attribute, as net/http writes names.
func headerName(attribute string) string {
	return "Ce-" + strings.ToUpper(attribute[:1]) + attribute[1:]
}

const upperHex = "0123456789ABCDEF"

// escape encodes spaces, double quotes, percent signs and all that is not printable ASCII as %XY (3.1.3.2).
func escape(s string) string {
	n := 0
	for i := range len(s) {
		if mustEscape(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	out := make([]byte, 0, len(s)+2*n)
	for i := range len(s) {
		if c := s[i]; mustEscape(c) {
			out = append(out, '%', upperHex[c>>4], upperHex[c&15])
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}

func mustEscape(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '%' }

// isPrintable tells whether a text can stand in a header as it is.
func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// unescape takes away double quotes with their backslashes, then decodes %XY once (3.1.3.2).
func unescape(s string) (string, bool) {
	s, ok := unquote(s)
	if !ok {
		return "", false
	}
	at := strings.IndexByte(s, '%')
	if at < 0 {
		return s, true
	}
	out := append(make([]byte, 0, len(s)), s[:at]...)
	for i := at; i < len(s); i++ {
		if s[i] != '%' {
			out = append(out, s[i])
			continue
		}
		if i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
			return "", false
		}
		out = append(out, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
		i += 2
	}
	return string(out), true
}

// unquote takes away double quotes, and within them the backslashes before other characters (RFC 7230, 3.2.6).
func unquote(s string) (string, bool) {
	at := strings.IndexByte(s, '"')
	if at < 0 {
		return s, true
	}
	out := append(make([]byte, 0, len(s)), s[:at]...)
	quoted := false
	for i := at; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted && s[i] == '\\' && i+1 < len(s):
			i++
			out = append(out, s[i])
		default:
			out = append(out, s[i])
		}
	}
	return string(out), !quoted
}
