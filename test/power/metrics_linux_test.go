package power_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/metric"
	"github.com/atollhq/atoll/test/internal/powerfs"
)

// metricsDir is the variable that makes TestMetricsChild append metrics to a folder.
const metricsDir = "ATOLL_TEST_METRICS_DIR"

// metricsStart is when the samples of a disk begin, and metricsStep how far apart they are: so that blocks are written, too.
const (
	metricsStart = 1_800_000_000
	metricsStep  = 40 * time.Second
)

// TestMetricsChild is no test but the program of which the power is cut: it appends metrics and says what was acknowledged. It is a
// process of its own, since the database maps files into memory, and a fault of a page of those would wait for the process that
// shows the disk.
func TestMetricsChild(t *testing.T) {
	dir := os.Getenv(metricsDir)
	if dir == "" {
		t.Skip("it is the child that the test of the power cut in this file starts, with its environment set")
	}
	first, err := strconv.Atoi(os.Getenv(metricsDir + "_FIRST"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := metric.Open(filepath.Join(dir, "metrics"), metricsOptions())
	if err != nil {
		t.Fatal(err)
	}
	for i := first; i < first+2000; i++ {
		at := time.Unix(metricsStart, 0).Add(time.Duration(i) * metricsStep)
		one := telemetry.Metric{
			Resource: &telemetry.Resource{Service: "orders"}, Name: "n", Kind: telemetry.Gauge,
			Points: []telemetry.Point{{Time: at.UnixNano(), Value: float64(i)}},
		}
		other := one
		other.Name = "series"
		other.Points = []telemetry.Point{{Time: at.UnixNano(), Value: 1, Attrs: []telemetry.Attr{{Key: "i", Value: telemetry.Int(int64(i))}}}}
		if dropped, err := s.Append(t.Context(), []telemetry.Metric{one, other}); err != nil || dropped != 0 {
			t.Fatalf("%d dropped, %v", dropped, err)
		}
		fmt.Println("acknowledged", i) //nolint:forbidigo // the parent reads it
	}
}

// metricsOptions are such that no sample is too old or too new for the clock.
func metricsOptions() *metric.Options {
	return &metric.Options{
		Age: 100 * 365 * 24 * time.Hour, Now: func() time.Time { return time.Unix(metricsStart, 0).Add(100 * 24 * time.Hour) },
	}
}

// appendMetrics runs the child on a disk until its power is cut, and returns how many samples were acknowledged.
func appendMetrics(t *testing.T, disk *powerfs.Disk, first, cutAfter int, lies bool) int {
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
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMetricsChild$", "-test.v")
	cmd.Env = append(os.Environ(), metricsDir+"="+dir, metricsDir+"_FIRST="+strconv.Itoa(first))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acked := first
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "acknowledged %d", &n); err != nil {
			continue // what the test framework says, or the error that ends the child
		}
		if n == first {
			if lies {
				disk.Lie()
			}
			disk.CutAfter(cutAfter)
		}
		acked = n + 1
	}
	disk.Cut()
	_ = cmd.Wait() // without power it can only fail
	if acked == first {
		t.Fatal("nothing was acknowledged")
	}
	return acked
}

// lostMetrics opens a copy of what is on a disk and says what is lost of the samples that were acknowledged.
func lostMetrics(t *testing.T, disk *powerfs.Disk, acked int) []string {
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
	s, err := metric.Open(filepath.Join(copied, "metrics"), metricsOptions())
	if err != nil {
		return []string{fmt.Sprintf("it does not start, so all is lost: %v", err)}
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	var problems []string
	at := time.Unix(metricsStart, 0).Add(time.Duration(acked-1) * metricsStep)
	for _, query := range []string{"count_over_time(n[100d])", "count(last_over_time(series[100d]))"} {
		table, err := s.Instant(t.Context(), query, at)
		if err != nil {
			t.Fatal(err)
		}
		if len(table.Series) != 1 || table.Series[0].Points[0].V != float64(acked) {
			problems = append(problems, fmt.Sprintf("%s: %v, but %d were acknowledged: some are lost; set aside: %q",
				query, table.Series, acked, s.Stats().Torn))
		}
	}
	return problems
}

// runMetrics cuts the power of a disk again and again and returns what was found wrong.
func runMetrics(t *testing.T, names powerfs.Names, seed uint64, lies bool) []string {
	t.Helper()
	chance := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // chance that can be repeated
	disk := powerfs.New(names)
	acked := 0
	for cut := range cuts / 2 {
		acked = appendMetrics(t, disk, acked, 20+chance.IntN(600), lies)
		var loss powerfs.Loss
		disk, loss = disk.After(chance)
		t.Logf("seed %d, cut %d: %d acknowledged, lost were %+v", seed, cut, acked, loss)
		if problems := lostMetrics(t, disk, acked); len(problems) > 0 {
			return append(problems, fmt.Sprintf("(seed %d, cut %d)", seed, cut))
		}
	}
	return nil
}

func TestNoMetricThatWasAcknowledgedIsLostWhenThePowerIsCut(t *testing.T) {
	for _, kind := range []struct {
		name  string
		names powerfs.Names
	}{{"journalled", powerfs.Journaled}, {"strict", powerfs.Strict}} {
		t.Run(kind.name, func(t *testing.T) {
			first := firstSeed(t)
			for seed := range disks() {
				for _, p := range runMetrics(t, kind.names, first+seed, false) {
					t.Error(p)
				}
			}
		})
	}
}

func TestADiskThatDoesNotSyncMetricsIsFoundOut(t *testing.T) {
	if found := runMetrics(t, powerfs.Journaled, firstSeed(t), true); len(found) == 0 {
		t.Error("this test could not find a loss")
	}
}
