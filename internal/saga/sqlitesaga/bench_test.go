package sqlitesaga_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/saga"
)

// BenchmarkSagas measures sagas of six changes (created, changed four times, ended), a state of 1 KB, and 300 bytes of history with
// each change. So many are under way at once that each commit has the given number of changes. The time is that of the processor; the
// wait for the disk is told beside it.
func BenchmarkSagas(b *testing.B) {
	for _, batch := range []int{1, 8, 30, 60, 256} {
		b.Run(fmt.Sprint("batch", batch), func(b *testing.B) { benchSagas(b, batch) })
	}
}

func benchSagas(b *testing.B, batch int) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "sagas.db")
	s := open(b, path)
	defer func() { _ = s.Close() }()
	state, records := bytes.Repeat([]byte("s"), 1000), fmt.Appendf(nil, `["%s"]`, bytes.Repeat([]byte("r"), 296))
	under := make([]saga.Row, batch)
	n := 0
	var waits []time.Duration
	b.ReportAllocs()
	before := processor()
	for i := 0; b.Loop(); i++ {
		changes := make([]*saga.Change, 0, batch)
		for j := range under {
			r := &under[j]
			if i < j%6 {
				continue // they do not go in step
			}
			c := &saga.Change{Records: records}
			switch r.Rev {
			case 0, 6:
				n++
				*r = saga.Row{
					ID: fmt.Sprintf("01K5%022d", n), Saga: "order-to-cash", Hash: "0123456789ab", Key: fmt.Sprint("order-", n), Phase: saga.Running,
					Started: time.Unix(1_800_000_000, int64(n)), Rev: 1, State: state,
				}
				c.Create = &saga.Origin{Idem: fmt.Sprint("idem-", n), Print: "0123456789abcdef"}
			case 5:
				r.Rev++
				r.Phase, r.Wake, r.Ended = saga.Completed, saga.WakeNever, r.Started.Add(time.Second)
				r.Purge = r.Ended.Add(720 * time.Hour)
			default:
				r.Rev++
			}
			row := *r
			c.Row = &row
			changes = append(changes, c)
		}
		began := time.Now()
		if _, err := s.Commit(b.Context(), changes); err != nil {
			b.Fatal(err)
		}
		waits = append(waits, time.Since(began))
	}
	used := processor() - before
	slices.Sort(waits)
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N*batch), "cpu-ns/change")
	b.ReportMetric(float64(used.Microseconds())*6/float64(b.N*batch), "cpu-µs/saga")
	b.ReportMetric(float64(waits[len(waits)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(waits[len(waits)-1].Microseconds()), "max-µs")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/float64(max(1, n)), "disk-B/saga")
}

func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
