//go:build !linux

package platform

// Capabilities tells what this machine can do for services.
func Capabilities() []Capability { return nil }
