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
func Pretty(r *Line) string {
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
	if message == "request" {
		message = request(fields)
	}
	b.WriteString(message)
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s=%s", key, prettyValue(fields[key]))
	}
	return b.String()
}

// request is a line of an access log as people read it; the fields that it shows are taken out.
func request(fields map[string]any) string {
	words := []string{"request"}
	if method, ok := fields["method"].(string); ok {
		words[0] = method
		delete(fields, "method")
	}
	for _, key := range []string{"path", "status", "duration_ms", "endpoint"} {
		v, ok := fields[key]
		if !ok {
			continue
		}
		word := prettyValue(v)
		switch key {
		case "duration_ms":
			word += "ms"
		case "endpoint":
			word = "→ " + word
			delete(fields, "service")
		}
		words = append(words, word)
		delete(fields, key)
	}
	return strings.Join(words, " ")
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
