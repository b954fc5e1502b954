// Package leads takes leads in and drives each through the pipeline: enrichment, qualification, routing, CRM.
//
// # Guarantees
//
// A lead that was acknowledged is on disk, and is driven until it is done or stuck, whatever is killed when. A
// person is one lead: addresses that differ only in case, in a plus tag, or (at Gmail) in dots are the same
// person's, and a second submission gives the first lead. Every step may run twice after a crash; what it calls
// takes the same lead twice without harm.
//
// # Ordering
//
// Leads are picked up in the order in which they came, and are worked on side by side. Each change of a lead has
// a number that is larger than all before; a reader who asks for what is larger than the last number it saw gets
// the latest state of everything that changed since, and misses nothing.
//
// # Backpressure and failure
//
// The queue of the pipeline is the table itself. At most PipelineOptions.Workers leads are under way in one
// replica; several replicas share the table by leases. A step that fails for now (the callee is away, answers 5xx
// or 429) is tried again with exponential backoff and jitter, without end; one that fails for good (any other
// 4xx) leaves the lead stuck, with the reason, until somebody asks for another try.
package leads
