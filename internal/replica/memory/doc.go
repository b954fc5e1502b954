// Package memory is a driver of replicas that run inside this process: each program is a Go function, its
// port a listener in memory. It passes the same conformance suite as the driver of processes, starts no
// timer of its own and touches no file, so that a supervisor over it can be tested in a synctest bubble.
//
// Programs and builds are found by name: the first word of a run or build command. What a program was told
// (signals) and what it does (output, readiness, exit) go through its [Copy].
package memory
