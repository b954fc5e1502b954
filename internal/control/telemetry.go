package control

import (
	"context"
	"net/http"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/telemetry"
)

// Telemetry is what is known of requests, output and load, as the API needs it.
type Telemetry interface {
	// Logs and Export call yield until there is nothing more, ctx ends, or yield fails.
	Logs(ctx context.Context, q *telemetry.LineQuery, yield func(*telemetry.Line) error) error
	// Export yields requests of OTLP/JSON, each of them some rows or samples.
	Export(ctx context.Context, q *api.ExportQuery, yield func(request []byte) error) error

	Traces(ctx context.Context, q *api.TracesQuery) (*api.Found, error)
	Trace(ctx context.Context, id string, records bool) (*api.Trace, error)
	Records(ctx context.Context, q *api.RecordsQuery) (*api.Found, error)
	Complete(ctx context.Context, q *api.CompleteQuery) ([]telemetry.Completion, error)
	// Heat and Difference look at 100,000 spans at most, and say so where there are more.
	Heat(ctx context.Context, q *api.HeatQuery) (*api.Heat, error)
	Difference(ctx context.Context, q *api.DifferenceQuery) (*api.Difference, error)
	ServiceMap(ctx context.Context, from, to time.Time) (*telemetry.ServiceMap, error)
	Top(ctx context.Context) (*api.Top, error)
	TelemetryUsage(ctx context.Context) (*api.TelemetryUsage, error)

	// Prometheus and Jaeger serve the APIs of those programs below a prefix of the path.
	Prometheus(prefix string) http.Handler
	Jaeger(prefix string) http.Handler
}
