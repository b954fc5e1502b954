// Package power cuts the power of the disk that events are kept on, at moments that chance picks, and proves that nothing
// that was acknowledged is lost: events whole and in order, delayed events, dead letters, and places of subscriptions that
// are never ahead of what was settled.
//
// The bus and its embedded server run in the test, on a powerfs.Disk; their memory ends with the power, what subscribers
// have accepted does not. Every test prints its seed, and ATOLL_SEED repeats it. It cuts a few times; with ATOLL_SOAK=1, 200
// times on each kind of disk.
package power
