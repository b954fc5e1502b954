package natsbus

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/atollhq/atoll/internal/bus"
)

// The header fields of the CloudEvents binding for NATS (https://github.com/cloudevents/spec, NATS protocol binding, 3.1).
const (
	fieldID         = "ce-id"
	fieldSource     = "ce-source"
	fieldType       = "ce-type"
	fieldSubject    = "ce-subject"
	fieldTime       = "ce-time"
	fieldDataSchema = "ce-dataschema"
	fieldVersion    = "ce-specversion"
	fieldDataType   = "content-type"
	fieldPrefix     = "ce-"
	specVersion     = "1.0"
)

// header is an event's attributes as fields of a message.
func header(e *bus.Event) nats.Header {
	h := make(nats.Header, 8+len(e.Extensions))
	set := func(name, value string) {
		if value != "" {
			h[name] = []string{escape(value)}
		}
	}
	set(fieldVersion, specVersion)
	set(fieldID, e.ID)
	set(fieldSource, e.Source)
	set(fieldType, e.Type)
	set(fieldSubject, e.Subject)
	set(fieldDataSchema, e.DataSchema)
	set(fieldDataType, e.DataType)
	if !e.Time.IsZero() {
		set(fieldTime, e.Time.Format(time.RFC3339Nano))
	}
	for _, a := range e.Extensions {
		set(fieldPrefix+a.Name, a.Value)
	}
	return h
}

// event is the event of a message; topic is where it was published.
func event(topic string, h nats.Header, data []byte) (*bus.Event, error) {
	e := &bus.Event{Topic: topic, Data: data}
	for name, values := range h {
		if len(values) == 0 {
			continue
		}
		value := unescape(values[0])
		switch lower := strings.ToLower(name); lower {
		case fieldID:
			e.ID = value
		case fieldSource:
			e.Source = value
		case fieldType:
			e.Type = value
		case fieldSubject:
			e.Subject = value
		case fieldDataSchema:
			e.DataSchema = value
		case fieldDataType:
			e.DataType = value
		case fieldVersion:
			if value != specVersion {
				return nil, fmt.Errorf("read event: its specversion is %q", value)
			}
		case fieldTime:
			t, err := time.Parse(time.RFC3339Nano, value)
			if err != nil {
				return nil, fmt.Errorf("read event: %w", err)
			}
			e.Time = t
		default:
			if ext, ok := strings.CutPrefix(lower, fieldPrefix); ok {
				e.SetExtension(ext, value)
			}
		}
	}
	return e, nil
}

// plain tells whether a character stands for itself in a field: visible ASCII without the two that the binding escapes.
func plain(c byte) bool { return c > 0x20 && c < 0x7f && c != '%' && c != '"' }

// escape writes a value as the binding wants it: what is not plain as the hexadecimal digits of its UTF-8 bytes.
func escape(s string) string {
	at := 0
	for at < len(s) && plain(s[at]) {
		at++
	}
	if at == len(s) {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:at])
	for ; at < len(s); at++ {
		if c := s[at]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// unescape reads what escape has written; what is no escape stands for itself.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
