package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/telemetry"
)

// shortID is how much of a trace id is shown where there is little room; the beginning is enough to ask for it.
const shortID = 8

// rangeFlags choose a span of time.
type rangeFlags struct{ since, until string }

func (f *rangeFlags) add(cmd *cobra.Command, usual string) {
	cmd.Flags().StringVar(&f.since, "since", usual, "not older than this: 10m, 2h, or a time as in RFC 3339")
	cmd.Flags().StringVar(&f.until, "until", "", "not newer than this, in the same way (default now)")
}

// times are the two ends; zero where none was given.
func (f *rangeFlags) times(cmd *cobra.Command) (from, to time.Time, err error) {
	if f.since != "" {
		if from, err = parseMoment(cmd, "--since", f.since, -1); err != nil {
			return from, to, err
		}
	}
	if f.until != "" {
		if to, err = parseMoment(cmd, "--until", f.until, -1); err != nil {
			return from, to, err
		}
	}
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return from, to, usage(cmd, "--since %s is not before --until %s", f.since, f.until)
	}
	return from, to, nil
}

func (a *app) tracesCommand() *cobra.Command {
	var r rangeFlags
	var q api.TracesQuery
	cmd := &cobra.Command{
		Use:   "traces [QUERY]",
		Short: "Ask for traces",
		Long: "Lists the newest traces that have a span which the query chooses, or the table that it makes of spans. The query\n" +
			"language stands in docs/reference/query.md. With --format json each line is a trace, or a span with --spans, or a\n" +
			"row of the table.",
		Example: "  atoll traces 'service = orders and duration > 250ms'\n" +
			"  atoll traces 'status = error | count() by service, name | sort count desc' --since 1h\n" +
			"  atoll traces '| rate(), p99(duration) by service every 1m' --since 1h",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Query = strings.Join(args, " ")
			var err error
			if q.From, q.To, err = r.times(cmd); err != nil {
				return err
			}
			return a.findTraces(cmd, &q)
		},
	}
	r.add(cmd, "")
	cmd.Flags().IntVarP(&q.Limit, "last", "n", 20, "list at most so many")
	cmd.Flags().BoolVar(&q.Spans, "spans", false, "list the spans that the query chooses, not their traces")
	return a.withFormat(cmd)
}

// findTraces asks and shows what was found.
func (a *app) findTraces(cmd *cobra.Command, q *api.TracesQuery) error {
	parsed, err := telemetry.ParseQuery(q.Query, telemetry.Spans) // so that the error shows the place
	if err != nil {
		return err
	}
	if q.Limit < 1 {
		return usage(cmd, "--last must be 1 or more")
	}
	if parsed.Limit > 0 || parsed.Tell != nil && !cmd.Flags().Changed("last") {
		q.Limit = 0 // the query says it
	}
	return a.with(cmd.Context(), func(c *client.Client) error {
		found, err := c.Traces(cmd.Context(), q)
		if err != nil {
			return err
		}
		if a.json() {
			return a.foundJSON(found)
		}
		if len(found.Traces) == 0 && len(found.Spans) == 0 && (found.Table == nil || len(found.Table.Rows) == 0) {
			fmt.Fprintln(a.Err, nothingFound(q, found))
			return nil
		}
		writeFound(a.Out, found, foundOptions{paint: paint(a.color(a.Out)), width: a.Width(a.Out), now: time.Now()})
		return nil
	})
}

func nothingFound(q *api.TracesQuery, f *api.Found) string {
	switch {
	case q.Query == "" && q.From.IsZero() && q.To.IsZero():
		return "no trace came yet"
	case f.Reach.Rows > 0:
		return fmt.Sprintf("nothing found among %s", plural(int(f.Reach.Rows), "span"))
	}
	return "nothing found"
}

// foundJSON writes an object for each trace, span, record or row.
func (a *app) foundJSON(f *api.Found) error {
	for i := range f.Traces {
		if err := writeJSON(a.Out, &f.Traces[i]); err != nil {
			return err
		}
	}
	for i := range f.Spans {
		if err := writeJSON(a.Out, &f.Spans[i]); err != nil {
			return err
		}
	}
	for i := range f.Records {
		if err := writeJSON(a.Out, &f.Records[i]); err != nil {
			return err
		}
	}
	if f.Table == nil {
		return nil
	}
	for _, row := range f.Table.Rows {
		object := make(map[string]any, len(row))
		for i, c := range f.Table.Columns {
			object[c.Name] = row[i]
		}
		if err := writeJSON(a.Out, object); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) traceCommand() *cobra.Command {
	var unfold, logs bool
	q := api.TracesQuery{}
	cmd := &cobra.Command{
		Use:   "trace [ID]",
		Short: "Show a trace as a tree over time, or list the newest",
		Long: "Shows the spans of a trace: who called whom, when, and how long it took. Solid bars are the critical path: to make\n" +
			"the trace shorter, make these shorter. The first eight digits of an ID are enough. With --format json each line is\n" +
			"a span, and with --logs a log record after them.",
		Example: "  atoll trace 4bf92f35 --logs",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.findTraces(cmd, &q)
			}
			return a.with(cmd.Context(), func(c *client.Client) error {
				t, err := c.Trace(cmd.Context(), args[0], logs)
				if err != nil {
					return err
				}
				if a.json() {
					return a.traceJSON(t)
				}
				writeTrace(a.Out, t, traceOptions{
					paint: paint(a.color(a.Out)), width: a.Width(a.Out), unfold: unfold, logs: logs, zone: time.Local,
				})
				return nil
			})
		},
	}
	cmd.Flags().IntVarP(&q.Limit, "last", "n", 20, "list at most so many")
	cmd.Flags().BoolVar(&unfold, "unfold", false, "show each of many equal spans")
	cmd.Flags().BoolVar(&logs, "logs", false, "show the log records of each span below it")
	return a.withFormat(cmd)
}

func (a *app) traceJSON(t *api.Trace) error {
	for i := range t.Spans {
		if err := writeJSON(a.Out, &t.Spans[i]); err != nil {
			return err
		}
	}
	for i := range t.Records {
		if err := writeJSON(a.Out, &t.Records[i]); err != nil {
			return err
		}
	}
	return nil
}
