package cloudevents

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/fault"
)

const (
	// MaxBody is the largest body of a request that publishes: a batch, or one event as JSON with its data in Base64.
	MaxBody = 8 << 20
	// MaxBatch is the largest number of events in one batch.
	MaxBatch = bus.MaxAppend
	// MaxDelay is how far ahead an event can be due.
	MaxDelay = 366 * 24 * time.Hour
	// HeaderDeliverAt says when an event is delivered at the earliest.
	HeaderDeliverAt = "Atoll-Deliver-At"

	specVersion = "1.0"
	ownPrefix   = "atoll" // of the names of Atoll's own attributes

	typeStructured = "application/cloudevents"
	typeBatch      = "application/cloudevents-batch"
	typeJSON       = "application/json"
)

// Decode makes events of a request that publishes to a topic.
//
// In binary and structured mode it returns one event, in batched mode any number. A request without ce-specversion is no
// CloudEvent yet: what is missing is filled in, the id from Idempotency-Key or a new one, the source from the publisher, the
// type from the topic, the time from now. The trace context and Atoll-Deliver-At of the request go to each event that has
// none. The events may share memory with body.
func Decode(topic, publisher string, h http.Header, body []byte, now time.Time) ([]*bus.Event, error) {
	if len(body) > MaxBody {
		return nil, fault.New(fault.CodeEventTooLarge, "the request has %d bytes, at most %d are taken", len(body), MaxBody).
			Fix("send fewer events in a batch, and what is large as an address of where it can be had")
	}
	due, err := deliverAt(h, now)
	if err != nil {
		return nil, err
	}
	events, err := decode(topic, publisher, h, body, now)
	if err != nil {
		return nil, err
	}
	parent, state := traceContext(h)
	for i, e := range events {
		if err := complete(e, topic, due, parent, state); err != nil {
			if len(events) > 1 {
				return nil, bus.InBatch(i, e.ID, err)
			}
			return nil, err
		}
	}
	return events, nil
}

// decode reads the body in the content mode that the Content-Type tells.
func decode(topic, publisher string, h http.Header, body []byte, now time.Time) ([]*bus.Event, error) {
	contentType := first(h, "Content-Type")
	mediaType, params, _ := strings.Cut(contentType, ";")
	mediaType = strings.TrimSpace(mediaType)
	mode, format, _ := strings.Cut(mediaType, "+")
	batch := strings.EqualFold(mode, typeBatch)
	if !batch && !strings.EqualFold(mode, typeStructured) {
		e, err := decodeBinary(topic, publisher, h, contentType, body, now)
		return []*bus.Event{e}, err
	}
	if !strings.EqualFold(format, "json") {
		return nil, invalid("the event format %s is not known here", mediaType).
			Fix("send application/cloudevents+json, application/cloudevents-batch+json, or the attributes as ce- headers")
	}
	if !charsetIsUTF8(params) {
		return nil, invalid("JSON is UTF-8, and the Content-Type says %q", strings.TrimSpace(params))
	}
	if batch {
		return unmarshalBatch(body)
	}
	e, err := unmarshal(body)
	return []*bus.Event{e}, err
}

// complete adds what the request says about all of its events, and checks each.
func complete(e *bus.Event, topic, due, parent, state string) error {
	for _, a := range e.Extensions {
		if strings.HasPrefix(a.Name, ownPrefix) {
			return fault.New(fault.CodeEventReserved, "the attribute %s is set by Atoll alone", a.Name).
				Fix("take it away, or give it a name that does not begin with %s", ownPrefix)
		}
	}
	e.Topic = topic
	if due != "" {
		e.SetExtension(bus.AttributeDeliverAt, due)
	}
	if parent != "" && e.Extension(bus.AttributeTrace) == "" {
		e.SetExtension(bus.AttributeTrace, parent)
		e.SetExtension(bus.AttributeTraceState, state)
	}
	return check(e)
}

// check tells what of an event is not as CloudEvents wants it, beyond what the bus itself looks at.
func check(e *bus.Event) error {
	if err := e.Validate(); err != nil {
		return err
	}
	switch {
	case !isReference(e.Source):
		return invalid("the source %q is not a URI reference", e.Source)
	case e.DataSchema != "" && !isURI(e.DataSchema):
		return invalid("the dataschema %q is not a URI", e.DataSchema)
	case e.DataType != "" && !isMediaType(e.DataType):
		return invalid("the datacontenttype %q is not a media type", e.DataType)
	}
	for _, a := range e.Extensions {
		if isCore(a.Name) {
			return invalid("%s is not a name for an extension attribute", a.Name)
		}
	}
	return nil
}

// isCore tells whether a name belongs to the specification.
func isCore(name string) bool {
	switch name {
	case "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data":
		return true
	}
	return false
}

// deliverAt reads when the events of a request are due, as the attribute has it, or "" where that is now.
func deliverAt(h http.Header, now time.Time) (string, error) {
	values := h[HeaderDeliverAt]
	if len(values) == 0 {
		return "", nil
	}
	bad := func(format string, args ...any) error {
		return fault.New(fault.CodeEventDeliverAt, format, args...).
			Fix("write a time at most a year ahead, as RFC 3339 has it, such as %s", now.UTC().Add(time.Hour).Format(time.RFC3339))
	}
	t, err := time.Parse(time.RFC3339Nano, values[0])
	switch {
	case len(values) > 1:
		return "", bad("%s stands there %d times", HeaderDeliverAt, len(values))
	case err != nil:
		return "", bad("%s holds %q, which is not a time", HeaderDeliverAt, values[0])
	case t.After(now.Add(MaxDelay)):
		return "", bad("%s holds %s, which is more than a year ahead", HeaderDeliverAt, values[0])
	case !t.After(now):
		return "", nil
	}
	return t.UTC().Format(time.RFC3339Nano), nil
}

// traceContext returns the trace context of a request (W3C Trace Context), or "" where it has none that can be read.
func traceContext(h http.Header) (parent, state string) {
	values := h["Traceparent"]
	if len(values) != 1 || !isTraceParent(values[0]) {
		return "", ""
	}
	state = strings.Join(h["Tracestate"], ",")
	if len(state) > 512 { // what a party must be able to pass on
		state = ""
	}
	return values[0], state
}

// isTraceParent tells whether a text has the form version-trace-parent-flags, in lower-case hexadecimal digits.
func isTraceParent(s string) bool {
	if len(s) < 55 || len(s) > 55 && (s[:2] == "00" || s[55] != '-') || s[:2] == "ff" {
		return false
	}
	for i := range 55 {
		c := s[i]
		dash := i == 2 || i == 35 || i == 52
		if dash != (c == '-') || !dash && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return strings.Trim(s[3:35], "0") != "" && strings.Trim(s[36:52], "0") != ""
}

func first(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// charsetIsUTF8 tells whether the parameters of a media type leave its text in UTF-8.
func charsetIsUTF8(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "charset") {
			value = strings.Trim(strings.TrimSpace(value), `"`)
			return slices.ContainsFunc([]string{"utf-8", "utf8", "us-ascii"}, func(s string) bool { return strings.EqualFold(s, value) })
		}
	}
	return true
}

func invalid(format string, args ...any) *fault.Error {
	return fault.New(fault.CodeEventInvalid, "this is not a CloudEvent: %s", fmt.Sprintf(format, args...)).
		Fix("see https://github.com/cloudevents/spec, version 1.0")
}
