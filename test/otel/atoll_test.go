package otel_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
	"github.com/atollhq/atoll/test/internal/rig"
	"github.com/atollhq/atoll/test/otel"
)

// atoll is a running application of one idle service, and where its OTLP comes in.
type atoll struct {
	*client.Client
	grpc, http string // URLs
}

// up runs the real program for as long as a test.
func up(t *testing.T) *atoll {
	t.Helper()
	dir, err := os.MkdirTemp("", "ao") //nolint:usetesting // a short name, for the socket
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	programs, err := rig.Build(t.Context(), dir)
	must(t, err)
	shop := filepath.Join(dir, "shop")
	for name, text := range map[string]string{
		"atoll.yaml":        "app: shop\nservices: [idle]\ngateway: {listen: \"127.0.0.1:0\"}\ntelemetry: {otlp: {grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\"}}\n",
		"idle/service.yaml": "service: idle\nrun: " + programs.Service + "\nready: /healthz\n",
	} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(shop, name)), 0o700))
		must(t, os.WriteFile(filepath.Join(shop, name), []byte(text), 0o600))
	}
	command(t, programs.Atoll, "-C", shop, "up", "-d")
	t.Cleanup(func() { command(t, programs.Atoll, "-C", shop, "down") })
	c, err := client.Dial(t.Context(), filepath.Join(shop, ".atoll"))
	must(t, err)
	t.Cleanup(c.Close)
	usage, err := c.TelemetryUsage(t.Context())
	must(t, err)
	return &atoll{c, "http://" + usage.GRPC, "http://" + usage.HTTP}
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// check holds what Atoll tells of a service against what it sent.
func (a *atoll) check(t *testing.T, service string) {
	t.Helper()
	all := telemetry.Batch{}
	for signal, kind := range map[string]otlp.Signal{"traces": otlp.Traces, "logs": otlp.Logs} {
		must(t, a.Export(t.Context(), &api.ExportQuery{Signal: signal, Query: "service = " + service}, func(request []byte) error {
			b, _, err := otlp.NewDecoder(otlp.Limits{}, nil).DecodeJSON(kind, request)
			if err == nil {
				all.Spans, all.Records = append(all.Spans, b.Spans...), append(all.Records, b.Records...)
			}
			return err
		}))
	}
	for _, wrong := range otel.CheckRows(service, all.Spans, all.Records) {
		t.Errorf("exported: %s", wrong)
	}
	a.checkFound(t, service)
	a.checkMetrics(t, service)
}

// checkFound looks at the answers to queries.
func (a *atoll) checkFound(t *testing.T, service string) {
	t.Helper()
	spans, err := a.Traces(t.Context(), &api.TracesQuery{Query: "service = " + service + " and order.id = 42", Spans: true})
	must(t, err)
	if len(spans.Spans) != 1 || spans.Spans[0].Name != "checkout" || spans.Spans[0].StatusText != "no stock" || fmt.Sprint(spans.Spans[0].Attributes["items"]) != "3" {
		t.Errorf("found spans: %+v", spans.Spans)
		return
	}
	records, err := a.Records(t.Context(), &api.RecordsQuery{Query: "service = " + service + " and item = tea and level = warn"})
	must(t, err)
	if len(records.Records) != 1 || records.Records[0].Text != "stock is low" || records.Records[0].SpanID != spans.Spans[0].SpanID {
		t.Errorf("found records: %+v", records.Records)
	}
	trace, err := a.Trace(t.Context(), spans.Spans[0].TraceID, true)
	must(t, err)
	if len(trace.Spans) != 2 || len(trace.Records) != 1 {
		t.Errorf("the trace has %d spans and %d records", len(trace.Spans), len(trace.Records))
	}
}

// checkMetrics asks by Prometheus' API.
func (a *atoll) checkMetrics(t *testing.T, service string) {
	t.Helper()
	for query, want := range map[string]float64{
		`orders_total{service="%s",region="north"}`:       5,
		`stock{service="%s"}`:                             -2,
		`latency_seconds_count{service="%s"}`:             3,
		`latency_seconds_bucket{service="%s",le="0.5"}`:   2,
		`latency_seconds_bucket{service="%s",le="1.0"}`:   2,
		`latency_seconds_bucket{service="%s",le="+Inf"}`:  3,
		`round(latency_seconds_sum{service="%s"}, 0.001)`: 3.3,
	} {
		query = strings.ReplaceAll(query, "%s", service)
		m, err := a.Metrics(t.Context(), query, time.Time{})
		must(t, err)
		if len(m.Series) != 1 || len(m.Series[0].Points) != 1 || m.Series[0].Points[0].Value != want {
			t.Errorf("%s: %+v, want %v", query, m.Series, want)
		}
	}
}

func TestAtollAnswersWithWhatSDKsExported(t *testing.T) {
	a := up(t)
	t.Run("go over grpc", func(t *testing.T) {
		export(t, "go-grpc", overGRPC(t, a.grpc, true))
		a.check(t, "go-grpc")
	})
	t.Run("go over http", func(t *testing.T) {
		export(t, "go-http", overHTTP(t, a.http, true))
		a.check(t, "go-http")
	})
	t.Run("js", func(t *testing.T) {
		dir := install(t)
		for _, c := range []struct{ service, protocol, endpoint string }{
			{"js-grpc", "grpc", a.grpc}, {"js-http", "http/protobuf", a.http}, {"js-json", "http/json", a.http},
		} {
			cmd := exec.CommandContext(t.Context(), "node", "export.mjs", c.service, c.protocol, c.endpoint, "gzip")
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Fatalf("%v: %s", err, out)
			}
			a.check(t, c.service)
		}
	})
}
