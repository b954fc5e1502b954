//go:build !linux

package process

import (
	"errors"

	"github.com/atollhq/atoll/internal/manifest"
)

// cgroups are known to Linux alone.
type cgroups struct{}

func newCgroups() *cgroups { return &cgroups{} }
func (*cgroups) close()    {}

func (*cgroups) make(string, manifest.Limits) (*cgroup, error) {
	return nil, errors.New("this system has no cgroups")
}

// cgroup limits nothing.
type cgroup struct{}

func (*cgroup) add(int) error     { return nil }
func (*cgroup) outOfMemory() bool { return false }
func (*cgroup) remove()           {}
