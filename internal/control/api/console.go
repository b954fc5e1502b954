package api

import "time"

// ConsoleLink logs in to the console, once.
type ConsoleLink struct {
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

// GatewayRoute is a route of the gateway: to a service, a topic or a saga.
type GatewayRoute struct {
	Route
	Kind    string `json:"kind"` // service, topic, saga
	To      string `json:"to"`
	Timeout string `json:"timeout"`
	Tries   int    `json:"tries"`
}

// Variable is one of a service's environment.
type Variable struct {
	Name   string `json:"name"`
	Value  string `json:"value,omitempty"`  // none where it is hidden, or each replica has its own
	Hidden bool   `json:"hidden,omitempty"` // it is, or may hold, a secret
	From   string `json:"from"`
}

// Where variables come from.
const (
	VariableManifest = "manifest" // env
	VariableSecret   = "secret"
	VariableCall     = "call"    // a service that it may call
	VariableAtoll    = "atoll"   // events, sagas, database, telemetry
	VariableMachine  = "machine" // Atoll's own environment
	VariableReplica  = "replica" // each has its own
)

// The kinds of GatewayRoute.
const (
	RouteService = "service"
	RouteTopic   = "topic"
	RouteSaga    = "saga"
)

// Try is a request to send to the gateway.
type Try struct {
	Method  string            `json:"method"`
	Path    string            `json:"path"` // with its query
	Host    string            `json:"host,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
}

// Tried is what came back.
type Tried struct {
	Status  int                 `json:"status"`
	Headers map[string][]string `json:"headers"`
	Body    string              `json:"body,omitempty"`
	Base64  []byte              `json:"base64,omitempty"` // in the place of a body that is no text
	Cut     bool                `json:"cut,omitempty"`    // the body is longer than this
	TookNS  int64               `json:"took_ns"`
	TraceID string              `json:"trace_id"`
}

// Answer is what a path that is watched answers now.
type Answer struct {
	Get    string `json:"get"` // as it was asked
	Status int    `json:"status"`
	Body   any    `json:"body"` // as the path itself would answer
}
