// Package otlp speaks OTLP, the protocol of OpenTelemetry (https://opentelemetry.io/docs/specs/otlp/): it decodes and
// encodes requests, takes exports in over HTTP and gRPC, and forwards telemetry to other backends.
//
// # Decoding
//
// A Decoder reads Protocol Buffers by hand into the slabs of one batch, without a copy of texts: they alias the request,
// and are good until the next call of the Decoder. OTLP/JSON is written as Protocol Buffers first and then decoded, so
// both forms mean the same. Fields that are not known are skipped. A request may do what its Limits allow and not more:
// what is too long is cut and counted, what is too much is refused.
//
// A span without valid ids, and a point that contradicts itself, is rejected alone; the others are taken, and the sender
// is told how many and why (partial success). Bytes become Base64 in quotes, arrays and maps the text of JSON.
//
// # Taking in
//
// A Receiver hands each batch to a function, and acknowledges the export after that returned nil: not before it is
// durable. Exports of one connection may overtake each other.
//
// Backpressure: so many requests are read at once, so many decoded and taken, so many wait for their turn, and all
// together take so much memory. What comes beyond, and what the function refuses with *telemetry.Busy, is refused with
// 503 and Retry-After, or with UNAVAILABLE and a RetryInfo: senders keep it and try again. Requests that no repetition
// makes better are refused with 400, 413, or INVALID_ARGUMENT and RESOURCE_EXHAUSTED, and a text that says where they
// are wrong. Errors of ours are 500 and INTERNAL; the sender is told no more, the log says why.
//
// # Forwarding
//
// A Forwarder keeps requests in a queue on disk until the backend took them, and sends them in their order, one at a
// time. Each is sent at least once: after a crash those that were sent last may be sent again. When the queue is full
// the oldest segment is dropped and counted. What the backend refuses for good is dropped and counted too.
package otlp
