package memory_test

import (
	"testing"

	"github.com/atollhq/atoll/internal/alert"
	"github.com/atollhq/atoll/internal/alert/alerttest"
	"github.com/atollhq/atoll/internal/alert/memory"
)

func TestStoreKeepsWhatWasSaved(t *testing.T) {
	s := &memory.Store{}
	alerttest.Run(t, func() alert.Store { return s })
}
