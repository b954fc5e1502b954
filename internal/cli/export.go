package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/telemetry"
)

const exportedMetrics = "metrics"

func (a *app) exportCommand() *cobra.Command {
	var r rangeFlags
	var q api.ExportQuery
	signals := []string{"traces", "logs", exportedMetrics}
	cmd := &cobra.Command{
		Use:   "export traces|logs|metrics",
		Short: "Write telemetry as OTLP/JSON, one request a line",
		Long: "Writes spans, log records or samples as OTLP/JSON: each line is a request that a receiver takes, and a file of them is\n" +
			"what OpenTelemetry's collector calls otlpjsonfile. Spans and records can be had of an application that does not run\n" +
			"too. Without a range everything is written, of metrics the last day.",
		Example: "  atoll export traces -q 'status = error' --since 1h > errors.jsonl\n" +
			"  atoll export metrics -q 'http_server_request_duration_seconds_count{service=\"orders\"}'",
		ValidArgs: signals, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.Signal = args[0]; !slices.Contains(signals, q.Signal) {
				return usage(cmd, "%q is none of traces, logs, metrics", q.Signal)
			}
			if q.Limit < 0 {
				return usage(cmd, "--limit cannot be negative")
			}
			var err error
			if q.From, q.To, err = r.times(cmd); err != nil {
				return err
			}
			return a.export(cmd, &q)
		},
	}
	r.add(cmd, "")
	cmd.Flags().StringVarP(&q.Query, "query", "q", "", "what this chooses: in the query language, or of metrics a PromQL selector")
	cmd.Flags().IntVarP(&q.Limit, "limit", "n", 0, "at most so many spans, records or series (default all)")
	return cmd
}

func (a *app) export(cmd *cobra.Command, q *api.ExportQuery) error {
	ctx := cmd.Context()
	signal := map[string]telemetry.Signal{"traces": telemetry.Spans, "logs": telemetry.Logs}[q.Signal]
	if signal != "" {
		if _, err := telemetry.ParseQuery(q.Query, signal); err != nil { // so that the error shows the place
			return err
		}
	}
	write := func(request []byte) error {
		_, err := a.Out.Write(append(request, '\n'))
		return err
	}
	return a.live(ctx, func(c *client.Client, _ string) error { return c.Export(ctx, q, write) }, func(dir string, _ error) error {
		if q.Signal == exportedMetrics {
			return fault.New(fault.CodeNotRunning, "metrics can be exported only while the application runs").Fix("start it with atoll up")
		}
		return platform.ReadExport(ctx, platform.StateDir(dir, a.copyName), q, write)
	})
}
