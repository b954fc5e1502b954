package membus_test

import (
	"testing"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/bustest"
	"github.com/atollhq/atoll/internal/bus/membus"
)

func TestLog(t *testing.T) {
	bustest.Run(t, func(*testing.T) bustest.Open {
		l := membus.New() // what it keeps outlives its Close
		return func(*testing.T) bus.Log { return l }
	})
}
