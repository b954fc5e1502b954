package telemetry

import "strings"

// TraceOfLine finds the trace and the span that a line of output names, as logging libraries write them: trace_id, traceId,
// trace.id or traceid with 32 hexadecimal digits behind it, and likewise span.
func TraceOfLine(line string) (TraceID, SpanID) {
	var trace TraceID
	for _, key := range [...]string{"trace_id", "traceId", "trace.id", "traceid", "traceID"} {
		if id, ok := ParseTraceID(hexBehind(line, key, 32)); ok {
			trace = id
			break
		}
	}
	if trace.IsZero() {
		return trace, SpanID{}
	}
	for _, key := range [...]string{"span_id", "spanId", "span.id", "spanid", "spanID"} {
		if id, ok := ParseSpanID(hexBehind(line, key, 16)); ok {
			return trace, id
		}
	}
	return trace, SpanID{}
}

// hexBehind is the n characters that stand behind a key and what separates the two, or "".
func hexBehind(line, key string, n int) string {
	_, rest, ok := strings.Cut(line, key)
	if !ok {
		return ""
	}
	rest = strings.TrimLeft(rest, `":= `)
	if len(rest) < n {
		return ""
	}
	return rest[:n]
}
