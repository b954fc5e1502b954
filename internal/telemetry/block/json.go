package block

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/atollhq/atoll/internal/telemetry"
)

// Events, links, and the attributes for which there is no column are kept as JSON. A number with a point or an exponent
// is KindFloat; floats that JSON cannot say (NaN, infinities) become text.

func appendAttrs(b []byte, attrs []telemetry.Attr) []byte {
	b = append(b, '{')
	for i := range attrs {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, attrs[i].Key)
		b = append(b, ':')
		b = appendValue(b, attrs[i].Value)
	}
	return append(b, '}')
}

func appendValue(b []byte, v telemetry.Value) []byte {
	switch v.Kind() {
	case telemetry.KindString:
		return appendString(b, v.Str())
	case telemetry.KindFloat:
		f, _ := v.Number()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return appendString(b, v.Text())
		}
		begin := len(b)
		b = strconv.AppendFloat(b, f, 'g', -1, 64)
		if !bytes.ContainsAny(b[begin:], ".e") {
			b = append(b, ".0"...)
		}
		return b
	case telemetry.KindJSON:
		if json.Valid([]byte(v.Str())) {
			return append(b, v.Str()...)
		}
		return appendString(b, v.Str())
	case telemetry.KindInt, telemetry.KindBool:
		return append(b, v.Text()...)
	case telemetry.KindNone:
	}
	return append(b, "null"...)
}

func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}

func appendEvents(b []byte, events []telemetry.SpanEvent) []byte {
	b = append(b, '[')
	for i := range events {
		if i > 0 {
			b = append(b, ',')
		}
		e := &events[i]
		b = append(b, `{"time":`...)
		b = strconv.AppendInt(b, e.Time, 10)
		b = append(b, `,"name":`...)
		b = appendString(b, e.Name)
		if len(e.Attrs) > 0 {
			b = append(b, `,"attributes":`...)
			b = appendAttrs(b, e.Attrs)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

func appendLinks(b []byte, links []telemetry.Link) []byte {
	b = append(b, '[')
	for i := range links {
		if i > 0 {
			b = append(b, ',')
		}
		l := &links[i]
		b = append(b, `{"trace":"`...)
		b = append(b, l.TraceID.String()...)
		b = append(b, `","span":"`...)
		b = append(b, l.SpanID.String()...)
		b = append(b, '"')
		if len(l.Attrs) > 0 {
			b = append(b, `,"attributes":`...)
			b = appendAttrs(b, l.Attrs)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// attrList reads attributes in the order in which they stand.
type attrList []telemetry.Attr

func (l *attrList) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.Join(errors.New("attributes are not an object"), err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return fmt.Errorf("key of an attribute: %w", err)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return fmt.Errorf("value of an attribute: %w", err)
		}
		name, _ := key.(string)
		*l = append(*l, telemetry.Attr{Key: name, Value: parseValue(raw)})
	}
	return nil
}

func parseValue(raw []byte) telemetry.Value {
	switch raw[0] {
	case '"':
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return telemetry.String(s)
		}
	case 't', 'f':
		return telemetry.Bool(raw[0] == 't')
	case '{', '[':
		return telemetry.JSON(string(raw))
	case 'n':
		return telemetry.Value{}
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return telemetry.Int(n)
	}
	f, _ := strconv.ParseFloat(string(raw), 64)
	return telemetry.Float(f)
}

func parseAttrs(text []byte) ([]telemetry.Attr, error) {
	var l attrList
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, fmt.Errorf("attributes: %w", err)
	}
	return l, nil
}

func parseEvents(text []byte) ([]telemetry.SpanEvent, error) {
	var list []struct {
		Time       int64    `json:"time"`
		Name       string   `json:"name"`
		Attributes attrList `json:"attributes"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("events of a span: %w", err)
	}
	out := make([]telemetry.SpanEvent, len(list))
	for i, e := range list {
		out[i] = telemetry.SpanEvent{Time: e.Time, Name: e.Name, Attrs: e.Attributes}
	}
	return out, nil
}

func parseLinks(text []byte) ([]telemetry.Link, error) {
	var list []struct {
		Trace      string   `json:"trace"`
		Span       string   `json:"span"`
		Attributes attrList `json:"attributes"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("links of a span: %w", err)
	}
	out := make([]telemetry.Link, len(list))
	for i, l := range list {
		out[i].TraceID, _ = telemetry.ParseTraceID(l.Trace)
		out[i].SpanID, _ = telemetry.ParseSpanID(l.Span)
		out[i].Attrs = l.Attributes
	}
	return out, nil
}
