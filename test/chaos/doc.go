// Package chaos breaks a running application under load and proves what users were promised: no request fails
// because of a reload, a restart, a change of scale or a killed replica, and nothing outlives a killed Atoll.
//
// The tests start the real program, built with the race detector, on services that are real processes. The load comes
// open loop: requests are sent at their times whether or not earlier ones were answered, so that a stall shows as late
// answers and not as fewer requests. Each test runs for seconds; with ATOLL_SOAK=1 for minutes.
package chaos
