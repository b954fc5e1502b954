package metric_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/metric"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		os.Exit(crashChild(dir))
	}
	goleak.VerifyTestMain(m)
}

// noon is the time of tests.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, o *metric.Options) *metric.Store {
	t.Helper()
	return openIn(t, t.TempDir(), o)
}

func openIn(t *testing.T, dir string, o *metric.Options) *metric.Store {
	t.Helper()
	var opts metric.Options
	if o != nil {
		opts = *o
	}
	if opts.Now == nil {
		opts.Now = func() time.Time { return noon }
	}
	s, err := metric.Open(dir, &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func add(t *testing.T, s *metric.Store, metrics ...telemetry.Metric) (dropped int) {
	t.Helper()
	dropped, err := s.Append(t.Context(), metrics)
	if err != nil {
		t.Fatal(err)
	}
	return dropped
}

// instant answers a query at noon: a line "{labels} value" for each series.
func instant(t *testing.T, s *metric.Store, query string) []string {
	t.Helper()
	return instantAt(t, s, query, noon)
}

func instantAt(t *testing.T, s *metric.Store, query string, at time.Time) []string {
	t.Helper()
	table, err := s.Instant(context.WithoutCancel(t.Context()), query, at)
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{}
	for _, series := range table.Series {
		var b strings.Builder
		for _, k := range slices.Sorted(maps.Keys(series.Labels)) {
			fmt.Fprintf(&b, "%s=%s ", k, series.Labels[k])
		}
		for _, p := range series.Points {
			fmt.Fprintf(&b, "%g", p.V)
		}
		lines = append(lines, b.String())
	}
	slices.Sort(lines)
	return lines
}

func expect(t *testing.T, s *metric.Store, query string, want ...string) {
	t.Helper()
	if got := instant(t, s, query); !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", query, got, want)
	}
}

func gauge(service, name string, at time.Time, v float64, attrs ...telemetry.Attr) telemetry.Metric {
	return telemetry.Metric{
		Resource: &telemetry.Resource{Service: service}, Name: name, Kind: telemetry.Gauge,
		Points: []telemetry.Point{{Time: at.UnixNano(), Value: v, Attrs: attrs}},
	}
}

func str(k, v string) telemetry.Attr { return telemetry.Attr{Key: k, Value: telemetry.String(v)} }
