package platform

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/telemetry"
)

// What Atoll sees of a service without its help: a span for each request at the gateway, call, delivery of an event and step of a
// saga, after OpenTelemetry's semantic conventions (https://opentelemetry.io/docs/specs/semconv/). Each is the server's side: its
// service is the one that was asked, and atoll.caller says who asked.

const (
	scopeName   = "atoll"
	attrCaller  = "atoll.caller"
	attrRoute   = "http.route"
	attrHopKind = "atoll.hop" // gateway, call, event, saga
)

// hop kinds beside those of the relay.
const (
	hopEvent = "event"
	hopSaga  = "saga"
)

// sighting is a request that has ended, whatever it was part of.
type sighting struct {
	kind     string
	trace    relay.Trace
	start    time.Time
	duration time.Duration
	service  string
	replica  string
	name     string
	spanKind telemetry.SpanKind
	status   int
	grpc     int // code of gRPC, or 0
	code     fault.Code
	method   string
	route    string
	attrs    []telemetry.Attr
}

// saw keeps a sighting: a span, and what is counted of it.
func (p *Platform) saw(s *sighting) {
	failed := s.failed()
	if s.service == "" {
		s.service = gatewayName
	}
	span := telemetry.Span{
		Resource: p.telemetry.resource(s.service, s.replica), Scope: p.telemetry.scope, TraceID: telemetry.TraceID(s.trace.ID), SpanID: telemetry.SpanID(s.trace.Span),
		Parent: telemetry.SpanID(s.trace.Parent), Name: s.name, Kind: s.spanKind, Start: s.start.UnixNano(), Duration: int64(s.duration), Attrs: s.attrs,
	}
	errorType := ""
	if s.code != "" {
		span.Attrs = append(span.Attrs, text("atoll.code", string(s.code)))
	}
	if failed {
		errorType = cmp.Or(string(s.code), grpcFailure(s.grpc), strconv.Itoa(s.status))
		span.Status, span.StatusText = telemetry.StatusError, errorType
		span.Attrs = append(span.Attrs, telemetry.Attr{Key: "error.type", Value: telemetry.String(errorType)})
	}
	p.telemetry.collector.span(&span)
	p.telemetry.requests.add(requestKey{s.kind, s.service, s.route, s.method, s.status, errorType, string(s.code)}, s.duration)
	if failed && s.replica != "" {
		p.errors.add(s.replica)
	}
}

// failed tells whether the server's side failed: a request that is refused, or whose client went away, has not
// (https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status, likewise for gRPC).
func (s *sighting) failed() bool {
	return grpcFailure(s.grpc) != "" || s.status >= 500 || s.status == 0 && s.code != ""
}

// grpcFailure names a code of gRPC that says that the server's side failed; it is "" for others.
func grpcFailure(code int) string {
	switch code {
	case 2:
		return "UNKNOWN"
	case 4:
		return "DEADLINE_EXCEEDED"
	case 12:
		return "UNIMPLEMENTED"
	case 13:
		return "INTERNAL"
	case 14:
		return "UNAVAILABLE"
	case 15:
		return "DATA_LOSS"
	}
	return ""
}

func text(key, value string) telemetry.Attr {
	return telemetry.Attr{Key: key, Value: telemetry.String(value)}
}

func whole64(key string, n int64) telemetry.Attr {
	return telemetry.Attr{Key: key, Value: telemetry.Int(n)}
}

// hop takes a request that has ended.
func (p *Platform) hop(h relay.Hop) {
	s := sighting{
		kind: string(h.Kind), trace: h.Trace, start: h.Start, duration: h.Duration, service: h.Service, replica: h.Endpoint,
		spanKind: telemetry.KindServer, status: h.Status, code: h.Code, method: h.Method, route: h.Route,
		attrs: make([]telemetry.Attr, 0, 9), // as most have at most
	}
	switch {
	case h.Protocol == "tcp":
		s.name = "tcp"
	case h.GRPC:
		s.name = strings.TrimPrefix(h.Path, "/")
	case h.Route != "":
		s.name = h.Method + " " + h.Route
	default:
		s.name = h.Method
	}
	// What all have comes first: a table in memory knows the columns of a row soonest where they are those of the row before.
	s.attrs = append(s.attrs, text(attrHopKind, s.kind), text(attrCaller, caller(&h)), text("network.protocol.name", h.Protocol))
	if h.Method != "" {
		s.attrs = append(s.attrs, text("http.request.method", h.Method), text("url.path", h.Path))
	}
	if h.Status != 0 {
		s.attrs = append(s.attrs, whole64("http.response.status_code", int64(h.Status)))
	}
	if h.BytesOut > 0 {
		s.attrs = append(s.attrs, whole64("http.response.body.size", h.BytesOut))
	}
	if h.Route != "" {
		s.attrs = append(s.attrs, text(attrRoute, h.Route))
	}
	if h.GRPC && h.GRPCCode >= 0 {
		s.grpc = h.GRPCCode
		s.attrs = append(s.attrs, text("rpc.system", "grpc"), whole64("rpc.grpc.status_code", int64(h.GRPCCode)))
	}
	if h.Kind == relay.KindGateway && h.Remote != "" {
		s.attrs = append(s.attrs, text("client.address", h.Remote))
	}
	if h.Subject != "" {
		s.attrs = append(s.attrs, text("enduser.id", h.Subject))
	}
	if h.BytesIn > 0 {
		s.attrs = append(s.attrs, whole64("http.request.body.size", h.BytesIn))
	}
	if h.Tries > 1 {
		s.attrs = append(s.attrs, whole64("http.request.resend_count", int64(h.Tries-1)))
	}
	if h.Waited > 0 {
		s.attrs = append(s.attrs, whole64("atoll.waited_ns", int64(h.Waited)))
	}
	p.saw(&s)
}

func caller(h *relay.Hop) string {
	if h.Caller == "" {
		return gatewayName
	}
	return h.Caller
}
