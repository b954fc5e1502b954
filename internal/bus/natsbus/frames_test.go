package natsbus_test

import (
	"sync"
	"testing"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/bustest"
	"github.com/atollhq/atoll/internal/bus/natsbus"
)

func TestReadersAreNotLedAstrayWhilePlacesOfFramesAreForgotten(t *testing.T) {
	l := openEmbedded(t, t.TempDir())
	defer l.Close()
	natsbus.Remember(l.(embedded).Log, 4)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for range 100 {
			if _, err := l.Append(t.Context(), bus.StreamEvents, []*bus.Event{bustest.NewEvent("t", "", "x")}); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		for from := bus.Offset(1); ; {
			records, next, err := l.Read(t.Context(), bus.StreamEvents, from, 1, 1<<20)
			if err != nil || len(records) > 0 && records[0].Offset != from {
				t.Errorf("from %d on: %d records, next %d: %v", from, len(records), next, err)
			}
			from = next
			select {
			case <-done:
				return
			default:
			}
		}
	})
	wg.Wait()
}
