package metric_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/metric"
)

// crashDir is the variable that makes this binary the child of a crash test.
const crashDir = "METRIC_TEST_CRASH_DIR"

// crashChild appends until it is killed, and says on stdout what was acknowledged.
func crashChild(dir string) int {
	s, err := metric.Open(dir, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	start := time.Now().Add(-time.Minute)
	for i := 0; ; i++ {
		at := start.Add(time.Duration(i) * time.Millisecond)
		batch := []telemetry.Metric{
			gauge("orders", "n", at, float64(i)),
			gauge("orders", "series", at, float64(i), str("i", strconv.Itoa(i))),
		}
		if _, err := s.Append(context.Background(), batch); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Fprintln(os.Stdout, i, at.UnixMilli())
	}
}

func TestAcknowledgedSamplesSurviveKill(t *testing.T) {
	for round := range 3 {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acked, last := 0, int64(0)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var n int
			var ms int64
			if _, err := fmt.Sscan(lines.Text(), &n, &ms); err != nil {
				break // a torn line
			}
			acked, last = n+1, ms
			if acked == 50+100*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait()
		if acked < 50 {
			t.Fatalf("the child ended after %d", acked)
		}
		s := openIn(t, dir, &metric.Options{Now: time.Now})
		at := time.UnixMilli(last)
		if got := instantAt(t, s, `count(last_over_time(series[5m]))`, at); !slices.Equal(got, []string{strconv.Itoa(acked)}) {
			t.Errorf("series: %q, %d were acknowledged", got, acked)
		}
		if got := instantAt(t, s, `count_over_time(n[5m])`, at); !slices.Equal(got, []string{"service=orders " + strconv.Itoa(acked)}) {
			t.Errorf("samples: %q, %d were acknowledged", got, acked)
		}
	}
}

func TestWhatWasKeptIsThereWhenItIsOpenedAgain(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir, nil)
	add(t, s, gauge("orders", "g", noon, 42))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openIn(t, dir, nil)
	expect(t, s, "g", "__name__=g service=orders 42")
	if st := s.Stats(); st.Series != 1 || st.Services["orders"].Series != 1 || len(st.Torn) != 0 || !st.Oldest.Equal(noon) || st.Bytes == 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestDamageIsSetAsideAndTheStoreOpens(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir, nil)
	add(t, s, gauge("orders", "first", noon, 1))
	add(t, s, gauge("orders", "second", noon, 2))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	block := "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	if err := os.MkdirAll(filepath.Join(dir, block, "chunks"), 0o700); err != nil {
		t.Fatal(err)
	}
	meta := `{"ulid":"` + block + `","minTime":1,"maxTime":2,"stats":{},"compaction":{"level":1},"version":1}`
	for name, text := range map[string]string{"meta.json": meta, "index": "torn"} {
		if err := os.WriteFile(filepath.Join(dir, block, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wal := filepath.Join(dir, "wal", "00000000")
	b, err := os.ReadFile(wal)
	if err != nil {
		t.Fatal(err)
	}
	end := len(strings.TrimRight(string(b), "\x00"))
	b[end-1] ^= 0xff // the last record
	if err := os.WriteFile(wal, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openIn(t, dir, nil)
	if got := s.Stats().Torn; !slices.Equal(got, []string{block, "wal"}) {
		t.Errorf("torn: %q", got)
	}
	expect(t, s, "first", "__name__=first service=orders 1")
	moved, err := filepath.Glob(filepath.Join(dir, "torn", block+".*"))
	if err != nil || len(moved) != 1 {
		t.Errorf("moved %q, %v", moved, err)
	}
	if n := add(t, s, gauge("orders", "third", noon, 3)); n != 0 {
		t.Error("nothing can be added any more")
	}
}

func TestALogThatCannotBeReadAtAllDoesNotKeepItClosed(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"00000000", "00000002"} { // a segment is missing
		if err := os.WriteFile(filepath.Join(dir, "wal", name), []byte("garbage"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := openIn(t, dir, nil)
	if got := s.Stats().Torn; !slices.Contains(got, "wal") {
		t.Errorf("torn: %q", got)
	}
	add(t, s, gauge("orders", "g", noon, 1))
	expect(t, s, "g", "__name__=g service=orders 1")
}

// A power cut may keep the removal of a later segment and not that of an earlier one.
func TestATruncationThatWasHalfKeptIsFinished(t *testing.T) {
	dir := t.TempDir()
	start := time.Now().Add(-time.Minute)
	const segments = 4 // each opening begins one
	for i := range segments {
		s := openIn(t, dir, &metric.Options{Now: time.Now})
		if _, err := s.Append(t.Context(), []telemetry.Metric{gauge("orders", "n", start.Add(time.Duration(i)*time.Second), float64(i))}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wal := filepath.Join(dir, "wal")
	segment := func(folder string, n int) string { return filepath.Join(wal, folder, fmt.Sprintf("%08d", n)) }
	checkpoint := "checkpoint." + filepath.Base(segment("", 1))
	if err := os.Mkdir(filepath.Join(wal, checkpoint), 0o700); err != nil {
		t.Fatal(err)
	}
	for n := range 2 { // it holds what the first two do
		text, err := os.ReadFile(segment("", n))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(segment(checkpoint, n), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(segment("", 1)); err != nil { // and the removal of the first is lost
		t.Fatal(err)
	}
	s := openIn(t, dir, &metric.Options{Now: time.Now})
	if got := instantAt(t, s, `sum(count_over_time(n[5m]))`, start.Add(segments*time.Second)); !slices.Equal(got, []string{strconv.Itoa(segments)}) {
		t.Errorf("of %d samples there are %q; set aside: %q", segments, got, s.Stats().Torn)
	}
}

func TestALoudServiceLosesItsOwnSeriesFirst(t *testing.T) {
	s := open(t, &metric.Options{MaxSeries: 100, MaxServiceSeries: 95})
	series := func(service string, n int) (dropped int) {
		for i := range n {
			dropped += add(t, s, gauge(service, "g", noon, 1, str("i", strconv.Itoa(i))))
		}
		return dropped
	}
	if n := series("quiet", 3); n != 0 {
		t.Errorf("quiet: %d dropped", n)
	}
	if n := series("loud", 200); n != 200-87 { // up to nine tenths of all
		t.Errorf("loud: %d dropped, want %d", n, 200-87)
	}
	if n := series("quiet", 10); n != 0 {
		t.Errorf("quiet, when it is nearly full: %d dropped", n)
	}
	st := s.Stats()
	if st.Series != 97 || st.Services["loud"].Dropped[metric.CauseSeries] != 113 || st.Services["quiet"].Series != 10 {
		t.Errorf("stats %+v", st)
	}
	if n := add(t, s, gauge("loud", "g", noon.Add(time.Second), 2, str("i", "5"))); n != 0 {
		t.Error("a series that is there does not go on")
	}
}

func TestAServiceHasAShareOfItsOwn(t *testing.T) {
	s := open(t, &metric.Options{MaxSeries: 1000, MaxServiceSeries: 5})
	dropped := 0
	for i := range 8 {
		dropped += add(t, s, gauge("orders", "g", noon, 1, str("i", strconv.Itoa(i))))
	}
	if dropped != 3 {
		t.Errorf("%d dropped, want 3", dropped)
	}
}

func TestSamplesBeyondTheRateAreDropped(t *testing.T) {
	now := noon
	s := open(t, &metric.Options{Rate: 10, Now: func() time.Time { return now }})
	send := func(service string, n int) (dropped int) {
		for i := range n {
			dropped += add(t, s, gauge(service, "g", now.Add(time.Duration(i)*time.Millisecond), 1))
		}
		return dropped
	}
	if n := send("loud", 50); n != 30 { // two seconds at once, and then no more
		t.Errorf("loud: %d dropped, want 30", n)
	}
	if n := send("quiet", 5); n != 0 {
		t.Errorf("quiet: %d dropped", n)
	}
	now = now.Add(time.Second)
	if n := send("loud", 20); n != 10 {
		t.Errorf("loud, a second later: %d dropped, want 10", n)
	}
	if got := s.Stats().Services["loud"]; got.Dropped[metric.CauseRate] != 40 || got.Samples != 30 {
		t.Errorf("counted %+v", got)
	}
}

func TestMoreServicesThanAreCountedDoNotGrowTheCounts(t *testing.T) {
	s := open(t, nil)
	batch := make([]telemetry.Metric, 1200)
	for i := range batch {
		batch[i] = gauge(fmt.Sprintf("s%04d", i), "g", noon, 1)
	}
	if n := add(t, s, batch...); n != 0 {
		t.Errorf("%d dropped", n)
	}
	st := s.Stats()
	if len(st.Services) > 1001 || st.Services[""].Series == 0 || st.Series != 1200 {
		t.Errorf("%d services, %d series of others", len(st.Services), st.Services[""].Series)
	}
}

func TestAppendsSideBySideAreAllKept(t *testing.T) {
	s := open(t, nil)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 20 {
				m := gauge("orders", "g", noon.Add(time.Duration(i)*time.Millisecond), 1, str("worker", strconv.Itoa(worker)))
				if n, err := s.Append(context.Background(), []telemetry.Metric{m}); n != 0 || err != nil {
					t.Errorf("%d dropped, %v", n, err)
				}
			}
		})
	}
	wg.Wait()
	if got := instantAt(t, s, `sum(count_over_time(g[1m]))`, noon.Add(time.Second)); !slices.Equal(got, []string{"160"}) {
		t.Errorf("got %q", got)
	}
}

// fill appends a sample of many series every third minute for some hours of synthetic time.
func fill(t *testing.T, s *metric.Store, hours int) {
	t.Helper()
	batch := make([]telemetry.Metric, 100)
	for minute := range hours * 20 {
		for i := range batch {
			v := float64((minute*7919 + i*104729) % 1000003) // which compresses badly
			batch[i] = gauge("orders", "g", time.Now(), v, str("i", strconv.Itoa(i)))
		}
		if n := add(t, s, batch...); n != 0 {
			t.Fatalf("%d dropped", n)
		}
		synctest.Wait() // for the database, which may write a block
		<-time.After(3 * time.Minute)
	}
}

func TestTheOldestGoesWhenTheDiskIsFullOrItIsTooOld(t *testing.T) {
	for name, o := range map[string]metric.Options{"size": {Bytes: 300_000}, "age": {Age: 4 * time.Hour}, "neither": {}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				o.Now = time.Now
				start := time.Now()
				s := openIn(t, dir, &o)
				fill(t, s, 12)
				st := s.Stats()
				if name == "neither" {
					if !st.Oldest.Equal(start) || st.Bytes < 350_000 {
						t.Errorf("the oldest is of %s, in %d bytes", st.Oldest, st.Bytes)
					}
					return
				}
				if kept := time.Since(st.Oldest); kept > 6*time.Hour || kept < time.Hour {
					t.Errorf("%s are kept, in %d bytes", kept, st.Bytes)
				}
				if name == "size" && st.Bytes > o.Bytes*3/2 {
					t.Errorf("%d bytes are kept", st.Bytes)
				}
				if got := instantAt(t, s, "count(g)", time.Now()); !slices.Equal(got, []string{"100"}) {
					t.Errorf("the newest: %q", got)
				}
			})
		})
	}
}
