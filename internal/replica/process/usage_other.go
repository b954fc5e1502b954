//go:build !linux

package process

import "github.com/atollhq/atoll/internal/replica"

// usage is not known here.
type usage struct{}

func (*usage) of(int) replica.Usage { return replica.Usage{} }
