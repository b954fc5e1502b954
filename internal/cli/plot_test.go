package cli_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/cli"
	"github.com/atollhq/atoll/internal/control/api"
)

func wave(labels map[string]string, amplitude, shift float64, gap bool) api.Series {
	s := api.Series{Labels: labels}
	for i := range 121 {
		if gap && i > 40 && i < 60 {
			continue
		}
		s.Points = append(s.Points, api.Point{Time: traceTime(i * 30_000), Value: amplitude * (1 + math.Sin(float64(i)/12+shift))})
	}
	return s
}

func TestSeriesArePlottedWithAxesAndALegend(t *testing.T) {
	one := []api.Series{wave(map[string]string{"__name__": "http_server_requests", "service": "orders"}, 20, 0, true)}
	golden(t, "plot-one", func(w *strings.Builder, width int, color bool) {
		cli.WritePlot(w, one, traceTime(0), traceTime(3600_000), width, color)
	})
	var many []api.Series
	for i := range 11 {
		many = append(many, wave(map[string]string{"service": fmt.Sprint("service-", i), "route": "/api/" + strings.Repeat("x", 4*i)}, float64(1000*(i+1)), float64(i), false))
	}
	many[1].Points[3].Value, many[2].Points[4].Value = math.NaN(), math.Inf(1)
	golden(t, "plot-many", func(w *strings.Builder, width int, color bool) {
		cli.WritePlot(w, many, traceTime(0), traceTime(3600_000), width, color)
	})
	flat := []api.Series{{Labels: map[string]string{"__name__": "up"}, Points: []api.Point{{Time: traceTime(0), Value: 1}, {Time: traceTime(30_000), Value: 1}}}}
	golden(t, "plot-flat", func(w *strings.Builder, width int, color bool) {
		cli.WritePlot(w, flat, traceTime(0), traceTime(60_000), width, color)
	})
}

func TestTicksAreRoundAndCoverTheValues(t *testing.T) {
	for _, c := range []struct {
		least, most float64
		want        []float64
	}{
		{0, 10, []float64{0, 5, 10}},
		{3, 10, []float64{0, 5, 10}},
		{95, 100, []float64{94, 96, 98, 100}},
		{0, 0, []float64{0, 0.5, 1}},
		{7, 7, []float64{0, 5, 10, 15}},
		{-3, 3, []float64{-4, -2, 0, 2, 4}},
		{-7, -7, []float64{-15, -10, -5, 0}},
		{math.NaN(), math.NaN(), []float64{0, 0.5, 1}},
		{0, 1.3e9, []float64{0, 5e8, 1e9, 1.5e9}},
	} {
		got := cli.NiceTicks(c.least, c.most, 4)
		if got[0] > c.least || got[len(got)-1] < c.most {
			t.Errorf("%g to %g: %v does not cover it", c.least, c.most, got)
		}
		if !slices.EqualFunc(got, c.want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9*(1+math.Abs(b)) }) {
			t.Errorf("%g to %g: got %v, want %v", c.least, c.most, got, c.want)
		}
	}
}

func TestValuesOfAMomentAreATable(t *testing.T) {
	m := &api.Metrics{Type: "vector"}
	for i, v := range []float64{1, 2500, 0.0321, math.NaN()} {
		m.Series = append(m.Series, api.Series{Labels: map[string]string{"service": fmt.Sprint("s", i), "x": "a\nb"}, Points: []api.Point{{Time: time.Unix(0, 0), Value: v}}})
	}
	golden(t, "instant", func(w *strings.Builder, width int, color bool) { cli.WriteInstant(w, m, width, color) })
}

func services() *api.Top {
	return &api.Top{Time: traceTime(0), WindowNS: 60e9, Services: []api.TopRow{
		{Service: "orders", State: "ready", Ready: 3, Replicas: 3, PerSecond: 1234.5, ErrorRatio: 0.002, P50NS: 12e6, P99NS: 250e6, CPU: 1.2, Memory: 180 << 20},
		{Service: "a-service-with-a-name-that-is-far-too-long", State: "backing-off", Ready: 0, Replicas: 2},
		{Service: "web", State: "ready", Ready: 1, Replicas: 2, PerSecond: 41, ErrorRatio: 0.12, P50NS: 2e6, P99NS: 3e9, CPU: 0.03, Memory: 40 << 20},
		{Service: "mail", State: "starting", Ready: 1, Replicas: 1, PerSecond: 0.05, ErrorRatio: 0.02, P50NS: 900, P99NS: 900e3, CPU: 0.001, Memory: 9 << 20},
	}}
}

func TestServicesAreShownByTheirLoad(t *testing.T) {
	golden(t, "top", func(w *strings.Builder, width int, color bool) {
		w.WriteString(cli.TopScreen(services(), width, color, 'r', false))
	})
}

func TestServicesAreSortedByTheColumnAskedFor(t *testing.T) {
	for key, want := range map[string]string{
		"s": "amow", "t": "amow", "n": "oawm", "r": "owma", "e": "wmoa", "5": "owma", "9": "woma", "c": "owma", "m": "owma", "?": "amow",
	} {
		for _, reverse := range []bool{false, true} {
			var got []rune
			for _, line := range strings.Split(cli.TopScreen(services(), 0, false, rune(key[0]), reverse), "\n")[2:6] {
				got = append(got, rune(line[0]))
			}
			if reverse {
				slices.Reverse(got)
			}
			if string(got) != want {
				t.Errorf("%s, reverse %t: got %s, want %s", key, reverse, string(got), want)
			}
		}
	}
}
