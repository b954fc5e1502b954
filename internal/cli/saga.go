package cli

import (
	"cmp"
	"context"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/manifest"
)

func (a *app) sagaCommand() *cobra.Command {
	list := func(cmd *cobra.Command, _ []string) error { return a.listSagas(cmd.Context()) }
	cmd := a.withFormat(&cobra.Command{
		Use:   "saga",
		Short: "See and steer sagas: transactions over services",
		Long: "A saga is a list of steps that services take. Before its pivot each step can be undone, and a refusal undoes those that\n" +
			"were taken; after it each is tried until it succeeds. What cannot go on by itself is parked, and waits for a person.\n" +
			"Without a command the definitions are listed, with how many instances there are.",
		Example: "  atoll saga\n  atoll saga ls --state parked\n  atoll saga show ID --follow\n  atoll saga retry ID",
		RunE:    list,
	})
	defs := a.withFormat(&cobra.Command{
		Use:   "defs",
		Short: "List the definitions",
		Long: "Lists the definitions in force: what starts them, and how many instances there are, by state and of all versions that are\n" +
			"kept. One that is gone from the manifest is listed as long as instances of it have not ended. With --format json each line is one of them, with its steps.",
		RunE: list,
	})
	cmd.AddCommand(
		defs, a.sagaListCommand(), a.sagaShowCommand(), a.sagaStartCommand(), a.sagaCancelCommand(), a.sagaRetryCommand(), a.sagaSkipCommand(),
		a.sagaOverrideCommand(), a.sagaReplaceCommand(), a.sagaMigrateCommand(), a.sagaGraphCommand(),
	)
	return cmd
}

func (a *app) listSagas(ctx context.Context) error {
	return a.with(ctx, func(c *client.Client) error {
		list, err := c.Sagas(ctx)
		if err != nil {
			return err
		}
		if a.json() {
			for i := range list {
				if err := writeJSON(a.Out, list[i]); err != nil {
					return err
				}
			}
			return nil
		}
		if len(list) == 0 {
			fmt.Fprintln(a.Err, "the application defines no sagas")
			return nil
		}
		width := a.Width(a.Out)
		sagaTable(paint(a.color(a.Out)), list, width).write(a.Out, width)
		return nil
	})
}

func sagaTable(p paint, list []api.Saga, width int) *table {
	t := &table{right: map[int]bool{4: true, 5: true, 6: true, 7: true, 8: true}}
	t.add("SAGA", "OWNER", "VERSION", "STARTED BY", "RUNNING", "UNDOING", "PARKED", "COMPLETED", "UNDONE", "")
	for i := range list {
		s := &list[i]
		n := func(state string) string { return strconv.Itoa(s.Instances[state]) }
		summary := clean(s.Summary)
		if !s.InForce {
			summary = "gone from the manifest"
		}
		t.add(p.hue(s.Saga, s.Saga), orDash(clean(s.Owner)), s.Version, startersText(s.StartedBy), n(api.SagaRunning), n(api.SagaCompensating),
			alarming(p, s.Instances[api.SagaParked]), n(api.SagaCompleted), n(api.SagaCompensated), p.dim(summary))
	}
	t.fit(width, "", "OWNER", "VERSION")
	t.squeeze(width, 0, 16, clip)
	return t
}

// parkedSagas says how many instances wait for a person, or "" for none; and whether there are definitions.
func parkedSagas(ctx context.Context, c *client.Client) (text string, defined bool) {
	list, err := c.Sagas(ctx)
	if err != nil {
		return "", false // whoever asks shows more important things
	}
	parked := 0
	var of []string
	for i := range list {
		if n := list[i].Instances[api.SagaParked]; n > 0 {
			parked += n
			of = append(of, fmt.Sprintf("%s %d", list[i].Saga, n))
		}
	}
	if parked == 0 {
		return "", len(list) > 0
	}
	return fmt.Sprintf("%s parked: %s", plural(parked, "instance"), strings.Join(of, ", ")), true
}

// startersText says what starts a saga, in few words.
func startersText(list []api.SagaStarter) string {
	var names []string
	for _, s := range list {
		switch s.Kind {
		case api.StarterEvent, api.StarterSchedule:
			names = append(names, s.Kind+" "+s.Name)
		default:
			names = append(names, s.Name)
		}
	}
	return orDash(clean(strings.Join(names, ", ")))
}

// sagaState shows the state of an instance.
func sagaState(p paint, state string) string {
	switch state {
	case api.SagaParked:
		return p.red(state)
	case api.SagaCompleted:
		return p.green(state)
	case api.SagaCompensating, api.SagaCompensated:
		return p.yellow(state)
	}
	return state
}

// sagaFlags choose among instances.
type sagaFlags struct {
	states       []string
	key, step    string
	text, parent string
	since, until string
	limit        int
}

// query is what the flags say.
func (f *sagaFlags) query(cmd *cobra.Command, saga string) (*api.SagaQuery, error) {
	q := &api.SagaQuery{Saga: saga, States: f.states, Key: f.key, Step: f.step, Error: f.text, Parent: f.parent}
	for _, at := range []struct {
		flag, text string
		to         *time.Time
	}{{"since", f.since, &q.Since}, {"until", f.until, &q.Until}} {
		if at.text == "" {
			continue
		}
		moment, err := parseMoment(cmd, "--"+at.flag, at.text, -1)
		if err != nil {
			return nil, err
		}
		*at.to = moment
	}
	return q, nil
}

