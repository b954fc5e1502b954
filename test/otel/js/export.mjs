// Exports what Check of check.go looks for, with the OpenTelemetry SDK of JavaScript.
// Arguments: the name of the service, the protocol (grpc, http/protobuf or http/json), the endpoint, and gzip or none.
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { SeverityNumber } from "@opentelemetry/api-logs";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";
import { AggregationType, MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, BatchSpanProcessor } from "@opentelemetry/sdk-trace-node";

const [service, protocol, endpoint, compression] = process.argv.slice(2);
const packages = { grpc: "grpc", "http/protobuf": "proto", "http/json": "http" };

// exporter makes the exporter of a signal for the protocol.
async function exporter(signal, path, name) {
  const { [name]: Exporter } = await import(`@opentelemetry/exporter-${signal}-otlp-${packages[protocol]}`);
  return new Exporter({ url: protocol === "grpc" ? endpoint : `${endpoint}/v1/${path}`, compression });
}

const resource = resourceFromAttributes({ "service.name": service, "service.instance.id": `${service}-1` });
const tracers = new BasicTracerProvider({
  resource,
  spanProcessors: [new BatchSpanProcessor(await exporter("trace", "traces", "OTLPTraceExporter"))],
});
const meters = new MeterProvider({
  resource,
  readers: [new PeriodicExportingMetricReader({ exporter: await exporter("metrics", "metrics", "OTLPMetricExporter") })],
  views: [{
    instrumentName: "latency",
    aggregation: { type: AggregationType.EXPLICIT_BUCKET_HISTOGRAM, options: { boundaries: [0.5, 1] } },
  }],
});
const logExporter = await exporter("logs", "logs", "OTLPLogExporter");
const loggers = new LoggerProvider({
  resource,
  processors: [new BatchLogRecordProcessor({ exporter: logExporter })],
});

const tracer = tracers.getTracer("test-otel", "1.0.0");
const checkout = tracer.startSpan("checkout", {
  kind: SpanKind.SERVER,
  attributes: { "order.id": "42", items: 3, price: 12.5, rush: true, tags: ["a", "b"] },
}, ROOT_CONTEXT);
const inside = trace.setSpan(ROOT_CONTEXT, checkout);
tracer.startSpan("charge", { kind: SpanKind.CLIENT, links: [{ context: checkout.spanContext() }] }, inside).end();
checkout.addEvent("paid", { method: "card" });
loggers.getLogger("test-otel", "1.0.0").emit({
  severityNumber: SeverityNumber.WARN,
  severityText: "WARN",
  body: "stock is low",
  attributes: { item: "tea", left: 2 },
  context: inside,
});
checkout.setStatus({ code: SpanStatusCode.ERROR, message: "no stock" });
checkout.end();

const meter = meters.getMeter("test-otel", "1.0.0");
meter.createCounter("orders", { unit: "{order}", description: "Orders taken." }).add(5, { region: "north" });
meter.createUpDownCounter("stock").add(-2);
const latency = meter.createHistogram("latency", { unit: "s" });
for (const v of [0.1, 0.2, 3]) latency.record(v);

await tracers.shutdown();
await meters.shutdown();
await loggers.shutdown();
