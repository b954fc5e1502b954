package otel_test

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// exporters are what an SDK sends with.
type exporters struct {
	traces  sdktrace.SpanExporter
	metrics sdkmetric.Exporter
	logs    sdklog.Exporter
}

func overGRPC(t *testing.T, url string, gzip bool) exporters {
	t.Helper()
	ctx := t.Context()
	to := []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL(url)}
	mo := []otlpmetricgrpc.Option{otlpmetricgrpc.WithEndpointURL(url)}
	lo := []otlploggrpc.Option{otlploggrpc.WithEndpointURL(url)}
	if gzip {
		to = append(to, otlptracegrpc.WithCompressor("gzip"))
		mo = append(mo, otlpmetricgrpc.WithCompressor("gzip"))
		lo = append(lo, otlploggrpc.WithCompressor("gzip"))
	}
	var e exporters
	var err error
	e.traces, err = otlptracegrpc.New(ctx, to...)
	must(t, err)
	e.metrics, err = otlpmetricgrpc.New(ctx, mo...)
	must(t, err)
	e.logs, err = otlploggrpc.New(ctx, lo...)
	must(t, err)
	return e
}

func overHTTP(t *testing.T, url string, gzip bool) exporters {
	t.Helper()
	ctx := t.Context()
	to := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(url + "/v1/traces")}
	mo := []otlpmetrichttp.Option{otlpmetrichttp.WithEndpointURL(url + "/v1/metrics")}
	lo := []otlploghttp.Option{otlploghttp.WithEndpointURL(url + "/v1/logs")}
	if gzip {
		to = append(to, otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
		mo = append(mo, otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression))
		lo = append(lo, otlploghttp.WithCompression(otlploghttp.GzipCompression))
	}
	var e exporters
	var err error
	e.traces, err = otlptracehttp.New(ctx, to...)
	must(t, err)
	e.metrics, err = otlpmetrichttp.New(ctx, mo...)
	must(t, err)
	e.logs, err = otlploghttp.New(ctx, lo...)
	must(t, err)
	return e
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestGoSDKExportsAllSignals(t *testing.T) {
	for name, gzip := range map[string]bool{"plain": false, "gzip": true} {
		t.Run("grpc "+name, func(t *testing.T) {
			c := collect(t)
			export(t, "go-grpc-"+name, overGRPC(t, c.grpc, gzip))
			c.check(t, "go-grpc-"+name)
		})
		t.Run("http "+name, func(t *testing.T) {
			c := collect(t)
			export(t, "go-http-"+name, overHTTP(t, c.http, gzip))
			c.check(t, "go-http-"+name)
		})
	}
}

// export sends what Check looks for.
func export(t *testing.T, service string, e exporters) {
	t.Helper()
	ctx := t.Context()
	r := resource.NewSchemaless(
		attribute.String("service.name", service), attribute.String("service.instance.id", service+"-1"))
	tp := sdktrace.NewTracerProvider(sdktrace.WithBatcher(e.traces), sdktrace.WithResource(r))
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(e.metrics)), sdkmetric.WithResource(r))
	lp := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(e.logs)), sdklog.WithResource(r))

	tracer := tp.Tracer("test-otel", trace.WithInstrumentationVersion("1.0.0"))
	in, checkout := tracer.Start(ctx, "checkout", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("order.id", "42"), attribute.Int("items", 3), attribute.Float64("price", 12.5),
		attribute.Bool("rush", true), attribute.StringSlice("tags", []string{"a", "b"}),
	))
	_, charge := tracer.Start(in, "charge", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithLinks(trace.Link{SpanContext: checkout.SpanContext()}))
	charge.End()
	checkout.AddEvent("paid", trace.WithAttributes(attribute.String("method", "card")))

	var record log.Record
	record.SetSeverity(log.SeverityWarn)
	record.SetSeverityText("WARN")
	record.SetBody(attribute.StringValue("stock is low"))
	record.AddAttributes(attribute.String("item", "tea"), attribute.Int("left", 2))
	lp.Logger("test-otel", log.WithInstrumentationVersion("1.0.0")).Emit(in, record)

	checkout.SetStatus(codes.Error, "no stock")
	checkout.End()
	measure(t, ctx, mp.Meter("test-otel", metric.WithInstrumentationVersion("1.0.0")))
	must(t, tp.Shutdown(ctx))
	must(t, mp.Shutdown(ctx))
	must(t, lp.Shutdown(ctx))
}

func measure(t *testing.T, ctx context.Context, m metric.Meter) { //nolint:revive // t comes first in a helper.
	t.Helper()
	orders, err := m.Int64Counter("orders", metric.WithUnit("{order}"), metric.WithDescription("Orders taken."))
	must(t, err)
	orders.Add(ctx, 5, metric.WithAttributes(attribute.String("region", "north")))
	stock, err := m.Int64UpDownCounter("stock")
	must(t, err)
	stock.Add(ctx, -2)
	latency, err := m.Float64Histogram("latency", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(0.5, 1))
	must(t, err)
	for _, v := range []float64{0.1, 0.2, 3} {
		latency.Record(ctx, v)
	}
}
