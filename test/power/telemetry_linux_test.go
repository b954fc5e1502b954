package power_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block"
	"github.com/atollhq/atoll/test/internal/powerfs"
)

// telemetryDir is the variable that makes TestTelemetryChild append spans and records to a folder.
const telemetryDir = "ATOLL_TEST_TELEMETRY_DIR"

const (
	exporters      = 3
	rowsOfExport   = 20     // spans, and as many records
	exportsOfRound = 10_000 // more than come before the cut
)

// TestTelemetryChild is no test but the program of which the power is cut: exporters append spans and records, and say what was
// acknowledged. Tables in memory are small, so that blocks are written all the while.
func TestTelemetryChild(t *testing.T) {
	dir := os.Getenv(telemetryDir)
	if dir == "" {
		t.Skip("it is the child that the test of the power cut in this file starts, with its environment set")
	}
	first, err := strconv.Atoi(os.Getenv(telemetryDir + "_FIRST"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := block.Open(filepath.Join(dir, "telemetry"), &block.Options{MemRows: 15 * rowsOfExport})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for e := range exporters {
		wg.Go(func() {
			for n := first + e; n < first+exportsOfRound; n += exporters {
				if err := s.Append(t.Context(), export(n)); err != nil {
					t.Error(err)
					return
				}
				fmt.Println("acknowledged", n) //nolint:forbidigo // the parent reads it
			}
		})
	}
	wg.Wait()
}

// export is the n-th: each of its rows says so.
func export(n int) *telemetry.Batch {
	from := []telemetry.Resource{{Service: "orders"}, {Service: "billing"}, {Service: "web"}}
	b := &telemetry.Batch{}
	for i := range rowsOfExport {
		attrs := []telemetry.Attr{{Key: "n", Value: telemetry.Int(int64(n))}, {Key: "i", Value: telemetry.Int(int64(i))}}
		at := time.Date(2026, 11, 28, 12, 0, n, i, time.UTC).UnixNano()
		b.Spans = append(b.Spans, telemetry.Span{
			Resource: &from[n%3], TraceID: telemetry.TraceID{1, byte(n), byte(n >> 8)}, SpanID: telemetry.SpanID{1, byte(i)}, Name: "op", Start: at, Attrs: attrs,
		})
		b.Records = append(b.Records, telemetry.Record{Resource: &from[n%3], Time: at, Body: telemetry.String("placed an order"), Attrs: attrs})
	}
	return b
}

// appendTelemetry runs the child on a disk until its power is cut, and adds what was acknowledged.
func appendTelemetry(t *testing.T, disk *powerfs.Disk, first, cutAfter int, lies bool, acked map[int]bool) {
	t.Helper()
	dir := t.TempDir()
	unmount, err := disk.Mount(dir)
	if err != nil {
		t.Skipf("the power cannot be cut here: %v", err)
	}
	defer func() {
		if err := unmount(); err != nil {
			t.Error(err)
		}
	}()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTelemetryChild$", "-test.v")
	cmd.Env = append(os.Environ(), telemetryDir+"="+dir, telemetryDir+"_FIRST="+strconv.Itoa(first))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// With the first round the folders are made, so the power may go right then; in others it goes while what was is brought back, too.
	if lies {
		disk.Lie()
	}
	disk.CutAfter(cutAfter)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "acknowledged %d", &n); err == nil {
			acked[n] = true
		}
	}
	disk.Cut()
	_ = cmd.Wait() // without power it can only fail
}

// lostTelemetry opens a copy of what is on a disk and says what is wrong with it.
func lostTelemetry(t *testing.T, disk *powerfs.Disk, acked map[int]bool) []string {
	t.Helper()
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	unmount, err := disk.Mount(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = os.CopyFS(copied, os.DirFS(dir))
	if unmountErr := unmount(); err != nil || unmountErr != nil {
		t.Fatal(err, unmountErr)
	}
	s, err := block.Open(filepath.Join(copied, "telemetry"), nil)
	if err != nil {
		return []string{fmt.Sprintf("it does not start, so all is lost: %v", err)}
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	var problems []string
	for _, signal := range []telemetry.Signal{telemetry.Spans, telemetry.Logs} {
		found := map[[2]int64]int{}
		if err := s.Scan(t.Context(), signal, telemetry.Range{}, nil, func(row telemetry.Row) error {
			n, _ := row.Field("n")
			i, _ := row.Field("i")
			found[[2]int64{n.Int(), i.Int()}]++
			return nil
		}); err != nil {
			return []string{err.Error()}
		}
		twice, lost := 0, 0
		for _, times := range found {
			if times > 1 {
				twice++
			}
		}
		for n := range acked {
			for i := range rowsOfExport {
				if found[[2]int64{int64(n), int64(i)}] == 0 {
					lost++
				}
			}
		}
		if twice+lost > 0 {
			u, _ := s.Usage(t.Context())
			problems = append(problems, fmt.Sprintf("%s: of %d rows that were acknowledged %d are lost; %d are there more than once; set aside: %q",
				signal, len(acked)*rowsOfExport, lost, twice, u.Torn))
		}
	}
	return problems
}

// runTelemetry cuts the power of a disk again and again and returns what was found wrong.
func runTelemetry(t *testing.T, names powerfs.Names, seed uint64, lies bool) []string {
	t.Helper()
	chance := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // chance that can be repeated
	disk := powerfs.New(names)
	acked := map[int]bool{}
	for cut := range cuts {
		appendTelemetry(t, disk, cut*exportsOfRound, 20+chance.IntN(600), lies, acked)
		var loss powerfs.Loss
		disk, loss = disk.After(chance)
		t.Logf("seed %d, cut %d: %d exports acknowledged, lost were %+v", seed, cut, len(acked), loss)
		if problems := lostTelemetry(t, disk, acked); len(problems) > 0 {
			return append(problems, fmt.Sprintf("(seed %d, cut %d)", seed, cut))
		}
	}
	if len(acked) == 0 {
		t.Error("nothing was acknowledged")
	}
	return nil
}

func TestNoSpanOrRecordThatWasAcknowledgedIsLostOrComesTwiceWhenThePowerIsCut(t *testing.T) {
	for _, kind := range []struct {
		name  string
		names powerfs.Names
	}{{"journalled", powerfs.Journaled}, {"strict", powerfs.Strict}} {
		t.Run(kind.name, func(t *testing.T) {
			first := firstSeed(t)
			for seed := range disks() {
				for _, p := range runTelemetry(t, kind.names, first+seed, false) {
					t.Error(p)
				}
			}
		})
	}
}

func TestADiskThatDoesNotSyncSpansIsFoundOut(t *testing.T) {
	if found := runTelemetry(t, powerfs.Journaled, firstSeed(t), true); len(found) == 0 {
		t.Error("this test could not find a loss")
	}
}
