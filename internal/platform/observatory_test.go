package platform_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/telemetry"
)

func TestAReaderFindsWhatWasSeenBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := 0
		c := platform.NewCollector(func(_ context.Context, b *telemetry.Batch) error {
			kept += len(b.Spans)
			return nil
		}, slog.New(slog.DiscardHandler))
		defer c.Close()
		begin := time.Now()
		for want := 1; want <= 3; want++ {
			c.Span(&telemetry.Span{})
			c.Settle(t.Context())
			if kept != want || !time.Now().Equal(begin) {
				t.Errorf("%d spans were kept after %v, want %d at once", kept, time.Since(begin), want)
			}
		}
	})
}

func TestAReaderDoesNotWaitForADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan struct{})
		c := platform.NewCollector(func(context.Context, *telemetry.Batch) error {
			<-hung
			return nil
		}, slog.New(slog.DiscardHandler))
		c.Span(&telemetry.Span{})
		begin := time.Now()
		c.Settle(t.Context())
		c.Settle(t.Context())
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("two readers waited %v", took)
		}
		close(hung)
		c.Close()
		c.Settle(t.Context()) // and afterwards not at all
	})
}

func TestOnlyAStandardPortOfOTLPIsPassedByWhereItIsTaken(t *testing.T) {
	standard, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:4317")
	if err == nil { // else another program has it, which is as good
		defer standard.Close()
	}
	ln, other, err := platform.ListenOTLP(t.Context(), "127.0.0.1:4317", "grpc")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if !other || ln.Addr().String() == "127.0.0.1:4317" {
		t.Errorf("it listens on %v, another: %t", ln.Addr(), other)
	}
	if _, _, err := platform.ListenOTLP(t.Context(), ln.Addr().String(), "grpc"); fault.CodeOf(err) != fault.CodePortInUse {
		t.Errorf("an address that was asked for and is taken: %v", err)
	}
}
