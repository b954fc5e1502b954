package sagatest

import "testing"

// runShared runs what several engines at one store do.
func runShared(t *testing.T, driver Driver) { //nolint:thelper // it runs tests
	_ = driver
}
