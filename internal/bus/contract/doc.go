// Package contract holds events to what their topics promise.
//
// # Purpose
//
// A topic may name a JSON Schema in the manifest of a service that publishes it. Compile reads the schemas of an
// application; Check refuses an event whose data does not fit, before anybody gets it. AsyncAPI tells the whole of it, topics,
// publishers, subscribers and schemas, as one AsyncAPI 3.0 document (https://www.asyncapi.com/docs/reference/specification/v3.0.0).
//
// # Guarantees
//
// A schema is read as the draft that its $schema names, else as draft 2020-12. What it refers to is read from files beside it
// or elsewhere in the application's folder, never from a network: what is accepted depends on the application alone. As the
// drafts want it, format is an annotation from 2019-09 on, and checked before.
//
// Contracts never change once they are compiled, and may be used by any number of goroutines at once. Check neither waits
// nor reads files.
//
// # Failure
//
// Compile finds all schemas that are at fault, not only the first. Check answers a *fault.Error for the publisher, which names
// the topic, and of the first violations the place in the data, as a JSON pointer (RFC 6901), and the rule.
package contract
