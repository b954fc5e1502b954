package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/platform"
)

// stopLimit is how long down waits for the application to end.
const stopLimit = 75 * time.Second

func (a *app) psCommand() *cobra.Command {
	return a.withFormat(&cobra.Command{
		Use:   "ps",
		Short: "List the replicas of the running application",
		Long: "Lists every replica. With --format json each line has service, replica, state, pid, url, version, restarts,\n" +
			"ready_ms (from start to ready), memory_bytes, cpu_ms, since, errors, and reason where there is one.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			replicas, err := c.Replicas(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				for _, r := range replicas {
					if err := writeJSON(a.Out, r); err != nil {
						return err
					}
				}
				return nil
			}
			a.replicaTable(replicas).write(a.Out, a.Width(a.Out))
			return nil
		},
	})
}

func (a *app) replicaTable(replicas []api.Replica) *table {
	p := paint(a.color(a.Out))
	if width := a.Width(a.Out); width > 0 && width < wide {
		return narrowTable(p, replicas)
	}
	t := &table{right: map[int]bool{5: true, 6: true, 7: true, 8: true}}
	t.add("SERVICE", "REPLICA", "STATE", "PID", "URL", "READY", "RESTARTS", "ERRORS", "MEMORY", "")
	for _, r := range replicas {
		t.add(r.Service, r.Replica, p.state(r.State), numberOrDash(r.PID), orDash(r.URL), millisText(r.ReadyMS),
			strconv.Itoa(r.Restarts), strconv.FormatInt(r.Errors, 10), bytesText(r.MemoryBytes), clean(r.Reason))
	}
	return t
}

// wide is the width from which on a terminal has room for all columns.
const wide = 110

// narrowTable leaves out what is looked for least.
func narrowTable(p paint, replicas []api.Replica) *table {
	t := &table{right: map[int]bool{2: true, 3: true, 4: true, 5: true}}
	t.add("REPLICA", "STATE", "READY", "RESTARTS", "ERRORS", "MEMORY", "")
	for _, r := range replicas {
		t.add(p.hue(r.Service, r.Replica), p.state(r.State), millisText(r.ReadyMS), strconv.Itoa(r.Restarts),
			strconv.FormatInt(r.Errors, 10), bytesText(r.MemoryBytes), clean(r.Reason))
	}
	return t
}

func (a *app) downCommand() *cobra.Command {
	remove := false
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End the running application",
		Long: "Lets requests in flight finish, ends every replica, and returns when nothing is left. What an application\n" +
			"that was killed has left is ended too. Logs and databases stay, unless --remove is given.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := a.down(cmd.Context())
			if !remove || err != nil && fault.CodeOf(err) != fault.CodeNotRunning {
				return err
			}
			return a.remove()
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "remove its logs and databases too")
	return cmd
}

// remove removes what an application that has ended has kept.
func (a *app) remove() error {
	dir, err := a.folder()
	if err != nil {
		return err
	}
	state := platform.StateDir(dir, a.copyName)
	if err := platform.Remove(state); err != nil {
		return err
	}
	fmt.Fprintf(a.Out, "%s is removed\n", state)
	return nil
}

func (a *app) down(ctx context.Context) error {
	c, err := a.connect(ctx)
	if fault.CodeOf(err) == fault.CodeNotRunning {
		return a.cleanUp(ctx, err)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	info, err := c.App(ctx)
	if err != nil {
		return err
	}
	if err := c.Stop(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	if err := platform.AwaitEnd(ctx, platform.StateDir(info.Dir, info.Copy)); err != nil {
		return fmt.Errorf("wait for %s to end (pid %d): %w", info.App, info.PID, err)
	}
	fmt.Fprintf(a.Out, "%s has ended\n", info.App)
	return nil
}

// cleanUp ends what an application that was killed has left; notRunning is the answer where that is nothing.
func (a *app) cleanUp(ctx context.Context, notRunning error) error {
	dir, err := a.folder()
	if err != nil {
		return err
	}
	ended, err := platform.CleanUp(ctx, platform.StateDir(dir, a.copyName))
	if err != nil {
		return err
	}
	if ended == 0 {
		return notRunning
	}
	fmt.Fprintf(a.Out, "ended %s that an earlier run had left\n", plural(ended, "process"))
	return nil
}

func (a *app) restartCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "restart SERVICE...",
		Short: "Replace the replicas of services, without dropping a request",
		Args:  cobra.MinimumNArgs(1), ValidArgsFunction: a.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd.Context(), args, func(c *client.Client, service string) error {
				if err := c.Restart(cmd.Context(), service); err != nil {
					return err
				}
				fmt.Fprintf(a.Out, "%s has new replicas\n", service)
				return nil
			})
		},
	}
}

