package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
)

// plottedSteps is about how many points of a series a plot asks for.
const plottedSteps = 240

func (a *app) metricsCommand() *cobra.Command {
	var r rangeFlags
	var instant bool
	var step time.Duration
	cmd := &cobra.Command{
		Use:   "metrics PROMQL",
		Short: "Plot metrics, or show their values",
		Long: "Asks for metrics in PromQL (https://prometheus.io/docs/prometheus/latest/querying/basics/) and plots the answer over\n" +
			"time, up to eight series; with --instant shows their values now. With --format json each line is a series with its\n" +
			"labels and points.",
		Example: "  atoll metrics 'sum by (service) (rate(http_server_request_duration_seconds_count[1m]))'\n" +
			"  atoll metrics up --instant",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, to, err := r.times(cmd)
			if err != nil {
				return err
			}
			if step < 0 {
				return usage(cmd, "--step cannot be negative")
			}
			promql := strings.Join(args, " ")
			return a.with(cmd.Context(), func(c *client.Client) error {
				if instant {
					m, err := c.Metrics(cmd.Context(), promql, to)
					if err != nil {
						return err
					}
					return a.showMetrics(m, promql, func(o plotOptions) { writeInstant(a.Out, m, o) })
				}
				if to.IsZero() {
					to = time.Now()
				}
				m, err := c.MetricsRange(cmd.Context(), promql, from, to, stepFor(from, to, step))
				if err != nil {
					return err
				}
				return a.showMetrics(m, promql, func(o plotOptions) {
					o.from, o.to = from, to
					writePlot(a.Out, m.Series, o)
				})
			})
		},
	}
	r.add(cmd, "1h")
	cmd.Flags().BoolVar(&instant, "instant", false, "the values of one moment: --until, or now")
	cmd.Flags().DurationVar(&step, "step", 0, "between two points (default by the range)")
	return a.withFormat(cmd)
}

// stepFor is the time between two points: as asked for, or a round one that makes about plottedSteps.
func stepFor(from, to time.Time, asked time.Duration) time.Duration {
	if asked > 0 {
		return asked
	}
	raw := to.Sub(from) / plottedSteps
	for _, step := range []time.Duration{
		time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
		10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour,
	} {
		if raw <= step {
			return step
		}
	}
	return raw.Round(time.Hour)
}

// showMetrics shows an answer by draw, or as JSON, with its warnings.
func (a *app) showMetrics(m *api.Metrics, promql string, draw func(plotOptions)) error {
	for _, w := range m.Warnings {
		fmt.Fprintln(a.Err, clean(w))
	}
	if a.json() {
		for i := range m.Series {
			if err := writeJSON(a.Out, &m.Series[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(m.Series) == 0 && m.Type != "string" {
		fmt.Fprintf(a.Err, "no series for %s\n", clean(promql))
		return nil
	}
	width, height := a.Size(a.Out)
	o := plotOptions{paint: paint(a.color(a.Out)), width: width, zone: time.Local}
	if height > 0 { // so that the legend is seen too
		o.height = min(max(height-5-min(len(m.Series), mostPlotted+1), 6), 24)
	}
	draw(o)
	return nil
}
