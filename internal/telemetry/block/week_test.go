package block_test

import (
	"context"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block"
)

// load is what a store takes at a moment, and what it costs to ask for the newest rows.
type load struct {
	heap, files int
	disk, log   int64
	rows        int64 // kept
	newest      telemetry.Reach
	ofService   telemetry.Reach
}

func measure(t *testing.T, s *block.Store, dir string) load {
	t.Helper()
	var l load
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	l.heap = int(m.HeapInuse)
	if open, err := os.ReadDir("/proc/self/fd"); err == nil { // else it cannot be told here
		l.files = len(open)
	}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if filepath.Ext(path) == ".wal" {
			l.log += info.Size()
		} else {
			l.disk += info.Size()
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	u, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range u.Services {
		l.rows += x.Spans + x.Records
	}
	ask := func(text string) telemetry.Reach {
		n := 0
		reach, err := s.Find(t.Context(), telemetry.Logs, telemetry.Range{}, parse(t, telemetry.Logs, text), func(telemetry.Row) error {
			n++
			return nil
		})
		if err != nil || n != 100 {
			t.Fatalf("%s: %d rows, %v", text, n, err)
		}
		return reach
	}
	l.newest, l.ofService = ask("| limit 100"), ask("service = orders | limit 100")
	return l
}

// TestAWeekOfABusyAppStaysWithinItsLimits appends what an app has in a week, hour by hour, to a store that keeps two days and a few megabytes. Once
// it is full it must stay as it is: in memory, files and bytes, and in the work that the newest rows take.
func TestAWeekOfABusyAppStaysWithinItsLimits(t *testing.T) {
	perHour, maxBytes, memRows := 300, int64(1_100_000), 1900
	if os.Getenv("ATOLL_SOAK") != "" {
		perHour, maxBytes, memRows = 12_000, 40_000_000, 70_000
	}
	const keep, spare = 2 * 24 * time.Hour, 8 * 24 * time.Hour
	w := newWorld(rand.Uint64())
	dir := t.TempDir()
	s := open(t, dir, &block.Options{MemRows: memRows, MaxBytes: maxBytes, MaxAge: spare})
	begin := time.Now().Add(-7 * 24 * time.Hour)
	followed := follow(t, s)
	var days [7]load
	for hour := range 7 * 24 {
		for half := range 2 {
			now := begin.Add(time.Duration(hour) * time.Hour).Add(time.Duration(half) * 30 * time.Minute)
			w.now = now.UnixNano()
			b := w.batch(perHour/2, perHour/2)
			if hour/24 == 3 { // a day on which one service goes wild
				for i := range b.Records {
					if i%10 > 0 {
						b.Records[i].Resource = w.resources[0]
					}
				}
			}
			w.spans, w.records = nil, nil // nobody compares
			add(t, s, b)
			// The clock of the store runs on by itself: what it is told is as late as makes two days of its eight.
			s.Retain(now.Add(spare - keep))
		}
		awaitBlocks(t, s)
		if hour%24 == 23 {
			s.Retain(begin.Add(time.Duration(hour+1) * time.Hour).Add(spare - keep))
			days[hour/24] = measure(t, s, dir)
			t.Logf("day %d: %+v", hour/24+1, days[hour/24])
		}
	}
	full := days[2]
	for i, day := range days[3:] {
		if day.disk > maxBytes {
			t.Errorf("day %d: %d bytes on disk of %d", i+4, day.disk, maxBytes)
		}
		if day.heap > full.heap+full.heap/2+8<<20 {
			t.Errorf("day %d: %d bytes of memory, after %d on the third", i+4, day.heap, full.heap)
		}
		if day.files > full.files+full.files/2+20 {
			t.Errorf("day %d: %d files are open, after %d on the third", i+4, day.files, full.files)
		}
		if day.log > 4*full.log+1<<20 {
			t.Errorf("day %d: %d bytes of log, after %d on the third", i+4, day.log, full.log)
		}
	}
	// On each processor one block may have been begun before the newest rows were known.
	extra := 2 + runtime.GOMAXPROCS(0)
	for i, day := range days[1:] {
		if day.newest.Blocks > days[0].newest.Blocks+extra || day.ofService.Blocks > days[0].ofService.Blocks+extra {
			t.Errorf("day %d: the newest rows lie in %d and %d blocks, on the first day in %d and %d", i+2, day.newest.Blocks, day.ofService.Blocks,
				days[0].newest.Blocks, days[0].ofService.Blocks)
		}
	}
	if got := followed(); got != int64(7*24*2*(perHour/2)) {
		t.Errorf("%d records were followed or missed of %d", got, 7*24*2*(perHour/2))
	}
}

// follow follows all records and counts them, those that were missed too.
func follow(t *testing.T, s *block.Store) (count func() int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	q := parse(t, telemetry.Logs, "")
	n := int64(0)
	done := make(chan error, 1)
	arrived := make(chan struct{})
	go func() {
		first := true
		done <- s.Follow(ctx, telemetry.Logs, q, telemetry.History{Last: -1}, func(_ telemetry.Row, missed int64) error {
			if first { // a mark, which does not count
				first = false
				close(arrived)
				return nil
			}
			n += 1 + missed
			return nil
		})
	}()
	mark := &telemetry.Batch{Records: []telemetry.Record{{Resource: &telemetry.Resource{Service: "mark"}, Time: time.Now().Add(-7 * 24 * time.Hour).UnixNano()}}}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for marked := false; !marked; {
		if s.Followed(telemetry.Logs) > 0 {
			add(t, s, mark)
			<-arrived
			marked = true
		}
		<-tick.C
	}
	return func() int64 {
		if err := s.Close(); err != nil { // what waits is still told
			t.Error(err)
		}
		err := <-done
		cancel()
		if err != nil {
			t.Error(err)
		}
		return n
	}
}
