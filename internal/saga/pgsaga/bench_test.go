package pgsaga_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/pgsaga"
	"github.com/atollhq/atoll/test/databases"
)

// BenchmarkSagas measures sagas of six changes (created, changed four times, ended), a state of 1 KB, and 300 bytes of history with
// each change, so many of them in one commit.
func BenchmarkSagas(b *testing.B) {
	for _, batch := range []int{1, 8, 60} {
		b.Run(fmt.Sprint("batch", batch), func(b *testing.B) {
			db := servers.Fresh(b, databases.Postgres)
			s := open(b, db, &pgsaga.Options{Lease: time.Hour})
			defer func() { _ = s.Close() }()
			claimed, err := s.Claim(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			state, records := bytes.Repeat([]byte("s"), 1000), fmt.Appendf(nil, `["%s"]`, bytes.Repeat([]byte("r"), 296))
			under := make([]saga.Row, batch)
			n := 0
			for i := 0; b.Loop(); i++ {
				changes := make([]*saga.Change, 0, batch)
				for j := range under {
					r := &under[j]
					c := &saga.Change{Records: records}
					switch {
					case i < j%6: // they do not go in step
						continue
					case r.Rev == 0, r.Rev == 6:
						n++
						*r = saga.Row{
							ID: fmt.Sprintf("01K5%022d", n), Saga: "order-to-cash", Hash: "0123456789ab", Phase: saga.Running, Started: time.Unix(1_800_000_000, 0),
							Rev: 1, State: state, Shard: claimed.Owned[n%len(claimed.Owned)],
						}
						c.Create = &saga.Origin{Idem: fmt.Sprint("idem-", n), Print: "0123456789abcdef"}
					case r.Rev == 5:
						r.Rev++
						r.Phase, r.Wake, r.Purge = saga.Completed, saga.WakeNever, r.Started.Add(720*time.Hour)
					default:
						r.Rev++
					}
					row := *r
					c.Row = &row
					changes = append(changes, c)
				}
				if _, err := s.Commit(b.Context(), changes); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())*6/float64(b.N*batch), "µs/saga")
		})
	}
}
