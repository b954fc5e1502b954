package outbox_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/outbox"
	"github.com/atollhq/atoll/test/databases"
)

// BenchmarkPromptness measures how long it takes from the commit of a row until it is published.
func BenchmarkPromptness(b *testing.B) {
	for _, kind := range databases.Kinds() {
		b.Run(kind, func(b *testing.B) {
			db := fresh(b, kind)
			taken, running := make(chan time.Time, 1), newStates()
			db.start(b, func(context.Context, []*bus.Event) error {
				taken <- time.Now()
				return nil
			}, &outbox.Options{OnState: running.take})
			running.await(b, outbox.PhaseRunning)
			var all []time.Duration
			for b.Loop() {
				<-time.After(rand.N(30 * time.Millisecond)) // out of step with polls
				if err := db.insert(b.Context(), db.DB, fmt.Sprint(rand.Uint64()), "k"); err != nil {
					b.Fatal(err)
				}
				committed := time.Now()
				all = append(all, (<-taken).Sub(committed))
			}
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// BenchmarkServiceWrites measures what the forwarder costs the service: 16 writers commit a row each, with a forwarder
// at work, and without one and its trigger.
func BenchmarkServiceWrites(b *testing.B) {
	for _, kind := range databases.Kinds() {
		for _, with := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/forwarder=%t", kind, with), func(b *testing.B) {
				db := fresh(b, kind)
				db.DB.SetMaxIdleConns(16)
				l, running := newLedger(), newStates()
				if with {
					db.start(b, l.publish, &outbox.Options{OnState: running.take})
					running.await(b, outbox.PhaseRunning)
				} else if kind == databases.Postgres {
					db.exec(b, db.DB, "DROP TRIGGER atoll_outbox_notify ON atoll_outbox")
				}
				var mu sync.Mutex
				var all []time.Duration
				b.SetParallelism(8)
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					var own []time.Duration
					for pb.Next() {
						began := time.Now()
						if err := db.insert(b.Context(), db.DB, fmt.Sprint(rand.Uint64()), "k"); err != nil {
							b.Error(err)
						}
						own = append(own, time.Since(began))
					}
					mu.Lock()
					defer mu.Unlock()
					all = append(all, own...)
				})
				b.StopTimer()
				slices.Sort(all)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
				b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
				b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
				if with {
					l.await(b, "all", atLeast(b.N))
				}
			})
		}
	}
}

// BenchmarkBacklog measures how fast rows that are there already are forwarded.
func BenchmarkBacklog(b *testing.B) {
	for _, kind := range databases.Kinds() {
		b.Run(kind, func(b *testing.B) {
			db := fresh(b, kind)
			const rows = 20_000
			began := time.Now()
			tx, err := db.DB.BeginTx(b.Context(), nil)
			if err != nil {
				b.Fatal(err)
			}
			for i := range rows {
				if err := db.insert(b.Context(), tx, fmt.Sprint(i), "k"); err != nil {
					b.Fatal(err)
				}
			}
			statements := time.Since(began)
			if err := tx.Commit(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64((time.Since(began) - statements).Milliseconds()), "commit-ms")
			left := rows
			done := make(chan struct{})
			b.ResetTimer()
			db.start(b, func(context.Context, []*bus.Event) error { return nil }, &outbox.Options{OnBatch: func(batch outbox.Batch) {
				if left -= batch.Published; left == 0 {
					close(done)
				}
			}})
			<-done
			b.ReportMetric(rows/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
