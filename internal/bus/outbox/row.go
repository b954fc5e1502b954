package outbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/fault"
)

// The limits of one batch.
const (
	maxRows  = bus.MaxAppend
	maxBytes = 4 << 20
)

// row is a row of the table as it was read. Times and extensions are text, so that one which makes no sense spoils its
// own row and not the reading of all.
type row struct {
	id                    int64
	topic, eventID        string
	text                  *string
	binary                []byte
	key, kind             *string
	source, subject       *string
	contentType           *string
	time                  string
	extensions, deliverAt *string
	size                  int64 // of the data, which are not read where they are too large
}

// fields are where a row of the query goes, in the order of columns.
func (r *row) fields() []any {
	return []any{
		&r.id, &r.topic, &r.text, &r.binary, &r.key, &r.eventID, &r.kind, &r.source, &r.subject, &r.contentType,
		&r.time, &r.extensions, &r.deliverAt, &r.size,
	}
}

// copied are the columns that a refused row keeps.
const copied = "topic, data, data_binary, ordering_key, event_id, type, source, subject, content_type, time, extensions, deliver_at"

// query reads a batch in one statement, and so at one moment. Inside, the sizes of the first rows are added up; outside,
// as many of them are read as fit. text makes text of a column.
func query(text func(column string) string) string {
	return fmt.Sprintf(`SELECT o.id, o.topic, CASE WHEN b.size <= %[1]d THEN o.data END, CASE WHEN b.size <= %[1]d THEN o.data_binary END,
	o.ordering_key, o.event_id, o.type, o.source, o.subject, o.content_type, %[4]s, %[5]s, %[6]s, b.size
FROM (SELECT id, size, SUM(CASE WHEN size <= %[1]d THEN size ELSE 0 END) OVER (ORDER BY id) AS total
	FROM (SELECT id, COALESCE(OCTET_LENGTH(data), 0) + COALESCE(OCTET_LENGTH(data_binary), 0) AS size
		FROM atoll_outbox ORDER BY id LIMIT %[2]d) AS f) AS b
JOIN atoll_outbox AS o ON o.id = b.id WHERE b.total <= %[3]d ORDER BY o.id`,
		bus.MaxData, maxRows, maxBytes, text("o.time"), text("o.extensions"), text("o.deliver_at"))
}

// event makes the event of a row; its error is a fault that makes the row one to be refused.
func (r *row) event(source string) (*bus.Event, error) {
	if r.size > bus.MaxData {
		return nil, fault.New(fault.CodeEventTooLarge, "the data has %d bytes, at most %d are taken", r.size, bus.MaxData).
			Fix("put what is large elsewhere, and its address into the event")
	}
	if r.topic == "" {
		return nil, badRow("topic", "it is empty")
	}
	if r.text != nil && r.binary != nil {
		return nil, badRow("data_binary", "there is text in data too")
	}
	e := &bus.Event{
		Topic: r.topic, ID: r.eventID, Source: or(r.source, source), Type: or(r.kind, r.topic), Subject: or(r.subject, ""),
	}
	e.Data, e.DataType = r.data()
	var err error
	if e.Time, err = parseTime(r.time); err != nil {
		return nil, badRow("time", "it is no time")
	}
	if err := r.extend(e); err != nil {
		return nil, err
	}
	return e, e.Validate()
}

// data are the row's data and their type: the one that it names, or else what they look like.
func (r *row) data() (data []byte, kind string) {
	switch {
	case r.text != nil:
		data, kind = []byte(*r.text), "text/plain; charset=utf-8"
		if json.Valid(data) {
			kind = "application/json"
		}
	case r.binary != nil:
		data, kind = r.binary, "application/octet-stream"
	}
	return data, or(r.contentType, kind)
}

// extend adds the attributes that are not CloudEvents' own.
func (r *row) extend(e *bus.Event) error {
	extensions, err := parseExtensions(or(r.extensions, "{}"))
	if err != nil {
		return err
	}
	for name, value := range extensions {
		e.SetExtension(name, value)
	}
	if r.key != nil {
		e.SetExtension(bus.AttributeKey, *r.key)
	}
	if r.deliverAt != nil {
		at, err := parseTime(*r.deliverAt)
		if err != nil {
			return badRow("deliver_at", "it is no time")
		}
		e.SetExtension(bus.AttributeDeliverAt, at.Format(time.RFC3339Nano))
	}
	return nil
}

// parseExtensions reads a JSON object whose values are text, numbers or truth values.
func parseExtensions(text string) (map[string]string, error) {
	var values map[string]any
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.UseNumber()
	if err := dec.Decode(&values); err != nil {
		return nil, badRow("extensions", "it is no JSON object")
	}
	out := make(map[string]string, len(values))
	for name, value := range values {
		if strings.HasPrefix(name, "atoll") {
			return nil, badRow("extensions", fmt.Sprintf("the attribute %q belongs to Atoll", name))
		}
		switch v := value.(type) {
		case nil:
		case string:
			out[name] = v
		case json.Number:
			out[name] = v.String()
		case bool:
			out[name] = strconv.FormatBool(v)
		default:
			return nil, badRow("extensions", fmt.Sprintf("the attribute %q is neither text nor a number nor true or false", name))
		}
	}
	return out, nil
}

// parseTime reads what the databases make of times, and RFC 3339. Where no zone is named it is UTC.
func parseTime(s string) (time.Time, error) {
	var first error
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07", "2006-01-02 15:04:05.999999999Z07:00",
		"2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999",
	} {
		t, err := time.Parse(layout, s)
		if err == nil {
			return t.UTC(), nil
		}
		if first == nil {
			first = err
		}
	}
	return time.Time{}, first
}

func or(s *string, otherwise string) string {
	if s == nil || *s == "" {
		return otherwise
	}
	return *s
}

func badRow(column, why string) *fault.Error {
	return fault.New(fault.CodeOutboxRow, "the column %s of a row in atoll_outbox cannot be used: %s", column, why).
		Fix("mend the row in atoll_outbox_refused and insert it into atoll_outbox again")
}
