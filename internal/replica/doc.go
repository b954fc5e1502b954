// Package replica keeps the copies of services running: it builds them, starts them, asks whether they are
// ready, restarts what crashes, replaces them without a gap and ends them without losing a request.
//
// A replica is one supervised copy of a service. Everything that is decided is decided by [Machine], a pure
// step function for one service: no clock, no I/O, no goroutine; the time and the randomness come in with
// each event, and what is to be done comes out as data. [Supervisor] is the shell that does it, by means of a
// [Driver], which knows what a copy is made of (a process, a program in memory, later a container).
//
// # Guarantees
//
//   - A replica has at most one process at a time; the next one starts after the last one has ended.
//   - A replica that served is withdrawn (OnEndpoints) and drained (Options.Drain) before it is told to end,
//     and gets its grace before it is killed. What crashed needs no draining.
//   - A new generation (changed manifest, Restart, Rebuild) begins beside the old one: an old replica is
//     drained only when a new one is ready in its place. When the new one crashes before it is ready, or its
//     build fails, the old one goes on serving. A service with a fixed port is the exception: the old replica
//     ends, then the new one starts.
//   - A service has at most one build at a time. One that runs is ended when the service is stopped or is to
//     be built in another way (Apply); what Rebuild asks for meanwhile is one build after it.
//   - After a crash the replica is started again after a random delay below 100 ms, and the bound doubles
//     with each further crash, up to 30 s (exponential backoff with full jitter). What can never succeed (a
//     program that is not there, a build that failed) is not tried again until something changes.
//
// # Ordering
//
// Each service has one goroutine, its actor, in which its events are handled one after the other. OnChange
// and OnEndpoints are called one at a time, for each service in the order in which things happened, and the
// set of endpoints is current before the change that goes with it is told. OnLine is called one at a time;
// the lines of one stream of one replica are in order.
//
// # Backpressure
//
// The callbacks run on the actors: one that blocks holds up the supervision of that service (and the others,
// when they have something to tell). An OnLine that blocks makes the programs wait when they write. Requests
// to the supervisor (Apply, Scale, Restart, Rebuild) never wait in a queue: each replaces or joins the one
// before it that has not been handled yet.
//
// # Failure
//
// Errors of the driver become changes with a [fault.Error] in them; nothing is retried faster than the
// backoff allows. Stop is bounded by its context: what has not ended by then is killed.
package replica
