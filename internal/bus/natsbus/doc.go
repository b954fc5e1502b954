// Package natsbus keeps the events of the bus in NATS JetStream: in a server inside this process, or in a cluster.
//
// # Durability
//
// Append returns when the stream has the events on stable storage: the embedded server syncs before it acknowledges, a
// cluster does what it was set up to do. Several events are one atomic batch of JetStream, so that they share one sync; the
// stream holds each as a message of its own, in the CloudEvents binding for NATS, which any NATS client can read.
//
// # Names
//
// The streams are called APP-events, APP-delayed and so on, the subject of an event atoll.APP.STREAM.TOPIC.
//
// # The door
//
// Services that speak NATS come in by a Door: a server without storage in which each service has an account of its own, and
// sees nobody else's messages. It publishes to events.TOPIC, and gets an acknowledgement of JetStream's form once the event is
// durable; it takes events from deliver.TOPIC, and answers each as it would a consumer of JetStream.
package natsbus
