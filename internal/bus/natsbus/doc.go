// Package natsbus keeps the events of the bus in NATS JetStream: in a server inside this process, or in a cluster.
//
// # Durability
//
// Append returns when the stream has the events on stable storage: the embedded server syncs before it acknowledges, a
// cluster does what it was set up to do. The stream of events keeps the events of one Append as one message, a frame, so that they
// share one sync. The other streams, of which single records are dropped, keep each event as a frame and message of its own;
// several of them are one atomic batch of JetStream: all of them are there, or none.
//
// # Limits
//
// An event takes at most what the server takes in one message (max_payload), without the room for what a dead letter adds:
// MaxRecord. The bus refuses a larger one by itself, so that it takes no others with it.
//
// # Owners
//
// One process writes a log. In a cluster it holds a lease, which it renews every 3 s; who has not for 10 s writes nothing until it
// has, and may be followed by another. Who finds that another has followed it writes nothing any more, and says so by OnLost.
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
