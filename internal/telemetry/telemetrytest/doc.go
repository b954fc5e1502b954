// Package telemetrytest makes spans, records and metrics as a shop of 25 services would send them, for tests and benchmarks.
//
// # The mix
//
// A Generator is a function of its seed and its Options alone: the same ones give the same telemetry, byte for byte. Ids, urls, users, orders and
// times are fresh in every trace and record; nothing is repeated in cycles, so what is measured on disk is not flattered.
//
// Services: 25, in nine languages, with one to three replicas each (a Resource by each replica, shared by pointer), whose attributes are what
// the SDKs of OpenTelemetry send: telemetry.sdk.*, process.*, host.*, os.*, service.version, service.namespace,
// deployment.environment.name.
//
// Traces: 3 to 40 spans, about 14 on average. A trace begins with a request, or with a job, chosen by weights; the tables
// in operations.go say what each operation calls: other services over HTTP or gRPC (a client and a server span, each at its own
// service), databases (with statement), caches, topics (a producer span, and a consumer span with a delay) and functions of its own.
// Durations of what an operation does itself are log-normal around a median of the operation; the rest is the sum of what it calls.
// Attributes are those of OpenTelemetry's semantic conventions: http.*, url.*, server.*, client.*, network.*, user_agent.original, db.*,
// messaging.*, rpc.*, code.*, and of the application user.id, order.id, enduser.id, cart.items, app.*. Users (200,000), products (50,000),
// user agents and words follow Zipf's law; an order has a UUID of its own. 1 to 2 % of the spans have failed: the one where it
// happened has an exception event with a stack trace in the manner of its language, those above have the status error. 2 % have other events.
// Jobs have links to traces that came shortly before.
//
// Records: a third are lines of requests, 1 % stack traces of several lines; the others are JSON written as text, logfmt or plain text: each
// service has one form, and its own order of templates, which follow Zipf's law. A body has about 145 bytes on average; zstd (level 3) makes a sixth
// of them, where those of a replica lie together. A tenth are warnings or errors, a few are of level debug, the others info. One to five
// records belong together, as a request writes several: they share service, user, order and, in 40 % of the cases, the ids of a recent span of the
// same replica. A third have attributes.
//
// Metrics: of one replica at a time, what an HTTP server, a client of a database and a runtime report: histograms of 14 buckets, sums and gauges,
// cumulative, by route, method and status.
package telemetrytest
