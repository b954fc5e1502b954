package platform_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/telemetry"
)

// sink is a store that may be busy.
type sink struct {
	mu             sync.Mutex
	busy           func(b *telemetry.Batch) bool
	spans, records int
	largest        int // bytes of records that came at once
}

func (s *sink) take(_ context.Context, b *telemetry.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy != nil && s.busy(b) {
		if len(b.Spans) > 0 && len(b.Records) > 0 {
			s.spans += len(b.Spans) // as a store may that keeps each signal by itself
		}
		return &telemetry.Busy{After: time.Second}
	}
	s.spans, s.records = s.spans+len(b.Spans), s.records+len(b.Records)
	n := 0
	for i := range b.Records {
		n += len(b.Records[i].Body.Str())
	}
	s.largest = max(s.largest, n)
	return nil
}

func TestSpansAreNotKeptAgainWhileRecordsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := 0
		s := &sink{busy: func(b *telemetry.Batch) bool {
			if len(b.Records) > 0 && refused < 5 {
				refused++
				return true
			}
			return false
		}}
		c := platform.StartCollector(s.take)
		c.Span(&telemetry.Span{})
		c.Record(&telemetry.Record{})
		<-time.After(10 * time.Second)
		c.Close()
		if s.spans != 1 || s.records != 1 || refused != 5 {
			t.Errorf("kept are %d spans and %d records, after %d refusals", s.spans, s.records, refused)
		}
	})
}

func TestLongLinesDoNotFillTheMemoryWhileTheStoreIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ready atomic.Bool
		s := &sink{busy: func(*telemetry.Batch) bool { return !ready.Load() }}
		c := platform.StartCollector(s.take)
		const lines = 100
		line := &telemetry.Record{Body: telemetry.String(strings.Repeat("x", 1<<20))}
		var written atomic.Int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range lines {
				c.Record(line)
				written.Add(1)
			}
		}()
		<-time.After(10 * time.Second)
		if n := written.Load(); n > 40 {
			t.Errorf("%d MB were taken while none could be kept", n)
		}
		ready.Store(true)
		<-done
		<-time.After(time.Second)
		c.Close()
		if s.records != lines {
			t.Errorf("%d lines were kept of %d", s.records, lines)
		}
		if s.largest > 20<<20 {
			t.Errorf("%d bytes came at once", s.largest)
		}
	})
}

func TestWhatIsAtHandWhenAtollEndsIsTriedToTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := &sink{busy: func(*telemetry.Batch) bool { return time.Since(began) < 4*time.Second }}
		c := platform.StartCollector(s.take)
		c.Span(&telemetry.Span{})
		c.Record(&telemetry.Record{})
		<-time.After(time.Second) // it is tried, and refused
		c.Span(&telemetry.Span{})
		c.Close()
		if s.spans != 2 || s.records != 1 {
			t.Errorf("kept are %d spans of 2 and %d records of 1", s.spans, s.records)
		}
	})
}

func TestACollectorEndsThoughItsStoreNeverTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{busy: func(*telemetry.Batch) bool { return true }}
		c := platform.StartCollector(s.take)
		c.Span(&telemetry.Span{})
		c.Record(&telemetry.Record{})
		<-time.After(time.Second)
		began := time.Now()
		c.Close()
		if took := time.Since(began); took > 7*time.Second {
			t.Errorf("it ended after %v", took)
		}
	})
}

// TestAStoreThatTakesNothingStopsReplicasForAWhileAlone writes lines while the store takes none: each waits at first, then none does.
func TestAStoreThatTakesNothingStopsReplicasForAWhileAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ready atomic.Bool
		s := &sink{busy: func(*telemetry.Batch) bool { return !ready.Load() }}
		c := platform.StartCollector(s.take)
		line := &telemetry.Record{Body: telemetry.String(strings.Repeat("x", 1<<20))}
		const replicas, each = 3, 40
		var writing sync.WaitGroup
		began := time.Now()
		for range replicas {
			writing.Go(func() {
				for range each {
					c.Record(line)
				}
			})
		}
		writing.Wait()
		if took := time.Since(began); took < 10*time.Second || took > 20*time.Second {
			t.Errorf("they stood still for %v", took)
		}
		ready.Store(true)
		<-time.After(time.Second)
		for range 5 { // there is room again
			c.Record(line)
		}
		c.Close()
		if lost := int(c.Left()); lost == 0 || s.records != replicas*each+5-lost {
			t.Errorf("%d lines were kept of %d, and %d counted", s.records, replicas*each+5, lost)
		}
	})
}
