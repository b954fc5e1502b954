package cli

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/telemetry"
)

// logFlags are the flags of atoll logs.
type logFlags struct {
	follow             bool
	since, level, grep string
	last               int
}

func (a *app) logsCommand() *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:   "logs [SERVICE...]",
		Short: "Show the output of services",
		Long: "Shows the output of replicas and builds, and the gateway's access log (as service gateway), by time. Works on\n" +
			"what is on disk when the application does not run. With --format json each line has time, service, replica,\n" +
			"stream, level and text.",
		Example:           "  atoll logs -f orders --level warn\n  atoll logs --since 10m --grep 'timeout|refused'",
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
	return q, nil
}

func (a *app) logs(ctx context.Context, q *telemetry.LineQuery) error {
	show := a.showRecord()
	c, err := a.connect(ctx)
	if fault.CodeOf(err) == fault.CodeNotRunning {
		if q.Follow {
			return err
		}
		dir, err := a.folder()
		if err != nil {
			return err
		}
		if err := a.knownServices(dir, q.Services); err != nil {
			return err
		}
		return platform.ReadLogs(ctx, platform.StateDir(dir, a.copyName), q, show)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	info, err := c.App(ctx)
	if err != nil {
		return err
	}
	if err := a.knownServices(info.Dir, q.Services); err != nil {
		return err
	}
	return c.Logs(ctx, q, show)
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
		if name == "" {
			name = r.Service + " build"
		}
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
