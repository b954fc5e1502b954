package manifest

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/atollhq/atoll/internal/fault"
)

// Telemetry is what is taken in of traces, metrics and logs, and how long it is kept.
type Telemetry struct {
	OTLP    OTLP            `key:"otlp" doc:"Where OpenTelemetry's protocol is taken in from outside. Services find it by the OTEL_* variables that they get."`
	Keep    TelemetryKeep   `key:"keep" doc:"How long spans, log records and events are kept."`
	Metrics TelemetryMetric `key:"metrics" doc:"How metrics are kept, and how often they are scraped."`
	Limits  TelemetryLimits `key:"limits" doc:"How much is taken in. When a limit is reached the service that sends most loses first; what was dropped is counted and shown."`
	Sample  Percent         `key:"sample" default:"100%" doc:"Share of the traces that is kept of those that neither failed nor were among the slowest; those two are kept always."`
	Forward []Forward       `key:"forward" doc:"Backends that get a copy of all that is taken in."`
}

// ListenOff is written in the place of an address where nothing is to listen.
const ListenOff = "off"

// OTLP is where telemetry comes in.
type OTLP struct {
	GRPC string `key:"grpc" default:"127.0.0.1:4317" doc:"Address and port for OTLP over gRPC, or off; port 0 takes a free one. Who can reach it can send, so leave it on loopback unless the network is yours."`
	HTTP string `key:"http" default:"127.0.0.1:4318" doc:"Address and port for OTLP over HTTP (protobuf and JSON), or off; port 0 takes a free one."`
}

// TelemetryKeep bounds the spans, log records and events on disk, whichever bound is reached first.
type TelemetryKeep struct {
	Age  Duration `key:"age" default:"168h" doc:"Age beyond which spans, log records and events are dropped; at least 1h."`
	Size Size     `key:"size" default:"2GB" doc:"Size on disk beyond which the oldest are dropped; at least 64MB."`
}

// TelemetryMetric bounds the metrics on disk and in memory.
type TelemetryMetric struct {
	Age    Duration `key:"age" default:"360h" doc:"Age beyond which samples are dropped; at least 3h."`
	Size   Size     `key:"size" default:"1GB" doc:"Size on disk beyond which the oldest samples are dropped; at least 64MB."`
	Series int      `key:"series" default:"100000" doc:"How many series may be live at once; new ones of the service that has most are refused first. At least 1000."`
	Every  Duration `key:"every" default:"15s" doc:"How often Atoll's own metrics, and those of services that name a path for metrics, are read; from 1s to 1h."`
}

// TelemetryLimits bounds what is taken in.
type TelemetryLimits struct {
	Spans int `key:"spans" default:"20000" doc:"Spans a second, of all services together; at least 100."`
	Logs  int `key:"logs" default:"20000" doc:"Log records a second, of all services together; at least 100."`
}

// ForwardProtocol is how telemetry goes on to another backend.
type ForwardProtocol string

// The protocols.
const (
	ForwardHTTP ForwardProtocol = "http" // OTLP/HTTP, protobuf
	ForwardGRPC ForwardProtocol = "grpc" // OTLP/gRPC
)

// The signals that can be forwarded.
const (
	SignalTraces  = "traces"
	SignalMetrics = "metrics"
	SignalLogs    = "logs"
)

// Signals are all of them.
func Signals() []string { return []string{SignalTraces, SignalMetrics, SignalLogs} }

// Forward is a backend that gets a copy of telemetry by OTLP.
type Forward struct {
	Endpoint string            `key:"endpoint" required:"true" doc:"URL of the backend, such as https://otlp.example.com; with protocol http the path of each signal, such as /v1/traces, is added."`
	Protocol ForwardProtocol   `key:"protocol" enum:"http,grpc" default:"http" doc:"OTLP over HTTP or over gRPC."`
	Headers  map[string]string `key:"headers" doc:"Headers of each request. Put what is secret into .env and write it as ${env.NAME}."`
	Signals  []string          `key:"signals" doc:"Which of traces, metrics and logs are sent. Default all three."`
	Queue    Size              `key:"queue" default:"256MB" doc:"How much may wait on disk while the backend cannot be reached; beyond it the oldest is dropped and counted. At least 1MB."`
}

const percentPattern = `^(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%$`

var percentForm = regexp.MustCompile(percentPattern)

// Percent is a share of 0 to 100 in a hundred, written 99.9%.
type Percent float64

// Ratio is the share of 0 to 1.
func (p Percent) Ratio() float64 { return float64(p) / 100 }

// UnmarshalText reads "99.9%".
func (p *Percent) UnmarshalText(text []byte) error {
	if !percentForm.Match(text) {
		return fault.New(fault.CodeBadValue, "%q is not a share", text).Fix("write a number from 0 to 100 with a %% behind it, such as 99.9%%")
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(string(text), "%"), 64)
	if err != nil {
		panic("manifest: the form of a share lets through what is no number: " + err.Error())
	}
	*p = Percent(v)
	return nil
}

// MarshalText is String.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String is the share as a manifest writes it.
func (p Percent) String() string { return strconv.FormatFloat(float64(p), 'f', -1, 64) + "%" }

const thresholdPattern = `^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?(%|ms|s|m|h)?$`

var thresholdForm = regexp.MustCompile(`^([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(%|ms|s|m|h)?$`)

// Unit is what a threshold counts in.
type Unit string

// The units.
const (
	UnitNone    Unit = ""
	UnitShare   Unit = "share"   // a ratio: 1 is all
	UnitSeconds Unit = "seconds" // a time span
)

// Threshold is a number that a query's result is compared with: 0.05, 5% or 800ms.
type Threshold struct {
	Value float64 // of a share the ratio, of a time span its seconds
	Unit  Unit
}

// UnmarshalText reads "0.05", "5%" or "800ms".
func (t *Threshold) UnmarshalText(text []byte) error {
	bad := fault.New(fault.CodeBadValue, "%q is not a threshold", text).Fix("write a number, a share or a time span, such as 0.05, 5%% or 800ms")
	m := thresholdForm.FindStringSubmatch(string(text))
	if m == nil {
		return bad
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil || math.IsInf(v, 0) {
		return bad
	}
	switch m[2] {
	case "":
		*t = Threshold{Value: v}
	case "%":
		*t = Threshold{Value: v / 100, Unit: UnitShare}
	default:
		seconds := map[string]float64{"ms": 1e-3, "s": 1, "m": 60, "h": 3600}
		*t = Threshold{Value: v * seconds[m[2]], Unit: UnitSeconds}
	}
	return nil
}

// Wants tells whether a signal is forwarded.
func (f *Forward) Wants(signal string) bool {
	return len(f.Signals) == 0 || slices.Contains(f.Signals, signal)
}
