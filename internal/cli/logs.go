package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/telemetry"
)

// logFlags are the flags of atoll logs.
type logFlags struct {
	follow             bool
	since, level, grep string
	text               string
	last               int
}

func (a *app) logsCommand() *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:   "logs [SERVICE...]",
		Short: "Show the output of services",
		Long: "Shows the output of replicas and builds, the log records that services send, and the gateway's access log (as\n" +
			"service gateway), by time. Works on what is on disk when the application does not run. The language of --query\n" +
			"stands in docs/reference/query.md; with functions in it, its table is shown. With --format json each line has time,\n" +
			"service, replica, stream, level and text, or is a row of the table.",
		Example: "  atoll logs -f orders --level warn\n  atoll logs --since 10m --grep 'timeout|refused'\n" +
			"  atoll logs -q '\"connection refused\" and order.id = 17'\n" +
			"  atoll logs -q 'level >= error | count() by service every 1m' --since 1h",
		ValidArgsFunction: a.completeServices,
		Args:              cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := f.query(cmd, args)
			if err != nil {
				return err
			}
			return a.logs(cmd.Context(), q)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on with what comes")
	flags.StringVar(&f.since, "since", "", "not older than this: 10m, 2h, or a time as in RFC 3339")
	flags.StringVar(&f.level, "level", "", "at least this level: debug, info, warn, error")
	flags.StringVar(&f.grep, "grep", "", "text that matches this regular expression")
	flags.StringVarP(&f.text, "query", "q", "", "what this chooses, in the query language")
	flags.IntVarP(&f.last, "last", "n", 0, "only the last so many (default all, or 100 with --follow)")
	return a.withFormat(cmd)
}

func (f *logFlags) query(cmd *cobra.Command, services []string) (*telemetry.LineQuery, error) {
	q := &telemetry.LineQuery{Services: services, Follow: f.follow, Last: f.last}
	if f.follow && f.last == 0 && f.since == "" {
		q.Last = 100
	}
	if f.last < 0 {
		return nil, usage(cmd, "--last cannot be negative")
	}
	if f.since != "" {
		ago, err := time.ParseDuration(f.since)
		at, err2 := time.Parse(time.RFC3339, f.since)
		switch {
		case err == nil:
			q.Since = time.Now().Add(-ago)
		case err2 == nil:
			q.Since = at
		default:
			return nil, usage(cmd, "--since %q is neither a time span such as 10m nor a time as in RFC 3339", f.since)
		}
	}
	if f.level != "" {
		level, err := telemetry.ParseLevel(f.level)
		if err != nil {
			return nil, err
		}
		q.Level = level
	}
	if f.grep != "" {
		re, err := regexp.Compile(f.grep)
		if err != nil {
			return nil, usage(cmd, "--grep is not a regular expression: %s", err)
		}
		q.Grep = re
	}
	if f.text == "" {
		return q, nil
	}
	var err error
	if q.Query, err = telemetry.ParseQuery(f.text, telemetry.Logs); err != nil { // so that the error shows the place
		return nil, err
	}
	if tabled(q) && (q.Follow || q.Grep != nil) {
		return nil, usage(cmd, "a query that counts or sorts goes without --follow and --grep")
	}
	if q.Query.Limit > 0 {
		q.Last = q.Query.Limit
	}
	return q, nil
}

// tabled tells whether the answer to a query is something else than lines by time.
func tabled(q *telemetry.LineQuery) bool {
	return q.Query != nil && (q.Query.Tell != nil || len(q.Query.Sort) > 0)
}

func (a *app) logs(ctx context.Context, q *telemetry.LineQuery) error {
	if tabled(q) {
		return a.askRecords(ctx, q)
	}
	show := a.showRecord()
	return a.live(ctx, func(c *client.Client, dir string) error {
		if err := a.knownServices(dir, q.Services); err != nil {
			return err
		}
		return c.Logs(ctx, q, show)
	}, func(dir string, notRunning error) error {
		if q.Follow {
			return notRunning
		}
		if err := a.knownServices(dir, q.Services); err != nil {
			return err
		}
		return platform.ReadLogs(ctx, platform.StateDir(dir, a.copyName), q, show)
	})
}

