// Package otel holds tests in which the SDKs of OpenTelemetry, of Go and of JavaScript, export traces, metrics and logs
// over gRPC and HTTP. What is sent is the same for all, and Check tells whether it came.
package otel
