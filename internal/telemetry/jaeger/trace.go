package jaeger

import (
	"encoding/json"
	"math"
	"strconv"

	"github.com/atollhq/atoll/internal/telemetry"
)

type trace struct {
	TraceID   string             `json:"traceID"`
	Spans     []span             `json:"spans"`
	Processes map[string]process `json:"processes"`
	Warnings  []string           `json:"warnings"`
}

type span struct {
	TraceID       string      `json:"traceID"`
	SpanID        string      `json:"spanID"`
	OperationName string      `json:"operationName"`
	References    []reference `json:"references"`
	StartTime     int64       `json:"startTime"` // microseconds since 1970
	Duration      int64       `json:"duration"`  // microseconds
	Tags          []tag       `json:"tags"`
	Logs          []log       `json:"logs"`
	ProcessID     string      `json:"processID"`
	Warnings      []string    `json:"warnings"`
}

type reference struct {
	RefType string `json:"refType"`
	TraceID string `json:"traceID"`
	SpanID  string `json:"spanID"`
}

type process struct {
	ServiceName string `json:"serviceName"`
	Tags        []tag  `json:"tags"`
}

type log struct {
	Timestamp int64 `json:"timestamp"`
	Fields    []tag `json:"fields"`
}

type tag struct {
	Key   string `json:"key"`
	Type  string `json:"type"`
	Value any    `json:"value"`
}

// traceOf is a trace as Jaeger shows it. Spans of one replica share a process.
func traceOf(id telemetry.TraceID, spans []telemetry.Span) trace {
	t := trace{TraceID: id.String(), Spans: make([]span, len(spans)), Processes: map[string]process{}}
	names := map[string]string{} // of processes, by what they are
	for i := range spans {
		s := &spans[i]
		p := processOf(s.Resource)
		t.Spans[i] = spanOf(s)
		key, err := json.Marshal(p)
		if err != nil {
			key = []byte(p.ServiceName) // tags are always written
		}
		name, ok := names[string(key)]
		if !ok {
			name = "p" + strconv.Itoa(len(names)+1)
			names[string(key)] = name
			t.Processes[name] = p
		}
		t.Spans[i].ProcessID = name
	}
	return t
}

func processOf(r *telemetry.Resource) process {
	p := process{Tags: []tag{}}
	if r == nil {
		return p
	}
	p.ServiceName = r.Service
	if r.Replica != "" {
		p.Tags = append(p.Tags, tag{"service.instance.id", "string", r.Replica})
	}
	p.Tags = append(p.Tags, tagsFrom(r.Attrs)...)
	return p
}

func spanOf(s *telemetry.Span) span {
	out := span{
		TraceID: s.TraceID.String(), SpanID: s.SpanID.String(), OperationName: s.Name, References: []reference{},
		StartTime: s.Start / 1000, Duration: s.Duration / 1000, Tags: tagsFrom(s.Attrs), Logs: []log{},
	}
	if !s.Parent.IsZero() {
		out.References = append(out.References, reference{"CHILD_OF", out.TraceID, s.Parent.String()})
	}
	for _, l := range s.Links {
		out.References = append(out.References, reference{"FOLLOWS_FROM", l.TraceID.String(), l.SpanID.String()})
	}
	out.Tags = append(out.Tags, ownTags(s)...)
	for _, e := range s.Events {
		fields := []tag{}
		if e.Name != "" {
			fields = append(fields, tag{"event", "string", e.Name})
		}
		out.Logs = append(out.Logs, log{Timestamp: e.Time / 1000, Fields: append(fields, tagsFrom(e.Attrs)...)})
	}
	return out
}

// ownTags are what Jaeger shows as tags and OpenTelemetry keeps as fields.
func ownTags(s *telemetry.Span) []tag {
	var tags []tag
	text := func(key, value string) {
		if value != "" {
			tags = append(tags, tag{key, "string", value})
		}
	}
	if s.Scope != nil {
		text("otel.scope.name", s.Scope.Name)
		text("otel.scope.version", s.Scope.Version)
	}
	if s.Kind != telemetry.KindUnspecified {
		text("span.kind", s.Kind.String())
	}
	switch s.Status {
	case telemetry.StatusOK:
		text("otel.status_code", "OK")
	case telemetry.StatusError:
		text("otel.status_code", "ERROR")
		tags = append(tags, tag{"error", "bool", true})
	case telemetry.StatusUnset:
	}
	text("otel.status_description", s.StatusText)
	text("w3c.tracestate", s.State)
	return tags
}

func tagsFrom(attrs []telemetry.Attr) []tag {
	tags := make([]tag, 0, len(attrs)+6)
	for _, a := range attrs {
		tags = append(tags, tagOf(a.Key, a.Value))
	}
	return tags
}

// maxExact is the largest whole number that JavaScript holds; larger ones are written as text, as Jaeger does.
const maxExact = 1<<53 - 1

func tagOf(key string, v telemetry.Value) tag {
	switch v.Kind() {
	case telemetry.KindInt:
		if n := v.Int(); n > maxExact || n < -maxExact {
			return tag{key, "int64", v.Text()}
		}
		return tag{key, "int64", v.Int()}
	case telemetry.KindFloat:
		f, _ := v.Number()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return tag{key, "float64", v.Text()} // JSON has none of them
		}
		return tag{key, "float64", f}
	case telemetry.KindBool:
		return tag{key, "bool", v.Bool()}
	case telemetry.KindNone, telemetry.KindString, telemetry.KindJSON:
	}
	return tag{key, "string", v.Text()}
}
