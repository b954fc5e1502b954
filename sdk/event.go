package sdk

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Event is a CloudEvent (https://github.com/cloudevents/spec, version 1.0). An event to be published needs a Topic at most;
// Publish and Outbox.Add fill in what is missing.
type Event struct {
	Topic string // where it is published; an event that was delivered has none

	ID         string // with Source it names the event; default one that no other event has
	Source     string // default /services/ and the service's name
	Type       string // default the topic
	Subject    string
	Time       time.Time // default now
	DataType   string    // media type of Data; default application/json if Data is JSON
	DataSchema string
	Data       []byte

	// Key is the ordering key, the attribute partitionkey: events of one key are delivered one after the other.
	Key string

	// DeliverAt is the time before which nobody gets the event. Zero means at once.
	DeliverAt time.Time

	// Extensions are the other attributes, by names of lower-case letters and digits.
	Extensions map[string]string
}

const (
	attributeKey = "partitionkey"
	cloudEvent   = "application/cloudevents+json"
	cloudEvents  = "application/cloudevents-batch+json"
)

// NewEvent makes an event whose data are v as JSON.
func NewEvent(topic string, v any) (Event, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return Event{}, fmt.Errorf("event of %s: %w", topic, err)
	}
	return Event{Topic: topic, ID: newEventID(), DataType: "application/json", Data: data}, nil
}

func newEventID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails, as its documentation promises
	return hex.EncodeToString(id[:])
}

// Decode reads the event's data, which are JSON, into v. Fields that v does not know are ignored, since events grow. The
// error is one for Reject: another try would end alike.
func (e *Event) Decode(v any) error {
	if err := json.Unmarshal(e.Data, v); err != nil {
		return fmt.Errorf("data of the event %s: %w", e.ID, err)
	}
	return nil
}

// complete fills in what is missing.
func (e *Event) complete(topic, service, traceparent string, now time.Time) Event {
	out := *e
	out.Topic = topic
	if out.ID == "" {
		out.ID = newEventID()
	}
	if out.Source == "" {
		out.Source = "/services/" + service
	}
	if out.Type == "" {
		out.Type = topic
	}
	if out.Time.IsZero() {
		out.Time = now
	}
	if out.DataType == "" && json.Valid(out.Data) {
		out.DataType = "application/json"
	}
	if traceparent != "" && out.Extensions["traceparent"] == "" {
		out.Extensions = maps.Clone(out.Extensions)
		if out.Extensions == nil {
			out.Extensions = map[string]string{}
		}
		out.Extensions["traceparent"] = traceparent
	}
	return out
}

// attributes are the event's attributes by name, in their text form; those that are empty are left out.
func (e *Event) attributes() map[string]string {
	out := maps.Clone(e.Extensions)
	if out == nil {
		out = map[string]string{}
	}
	for name, value := range map[string]string{
		"id": e.ID, "source": e.Source, "type": e.Type, "subject": e.Subject, "datacontenttype": e.DataType,
		"dataschema": e.DataSchema, attributeKey: e.Key,
	} {
		if value != "" {
			out[name] = value
		}
	}
	out["specversion"] = "1.0"
	if !e.Time.IsZero() {
		out["time"] = e.Time.UTC().Format(time.RFC3339Nano)
	}
	return out
}

// setAttribute is the reverse of attributes.
func (e *Event) setAttribute(name, value string) error {
	switch name {
	case "specversion":
		if value != "1.0" {
			return fmt.Errorf("the version of CloudEvents is %q; 1.0 is known", value)
		}
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
	case attributeKey:
		e.Key = value
	case "time":
		at, err := time.Parse(time.RFC3339Nano, value)
		if err != nil {
			return fmt.Errorf("the time %q is not RFC 3339", value)
		}
		e.Time = at
	default:
		if e.Extensions == nil {
			e.Extensions = map[string]string{}
		}
		e.Extensions[name] = value
	}
	return nil
}

// check tells whether the attributes are there that every event has.
func (e *Event) check() error {
	for name, value := range map[string]string{"id": e.ID, "source": e.Source, "type": e.Type} {
		if value == "" {
			return fmt.Errorf("the attribute %s is missing", name)
		}
	}
	return nil
}

// checkDataType refuses data that would pass for an event themselves, whose attributes count in place of this one's.
func (e *Event) checkDataType() error {
	if strings.HasPrefix(strings.ToLower(strings.TrimSpace(e.DataType)), "application/cloudevents") {
		return fmt.Errorf("the type of the data of the event %s is %s, which is the type of a whole event: name the type that the data have",
			e.ID, e.DataType)
	}
	return nil
}

// structured is the event in the JSON format of CloudEvents.
func (e *Event) structured() (map[string]any, error) {
	out := map[string]any{}
	for name, value := range e.attributes() {
		out[name] = value
	}
	switch {
	case len(e.Data) == 0:
	case isJSON(e.DataType):
		if !json.Valid(e.Data) {
			return nil, fmt.Errorf("the data of the event %s are no JSON, though their type is %s", e.ID, e.DataType)
		}
		out["data"] = json.RawMessage(e.Data)
	case utf8.Valid(e.Data):
		out["data"] = string(e.Data)
	default:
		out["data_base64"] = base64.StdEncoding.EncodeToString(e.Data)
	}
	return out, nil
}

// parseStructured is the reverse of structured.
func parseStructured(body []byte) (Event, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return Event{}, fmt.Errorf("the body is no JSON object: %w", err)
	}
	var e Event
	if _, ok := fields["specversion"]; !ok {
		return Event{}, fmt.Errorf("the attribute specversion is missing")
	}
	for name, raw := range fields {
		if name == "data" || name == "data_base64" || string(raw) == "null" {
			continue
		}
		value, err := attributeText(raw)
		if err != nil {
			return Event{}, fmt.Errorf("the attribute %s: %w", name, err)
		}
		if err := e.setAttribute(name, value); err != nil {
			return Event{}, err
		}
	}
	var err error
	if e.Data, err = structuredData(fields, e.DataType); err != nil {
		return Event{}, err
	}
	return e, e.check()
}

// attributeText is the canonical text of an attribute: texts, integers and truth values.
func attributeText(raw json.RawMessage) (string, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	if _, err := strconv.ParseInt(string(raw), 10, 64); err == nil || string(raw) == "true" || string(raw) == "false" {
		return string(raw), nil
	}
	return "", fmt.Errorf("%.40s is neither text nor an integer nor true or false", raw)
}

func structuredData(fields map[string]json.RawMessage, dataType string) ([]byte, error) {
	if raw, ok := fields["data_base64"]; ok {
		var data []byte
		if err := json.Unmarshal(raw, &data); err != nil {
			return nil, fmt.Errorf("data_base64: %w", err)
		}
		return data, nil
	}
	raw, ok := fields["data"]
	if !ok {
		return nil, nil
	}
	var text string
	if dataType != "" && !isJSON(dataType) && json.Unmarshal(raw, &text) == nil {
		return []byte(text), nil
	}
	return raw, nil
}

// isJSON tells whether a media type is one of JSON.
func isJSON(mediaType string) bool {
	media, _, _ := strings.Cut(mediaType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}
