package natsbus

import (
	"fmt"
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
