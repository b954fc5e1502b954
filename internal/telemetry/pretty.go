package telemetry

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Pretty is a record's text as a person reads it: a JSON object becomes its message and the other fields as
// key=value; time, level and what else the record itself says are left out.
func Pretty(r *Record) string {
	if !strings.HasPrefix(r.Text, "{") {
		return r.Text
	}
	var fields map[string]any
	decoder := json.NewDecoder(strings.NewReader(r.Text))
	decoder.UseNumber()
	if decoder.Decode(&fields) != nil {
		return r.Text
	}
	message := ""
	for _, key := range []string{"msg", "message", "event", "@m"} {
		if text, ok := fields[key].(string); ok {
			message = text
			delete(fields, key)
			break
		}
	}
	for _, key := range []string{"time", "timestamp", "ts", "@t", "level", "severity", "lvl", "@l", "service", "replica", "pid", "hostname", "v"} {
		delete(fields, key)
	}
	var b strings.Builder
	b.WriteString(message)
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s=%s", key, prettyValue(fields[key]))
	}
	return b.String()
}

func prettyValue(v any) string {
	switch v := v.(type) {
	case string:
		if v == "" || strings.ContainsAny(v, " \"=\n") {
			return fmt.Sprintf("%q", v)
		}
		return v
	case json.Number:
		return v.String()
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}
