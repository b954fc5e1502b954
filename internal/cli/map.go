package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/telemetry"
)

func (a *app) mapCommand() *cobra.Command {
	var r rangeFlags
	cmd := &cobra.Command{
		Use:   "map",
		Short: "Show who calls whom",
		Long: "Shows which services, databases and the gateway reach which others, by calls, events and sagas, as spans tell of it:\n" +
			"how often, how many failed, and how long they took. With --format json it is one object of nodes and edges.",
		Example: "  atoll map --since 10m",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, to, err := r.times(cmd)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(c *client.Client) error {
				m, err := c.ServiceMap(cmd.Context(), from, to)
				if err != nil {
					return err
				}
				if a.json() {
					return writeJSON(a.Out, m)
				}
				if len(m.Edges) == 0 {
					fmt.Fprintln(a.Err, "no service was called in this time; look further back with --since")
					return nil
				}
				writeMap(a.Out, m, paint(a.color(a.Out)), a.Width(a.Out))
				return nil
			})
		},
	}
	r.add(cmd, "1h")
	return a.withFormat(cmd)
}

// writeMap shows the edges of a service map.
func writeMap(out io.Writer, m *telemetry.ServiceMap, p paint, width int) {
	t := &table{right: map[int]bool{3: true, 4: true, 5: true, 6: true}}
	t.add("FROM", "TO", "BY", "CALLS", "ERRORS", "P50", "P99")
	for _, e := range m.Edges {
		errors := percent(float64(e.Errors) / float64(max(e.Calls, 1)))
		if e.Errors > 0 {
			errors = p.red("! " + errors)
		}
		t.add(p.hue(e.From, clean(e.From)), p.hue(e.To, clean(e.To)), string(e.Kind), fmt.Sprint(e.Calls), errors, durationText(e.P50.Round(time.Microsecond)),
			durationText(e.P99.Round(time.Microsecond)))
	}
	t.squeeze(width, 0, 8, clip)
	t.squeeze(width, 1, 8, clip)
	t.write(out, width)
	if m.Missed > 0 {
		fmt.Fprintf(out, "%d calls on further edges are left out\n", m.Missed)
	}
}
