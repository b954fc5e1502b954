package natsbus_test

import (
	"sync"
	"testing"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/bustest"
	"github.com/atollhq/atoll/internal/bus/natsbus"
)

func TestPlacesOfFramesAreFoundWhileOthersAreForgotten(t *testing.T) {
	e := openEmbedded(t, t.TempDir())
	l := e.(embedded).Log
	natsbus.Remember(l, 4)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for range 200 {
			if _, err := l.Append(t.Context(), bus.StreamEvents, []*bus.Event{bustest.NewEvent("t", "", "x")}); err != nil {
				t.Error(err)
			}
		}
	})
	for range 2 {
		wg.Go(func() {
			for latest := bus.Offset(0); ; {
				found, err := natsbus.Find(t.Context(), l, 1<<40)
				if err != nil || found < latest {
					t.Errorf("the last frame is %d, after %d: %v", found, latest, err)
				}
				latest = found
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	wg.Wait()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
