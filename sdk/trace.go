package sdk

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// Headers that Atoll sets on each request to a service.
const (
	HeaderCaller   = "Atoll-Caller"   // the service that calls, never set by a client from outside
	HeaderSubject  = "Atoll-Subject"  // who the client outside proved to be
	HeaderDeadline = "Atoll-Deadline" // milliseconds that are left
	HeaderTrace    = "Traceparent"    // W3C Trace Context, version 00
)

type traceKey struct{}

// WithTrace returns a context whose calls and log records belong to the trace of the given traceparent. One
// that is not well formed (https://www.w3.org/TR/trace-context/) is ignored.
func WithTrace(ctx context.Context, traceparent string) context.Context {
	if !validTrace(traceparent) {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, traceparent)
}

// NewTrace returns a context that begins a trace of its own, for work that no request asked for.
func NewTrace(ctx context.Context) context.Context {
	var id [24]byte
	_, _ = rand.Read(id[:]) // never fails, as its documentation promises
	return context.WithValue(ctx, traceKey{},
		"00-"+hex.EncodeToString(id[:16])+"-"+hex.EncodeToString(id[16:])+"-01")
}

// Traceparent is the traceparent that ctx carries, or "".
func Traceparent(ctx context.Context) string {
	s, _ := ctx.Value(traceKey{}).(string)
	return s
}

// TraceID is the trace id that ctx carries, 32 hex digits, or "".
func TraceID(ctx context.Context) string {
	if s := Traceparent(ctx); s != "" {
		return s[3:35]
	}
	return ""
}

// validTrace tells whether s is version-traceid-parentid-flags in lower-case hex, with ids that are not zero.
func validTrace(s string) bool {
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "ff" {
		return false
	}
	if len(s) > 55 && (s[:2] == "00" || s[55] != '-') {
		return false
	}
	for _, part := range []string{s[:2], s[3:35], s[36:52], s[53:55]} {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return false
		}
	}
	return strings.Trim(s[3:35], "0") != "" && strings.Trim(s[36:52], "0") != ""
}
