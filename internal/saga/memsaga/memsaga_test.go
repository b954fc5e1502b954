package memsaga_test

import (
	"testing"

	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/memsaga"
	"github.com/atollhq/atoll/internal/saga/sagatest"
)

func TestConformance(t *testing.T) {
	sagatest.Run(t, func(*testing.T) *sagatest.World {
		return &sagatest.World{Open: func(*testing.T) saga.Store { return memsaga.New() }}
	})
}
