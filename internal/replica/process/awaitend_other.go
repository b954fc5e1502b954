//go:build !linux

package process

// awaitEnd leaves the waiting to cmd.Wait.
func awaitEnd(int) {}
