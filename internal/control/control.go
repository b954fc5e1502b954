// Package control is the control API: all that the command line and the console do with a running application,
// as HTTP and JSON.
//
// It is served on a unix socket that only its user can open, and on loopback TCP, where every request must carry the
// token, a loopback Host and, if a browser sends it, an Origin of its own, so that no foreign page can act. Streams
// (logs, events) are JSON objects, one a line or one a server-sent event, until the client goes; a client that reads slowly slows only
// itself.
// Errors are problem documents after RFC 9457. openapi.yaml describes every operation; a test holds it true.
package control

import (
	"context"
	_ "embed" // for openapi.yaml

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
)

// App is a running application, as the API needs it. Its methods may be called by many goroutines at once. A
// *fault.Error goes to the client, any other error to the log.
type App interface {
	Info() api.App
	Services() []api.Service
	Service(name string) (api.Service, error)
	Replicas() []api.Replica
	Findings() fault.List
	// Restart and Scale return when the new replicas are ready.
	Restart(ctx context.Context, service string) error
	Scale(ctx context.Context, service string, replicas int) error
	// Reload reads the manifests again; with errors among the faults, nothing was changed.
	Reload(ctx context.Context) fault.List
	// Stop begins to end the application and returns at once.
	Stop()
	// Events calls yield until there is nothing more, ctx ends, or yield fails.
	Events(ctx context.Context, after int64, follow bool, yield func(api.Event) error) error
	// Contract is the OpenAPI document of a service, as JSON.
	Contract(service string) ([]byte, error)
	// Environment lists what the replicas of a service find in their environment; secrets are hidden.
	Environment(service string) ([]api.Variable, error)
	// Routes lists the routes of the gateway, in the order of the manifest.
	Routes() []api.GatewayRoute
	// Try sends a request to the gateway, and returns what came back.
	Try(ctx context.Context, q *api.Try) (*api.Tried, error)
	// ConsoleLink makes a link that logs in to the console once.
	ConsoleLink() (api.ConsoleLink, error)
	Telemetry
	EventBus
	Webhooks
	Sagas
	Alerts
}

//go:embed openapi.yaml
var openAPI string

// OpenAPI is the description of the API, an OpenAPI 3.1 document in YAML.
func OpenAPI() string { return openAPI }
