package std_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/relay/relaytest"
	"github.com/atollhq/atoll/internal/relay/std"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDriverKeepsToTheSuite(t *testing.T) {
	relaytest.Run(t, func() relay.Driver { return std.New() })
}
