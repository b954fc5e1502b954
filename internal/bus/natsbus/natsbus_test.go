package natsbus_test

import (
	"testing"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/bustest"
	"github.com/atollhq/atoll/internal/bus/natsbus"
)

func TestEmbeddedLog(t *testing.T) {
	bustest.Run(t, func(t *testing.T) bustest.Open {
		t.Helper()
		dir := t.TempDir()
		return func(t *testing.T) bus.Log {
			t.Helper()
			return openEmbedded(t, dir)
		}
	})
}

// embedded is a log with a server of its own, which ends with it.
type embedded struct {
	*natsbus.Log
	server *natsbus.Server
}

func (e embedded) Close() error {
	err := e.Log.Close()
	e.server.Close()
	return err
}

func openEmbedded(t *testing.T, dir string) bus.Log {
	t.Helper()
	s, err := natsbus.StartServer(t.Context(), &natsbus.ServerOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	l, err := natsbus.Open(t.Context(), nc, "shop", nil)
	if err != nil {
		t.Fatal(err)
	}
	return embedded{l, s}
}