func (a *app) scaleCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "scale SERVICE=REPLICAS...",
		Short: "Change how many replicas of services run",
		Long: "Starts or drains replicas until there are as many as asked for, and returns when they are ready. The number\n" +
			"holds until the application ends or the manifest's own number changes.",
		Example: "  atoll scale orders=3",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			wanted := map[string]int{}
			var names []string
			for _, arg := range args {
				name, number, ok := strings.Cut(arg, "=")
				n, err := strconv.Atoi(number)
				if !ok || err != nil || n < 0 || name == "" {
					return usage(cmd, "%q is not SERVICE=REPLICAS", arg)
				}
				wanted[name] = n
				names = append(names, name)
			}
			return a.each(cmd.Context(), names, func(c *client.Client, service string) error {
				if err := c.Scale(cmd.Context(), service, wanted[service]); err != nil {
					return err
				}
				fmt.Fprintf(a.Out, "%s has %s\n", service, plural(wanted[service], "replica"))
				return nil
			})
		},
	}
}

// each does something for each service and says every failure.
func (a *app) each(ctx context.Context, services []string, do func(*client.Client, string) error) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	failed := false
	for _, service := range services {
		if err := do(c, service); err != nil {
			sayError(a.World, err)
			failed = true
		}
	}
	if failed {
		return errSaid
	}
	return nil
}

func (a *app) describeCommand() *cobra.Command {
	return a.withFormat(&cobra.Command{
		Use:   "describe SERVICE",
		Short: "Show all that is known of a service",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: a.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			s, err := c.Service(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json() {
				return writeJSON(a.Out, s)
			}
			a.describe(&s)
			return nil
		},
	})
}

func (a *app) describe(s *api.Service) {
	p, width := paint(a.color(a.Out)), a.Width(a.Out)
	fmt.Fprintln(a.Out, p.bold(s.Service)+"  "+clean(s.Summary))
	t := table{}
	row := func(name, value string) {
		if value != "" {
			t.add("  "+name, clean(value))
		}
	}
	row("owner", s.Owner)
	row("folder", s.Dir)
	row("build", s.Build)
	row("run", s.Run)
	row("contract", s.API)
	row("protocol", s.Protocol)
	if s.Port > 0 {
		row("port", strconv.Itoa(s.Port))
	}
	row("ready", s.Ready)
	row("database", s.Database)
	row("replicas", strconv.Itoa(s.Replicas))
	row("publishes", strings.Join(s.Publishes, ", "))
	row("subscribes", strings.Join(slices.Sorted(maps.Keys(s.Subscribes)), ", "))
	row("sagas", strings.Join(s.Sagas, ", "))
	for _, use := range s.Takes {
		row("steps", strings.Join(use.Steps, ", ")+" of "+use.Saga)
	}
	row("secrets", strings.Join(s.Secrets, ", "))
	row("called by", strings.Join(s.CalledBy, ", "))
	t.write(a.Out, width)
	section := func(title string, t *table) {
		if len(t.rows) > 0 {
			fmt.Fprintln(a.Out, p.bold(title))
			t.write(a.Out, width)
		}
	}
	calls, routes, env := &table{}, &table{}, &table{}
	for _, call := range s.Calls {
		calls.add("  "+call.Service, call.Addr, "timeout "+call.Timeout, fmt.Sprintf("%d tries", call.Tries))
	}
	for _, r := range s.Routes {
		routes.add("  "+clean(r.Host+r.Path), orDash(strings.Join(r.Methods, ",")), orDash(strings.Join(r.Auth, " or ")), strings.Join(r.Limits, ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		env.add("  "+name, clean(s.Env[name]))
	}
	section("calls", calls)
	section("routes", routes)
	section("env", env)
	if len(s.Running) > 0 {
		fmt.Fprintln(a.Out, p.bold("running"))
		for _, line := range a.replicaTable(s.Running).lines(max(width-2, 0)) {
			fmt.Fprintln(a.Out, "  "+line)
		}
	}
}
