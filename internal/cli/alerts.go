package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
)

func (a *app) alertsCommand() *cobra.Command {
	var all bool
	list := func(cmd *cobra.Command, _ []string) error { return a.listAlerts(cmd.Context(), all) }
	cmd := a.withFormat(&cobra.Command{
		Use:   "alerts",
		Short: "See what is wrong, and silence what is known",
		Long: "Lists the alerts that fire, wait to fire, or fired until a while ago. The rules are those under alerts in atoll.yaml, and the\n" +
			"default ones that every application has.",
		RunE: list,
	})
	ls := a.withFormat(&cobra.Command{
		Use: "ls", Short: "List alerts", RunE: list,
		Long: "Lists the alerts that fire, wait to fire, or fired until a while ago. With --all it also lists the rules in force and who\n" +
			"is told. With --format json each line is an alert; with --all there is one line, which holds all three.",
	})
	for _, c := range []*cobra.Command{cmd, ls} {
		c.Flags().BoolVar(&all, "all", false, "list rules and receivers too")
	}
	cmd.AddCommand(ls, a.alertHistoryCommand(), a.testAlertCommand(), a.silenceCommand())
	return cmd
}

func (a *app) listAlerts(ctx context.Context, all bool) error {
	return a.with(ctx, func(c *client.Client) error {
		list, err := c.Alerts(ctx)
		if err != nil {
			return err
		}
		switch {
		case a.json() && all:
			return writeJSON(a.Out, list)
		case a.json():
			return writeLines(a, list.Alerts)
		}
		p, width, now := paint(a.color(a.Out)), a.Width(a.Out), time.Now()
		if len(list.Alerts) == 0 {
			fmt.Fprintln(a.Err, "no alert fires")
		} else {
			alertTable(p, list.Alerts, width, now).write(a.Out, width)
		}
		if all {
			fmt.Fprintln(a.Out)
			ruleTable(p, list.Rules, width, now).write(a.Out, width)
			if len(list.Receivers) > 0 {
				fmt.Fprintln(a.Out)
				receiverTable(p, list.Receivers, now).write(a.Out, width)
			}
		}
		return nil
	})
}

// writeLines writes each item as a line of JSON.
func writeLines[T any](a *app, list []T) error {
	for i := range list {
		if err := writeJSON(a.Out, list[i]); err != nil {
			return err
		}
	}
	return nil
}

func alertTable(p paint, list []api.Alert, width int, now time.Time) *table {
	t := &table{}
	t.add("STATE", "SINCE", "SEVERITY", "ALERT", "VALUE", "LABELS", "SUMMARY")
	for i := range list {
		x := &list[i]
		t.add(alertState(p, x), ageText(now, x.Since), x.Severity, clean(x.Alert), clean(x.ValueText), clean(ownLabels(x.Labels)), clean(x.Summary))
	}
	t.squeeze(width, len(t.rows[0])-1, 24, clip)
	t.squeeze(width, slices.Index(t.rows[0], "LABELS"), 16, clip)
	t.fit(width, "VALUE", "SEVERITY", "LABELS")
	return t
}

// alertState shows a state, and why nobody is told.
func alertState(p paint, x *api.Alert) string {
	text := x.State
	if len(x.Silenced) > 0 {
		return p.dim(text + " (silenced)")
	}
	if !x.NoDataSince.IsZero() {
		text += " (no data)"
	}
	switch {
	case x.State == api.AlertResolved:
		return p.green(text)
	case x.State == api.AlertPending || x.Severity == "warning":
		return p.yellow(text)
	}
	return p.red(text)
}

// ownLabels are the labels that say more than the other columns.
func ownLabels(labels map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if name != "alert" && name != "severity" {
			parts = append(parts, name+"="+labels[name])
		}
	}
	return strings.Join(parts, " ")
}

func ruleTable(p paint, list []api.AlertRule, width int, now time.Time) *table {
	t := &table{right: map[int]bool{2: true, 3: true}}
	t.add("RULE", "ABOUT", "FIRING", "PENDING", "ASKED", "QUESTION")
	for i := range list {
		r := &list[i]
		question := clean(strings.Join(strings.Fields(r.Query), " "))
		switch {
		case r.Error != "":
			question = p.red(clean(r.Error))
		case r.SLO != nil:
			question = fmt.Sprintf("%.6g%% of the requests to %s are good, over %s", r.SLO.Objective*100, clean(r.SLO.Service), r.SLO.Window)
		}
		name := clean(r.Alert)
		if r.Default {
			name += p.dim(" (default)")
		}
		t.add(name, r.Source, numberOrDash(r.Firing), numberOrDash(r.Pending), ageText(now, r.Asked), question)
	}
	t.squeeze(width, len(t.rows[0])-1, 24, clip)
	t.fit(width, "ASKED", "ABOUT", "PENDING")
	return t
}