// askRecords shows what a query that counts or sorts makes of log records.
func (a *app) askRecords(ctx context.Context, q *telemetry.LineQuery) error {
	whole := *q.Query
	whole.Where = q.Where()
	ask := &api.RecordsQuery{Query: whole.Format(telemetry.Logs), From: q.Since, Limit: q.Last}
	var found *api.Found
	err := a.live(ctx, func(c *client.Client, dir string) (err error) {
		if err := a.knownServices(dir, q.Services); err != nil {
			return err
		}
		found, err = c.Records(ctx, ask)
		return err
	}, func(dir string, _ error) error {
		if err := a.knownServices(dir, q.Services); err != nil {
			return err
		}
		kept, err := platform.ReadRecords(ctx, platform.StateDir(dir, a.copyName), ask)
		if err != nil {
			return err
		}
		text, err := json.Marshal(kept) // so that values are as the control API has them
		if err != nil {
			return fmt.Errorf("write what was found: %w", err)
		}
		return json.Unmarshal(text, &found)
	})
	switch {
	case err != nil:
		return err
	case a.json():
		return a.foundJSON(found)
	case len(found.Records) == 0 && (found.Table == nil || len(found.Table.Rows) == 0):
		fmt.Fprintln(a.Err, "nothing found")
	case found.Table != nil:
		writeFound(a.Out, found, foundOptions{paint: paint(a.color(a.Out)), width: a.Width(a.Out), now: time.Now()})
	default:
		show := a.showRecord()
		for i := range found.Records {
			if err := show(lineOf(&found.Records[i])); err != nil {
				return err
			}
		}
	}
	return nil
}

// lineOf is a record as a line.
func lineOf(r *api.Record) *telemetry.Line {
	l := &telemetry.Line{Time: r.Time, Service: r.Service, Replica: r.Replica, Stream: telemetry.StreamOTLP, Level: telemetry.Level(r.Level), Text: r.Text, Trace: r.TraceID}
	if stream, ok := r.Attributes[telemetry.AttrStream].(string); ok {
		l.Stream = stream
	}
	return l
}

// live does running with the application that runs and its folder, or resting with the folder of one that does not.
func (a *app) live(ctx context.Context, running func(c *client.Client, dir string) error, resting func(dir string, notRunning error) error) error {
	c, err := a.connect(ctx)
	if fault.CodeOf(err) == fault.CodeNotRunning {
		dir, folderErr := a.folder()
		if folderErr != nil {
			return folderErr
		}
		return resting(dir, err)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	info, err := c.App(ctx)
	if err != nil {
		return err
	}
	return running(c, info.Dir)
}

// knownServices refuses the name of a service that can have no output: it is misspelt.
func (a *app) knownServices(dir string, names []string) error {
	app, _ := manifest.Load(dir, &manifest.Options{Environ: a.Environ})
	if app == nil {
		return nil
	}
	for _, name := range names {
		if app.Service(name) != nil || platform.OwnLog(name) {
			continue
		}
		known := make([]string, len(app.Services))
		for i, s := range app.Services {
			known[i] = s.Name
		}
		return fault.New(fault.CodeServiceUnknown, "there is no service %q", name).
			Fix("the services are %s; gateway has the access log", strings.Join(known, ", "))
	}
	return nil
}

// showRecord writes records as a person reads them, or as JSON.
func (a *app) showRecord() func(*telemetry.Line) error {
	if a.json() {
		return func(r *telemetry.Line) error { return writeJSON(a.Out, r) }
	}
	p, wide := paint(a.color(a.Out)), 0
	return func(r *telemetry.Line) error {
		name := r.Replica
		switch {
		case name != "":
		case r.Stream == telemetry.StreamOTLP:
			name = r.Service
		default:
			name = r.Service + " build"
		}
		name = clean(name)
		wide = max(wide, len(name))
		level := strings.ToUpper(string(r.Level))
		switch r.Level {
		case telemetry.LevelError:
			level = p.red(level)
		case telemetry.LevelWarn:
			level = p.yellow(level) + " "
		case telemetry.LevelInfo:
			level += " "
		case telemetry.LevelDebug:
			level = p.dim(level)
		}
		_, err := fmt.Fprintf(a.Out, "%s %s%s %s %s\n", p.dim(r.Time.Local().Format("15:04:05.000")), p.hue(r.Service, name),
			strings.Repeat(" ", wide-len(name)), level, clean(telemetry.Pretty(r)))
		return err
	}
}
