// Package telemetry holds what Atoll knows of a running application: spans, log records and events, metrics, and the language in
// which all of that is asked for.
//
// The nouns are those of OpenTelemetry. A Batch is what came together; a Store keeps spans and records and answers a Query, which
// ParseQuery reads. Match and Aggregator say, row by row, what a Query means; a Store answers the same faster. Drivers: block keeps
// rows on disk, metric keeps metrics, otlp speaks OTLP, jaeger serves Jaeger's API.
package telemetry