func receiverTable(p paint, list []api.AlertReceiver, now time.Time) *table {
	t := &table{right: map[int]bool{2: true}}
	t.add("RECEIVER", "OF", "GROUPS", "STATE")
	for _, r := range list {
		of, state := "all", "not told of anything yet"
		if r.Severity != "" {
			of = r.Severity
		}
		switch {
		case r.Error != "":
			state = p.red("failing for "+ageText(now, r.Since)) + ": " + clean(r.Error)
		case !r.Since.IsZero():
			state = p.green("told") + " " + ageText(now, r.Since) + " ago"
		}
		t.add(clean(r.Name), of, numberOrDash(r.Groups), state)
	}
	return t
}

func (a *app) alertHistoryCommand() *cobra.Command {
	var limit int
	cmd := a.withFormat(&cobra.Command{
		Use: "history", Short: "List what has changed, the newest first",
		Long: "Lists when alerts began and ceased to fire, when a question could not be answered or somebody not be told, and silences. 1,000\n" +
			"changes are kept.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(c *client.Client) error {
				list, err := c.AlertHistory(cmd.Context(), limit)
				if err != nil || a.json() {
					return firstError(err, func() error { return writeLines(a, list) })
				}
				if len(list) == 0 {
					fmt.Fprintln(a.Err, "nothing has happened yet")
					return nil
				}
				p, t := paint(a.color(a.Out)), &table{}
				t.add("TIME", "WHAT", "ALERT", "LABELS", "")
				for i := range list {
					t.add(changeRow(p, &list[i])...)
				}
				t.write(a.Out, a.Width(a.Out))
				return nil
			})
		},
	})
	cmd.Flags().IntVarP(&limit, "last", "n", 50, "at most so many")
	return cmd
}

// firstError is err, or what do answers.
func firstError(err error, do func() error) error {
	if err != nil {
		return err
	}
	return do()
}

func changeRow(p paint, c *api.AlertChange) []string {
	what := c.Kind
	switch c.Kind {
	case "firing", "rule-failing", "tell-failing", "state-failing", "state-lost":
		what = p.red(what)
	case "resolved":
		if what = p.green(what); c.Reason != "fine" {
			what += " (" + c.Reason + ")"
		}
	}
	text := clean(c.Summary)
	if c.By != "" {
		text = strings.TrimSpace(clean(c.By) + " " + text)
	}
	name := c.Alert
	if name == "" {
		name = c.Subject
	}
	return []string{c.At.Local().Format("01-02 15:04:05"), what, orDash(clean(name)), orDash(clean(ownLabels(c.Labels))), text}
}

func (a *app) testAlertCommand() *cobra.Command {
	return a.withFormat(&cobra.Command{
		Use: "test ALERT", Short: "Ask the question of a rule now, and see what it answers", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeAlerts,
		Long: "Asks the question of a rule and shows each answer, and whether it is wrong. Nothing fires, and nobody is told.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(c *client.Client) error {
				test, err := c.TestAlert(cmd.Context(), args[0])
				if err != nil || a.json() {
					return firstError(err, func() error { return writeJSON(a.Out, test) })
				}
				if len(test.Results) == 0 {
					fmt.Fprintln(a.Err, "the answer is empty: there is no data that the question is about")
					return nil
				}
				p, t := paint(a.color(a.Out)), &table{}
				t.add("", "VALUE", "LABELS", "SUMMARY")
				for _, r := range test.Results {
					state := p.green("fine")
					if r.Wrong {
						state = p.red("wrong")
					}
					t.add(state, clean(r.ValueText), orDash(clean(ownLabels(r.Labels))), clean(r.Summary))
				}
				t.write(a.Out, a.Width(a.Out))
				return nil
			})
		},
	})
}

// completeAlerts completes the name of a rule, where the application runs.
func (a *app) completeAlerts(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) == 0 {
		_ = a.with(cmd.Context(), func(c *client.Client) error {
			list, err := c.Alerts(cmd.Context())
			for _, r := range list.Rules {
				names = append(names, r.Alert)
			}
			return err
		}) // without it there is nothing to complete
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
