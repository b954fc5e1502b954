// Package jaeger serves the HTTP API that Jaeger's own user interface and Grafana's data source for Jaeger read traces with, over
// what telemetry.Store keeps. It only reads. Who may ask is the caller's to decide.
//
// A search finds spans, the newest first, until it has as many traces as were asked for, and answers with those traces
// whole: at most 1,500 traces and about 200,000 spans, after which no further trace is added. Services and operations are listed
// from all that is kept of the last two days, as is the map of dependencies unless another time is asked for; it holds what
// Atoll saw itself.
//
// Tags in a search are text, as Jaeger's interface sends them: they match attributes of the span or its resource whose text is the
// same, whatever their kind. error, span.kind, otel.status_code and otel.scope.name mean what Jaeger means by them.
//
// The API is not versioned and has no standard; this follows what Jaeger 1 and 2 answer.
package jaeger