func (a *app) sagaFilter(cmd *cobra.Command, f *sagaFlags) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.states, "state", nil, "in this state: running, compensating, parked, completed or compensated")
	flags.StringVar(&f.key, "key", "", "with this business key")
	flags.StringVar(&f.step, "step", "", "parked at this step, or failed there")
	flags.StringVar(&f.text, "error", "", "whose error contains this text")
	flags.StringVar(&f.since, "since", "", "started since: 2h, or a time as in RFC 3339")
	flags.StringVar(&f.until, "until", "", "started before: 2h ago, or a time")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(sagaStates(), cobra.ShellCompDirectiveNoFileComp)) // the flag is there
}

func sagaStates() []string {
	return []string{api.SagaRunning, api.SagaCompensating, api.SagaParked, api.SagaCompleted, api.SagaCompensated}
}

func (a *app) sagaListCommand() *cobra.Command {
	var f sagaFlags
	cmd := a.withFormat(&cobra.Command{
		Use:   "ls [SAGA]",
		Short: "List and search instances",
		Long: "Lists instances, the newest first: their id, age, state, business key, and the step that is parked or went wrong, with\n" +
			"what it was. With --format json each line is one of them.",
		Example: "  atoll saga ls --state parked\n  atoll saga ls order-to-cash --key o-17\n  atoll saga ls --step charge --error 503 --since 2h",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: a.completeSagas,
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := f.query(cmd, strings.Join(args, ""))
			if err != nil {
				return err
			}
			return a.listInstances(cmd.Context(), q, f.limit)
		},
	})
	a.sagaFilter(cmd, &f)
	cmd.Flags().StringVar(&f.parent, "parent", "", "that are steps of this instance")
	cmd.Flags().IntVarP(&f.limit, "last", "n", 50, "list at most so many")
	return cmd
}

func (a *app) listInstances(ctx context.Context, q *api.SagaQuery, limit int) error {
	return a.with(ctx, func(c *client.Client) error {
		var list []api.SagaInstance
		next := "first"
		for next != "" && len(list) < limit {
			q.Limit = min(limit-len(list), 1000)
			page, err := c.SagaInstances(ctx, q)
			if err != nil {
				return err
			}
			list = append(list, page.Instances...)
			next, q.Before = page.Next, page.Next
		}
		if a.json() {
			for i := range list {
				if err := writeJSON(a.Out, list[i]); err != nil {
					return err
				}
			}
			return nil
		}
		if len(list) == 0 {
			fmt.Fprintln(a.Err, "there are no such instances")
			return nil
		}
		a.writeInstances(list, q.Saga != "")
		if next != "" {
			fmt.Fprintln(a.Err, "there are more: -n shows more of them")
		}
		return nil
	})
}

// writeInstances lists instances; of one saga its name is left out. Where there is little room an error stands below its instance.
func (a *app) writeInstances(list []api.SagaInstance, oneSaga bool) {
	p, width, now := paint(a.color(a.Out)), a.Width(a.Out), time.Now()
	t := &table{right: map[int]bool{1: true}}
	t.add("ID", "AGE", "STATE", "SAGA", "KEY", "STEP", "ERROR")
	for i := range list {
		x := &list[i]
		step, text := "", ""
		if x.Error != nil {
			step, text = orDash(x.Error.Step), clean(x.Error.Text)
		}
		t.add(x.ID, ageText(now, x.Started), sagaState(p, x.State), p.hue(x.Saga, x.Saga), orDash(clip(clean(x.Key), 24)), step, text)
	}
	if oneSaga {
		t.fit(1, "SAGA")
	}
	narrow := a.narrow()
	if narrow {
		t.fit(1, "STEP", "ERROR")
	}
	for i, line := range t.lines(width) {
		fmt.Fprintln(a.Out, line)
		if narrow && i > 0 && list[i-1].Error != nil {
			e := list[i-1].Error
			fmt.Fprintln(a.Out, clip("    "+p.dim(strings.TrimPrefix(e.Step+": ", ": ")+clean(e.Text)), width))
		}
	}
}

// operator is who gives the commands.
func (a *app) operator() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	for _, entry := range a.Environ {
		if name, value, _ := strings.Cut(entry, "="); name == "USER" {
			return value
		}
	}
	return ""
}

// completeSagas completes the name of one saga.
func (a *app) completeSagas(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.manifestNames(sagaNames)
}

func sagaNames(app *manifest.App) []string {
	var names []string
	for _, s := range app.Sagas {
		names = append(names, s.Name+"\t"+s.Summary)
	}
	return names
}

// completeInstances completes the ids of instances in some states, the newest first, and then the names of their steps.
func (a *app) completeInstances(states ...string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		var words []string
		err := a.with(cmd.Context(), func(c *client.Client) error {
			if len(args) == 1 {
				d, err := c.SagaInstance(cmd.Context(), args[0], 0)
				for i := range d.Steps {
					for _, task := range d.Steps[i].Tasks {
						words = append(words, task.Task+"\t"+task.State)
					}
				}
				return err
			}
			page, err := c.SagaInstances(cmd.Context(), &api.SagaQuery{States: states, Limit: 50})
			for _, i := range page.Instances {
				words = append(words, i.ID+"\t"+strings.Join([]string{i.State, i.Saga, cmp.Or(i.Key, "-")}, " "))
			}
			return err
		})
		if err != nil || len(args) > 1 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}
