// Package cloudevents carries events over HTTP: the HTTP protocol binding and the JSON event format of CloudEvents 1.0.2
// (https://github.com/cloudevents/spec), both ways.
//
// # Purpose
//
// Decode makes events of a request that publishes. It takes all three content modes, and also a body that is no CloudEvent
// at all, so that anything that can send a request can publish. Encode writes an event's attributes into the headers of a
// delivery (binary mode; the data is the body). Marshal and Unmarshal are the JSON format, for those who read or keep events
// as text.
//
// # Guarantees
//
// What Decode returns is a CloudEvent by the letter of the specification and within the limits of the bus; all else is
// refused with a fault that names the attribute. A batch is taken as a whole or not at all. Attributes of Atoll's own (their
// names begin with "atoll") cannot come in by Decode and do not go out by Encode; Marshal and Unmarshal carry them.
//
// An event that is encoded and decoded again is the same, with these exceptions: times are told in UTC, and data in the JSON
// format without a datacontenttype gets the one that the format implies, application/json.
//
// # Failure
//
// Every error is a *fault.Error for the publisher. Nothing here waits, keeps state, or starts anything; memory is bounded
// by the body, of which the caller reads at most MaxBody.
package cloudevents
