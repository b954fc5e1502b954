// Package platform joins everything from a manifest into a running application. It is the only package that imports
// drivers and that lets one capability know of another, through small functions that it passes between them.
//
//	manifest ──► databases ──► call listeners ──► supervisor ──► endpoints ──► relay ◄── gateway, mesh
//	                                              │ lines, changes             │ hops
//	                                              ▼                            ▼
//	                                              log store, events            ring of spans
//
// The life of a Platform: Start takes the state folder (one Platform at a time, held by a lock), cleans what an earlier
// one left, and starts each part; what had started is ended again, in reverse order, when a later part cannot start.
// Stop drains the gateway, then the replicas, and ends the rest. A reload makes everything that can fail first, and
// then swaps; a manifest with errors changes nothing.
package platform
