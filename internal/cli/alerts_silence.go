package cli

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
)

func (a *app) silenceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "silence", Short: "Keep alerts from being told of for a while",
		Long: "A silence keeps alerts from being told of, for a while. They are shown all the same.",
	}
	cmd.AddCommand(a.addSilenceCommand(), a.removeSilenceCommand(), a.listSilencesCommand())
	return cmd
}

func (a *app) addSilenceCommand() *cobra.Command {
	var s api.SilenceSpec
	var lasts time.Duration
	cmd := a.withFormat(&cobra.Command{
		Use:   "add MATCHER... --for TIME",
		Short: "Silence alerts whose labels match",
		Long: "Silences the alerts whose labels fit every matcher: LABEL=VALUE, LABEL!=VALUE, LABEL=~FORM or LABEL!~FORM, where FORM is a\n" +
			"regular expression for the whole value. The name of a rule is the label alert.",
		Example: "  atoll alerts silence add alert=latency service=orders --for 2h --comment \"an index is being built\"",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if lasts <= 0 {
				return usage(cmd, "--for wants a time span such as 2h")
			}
			s.Matchers, s.For = args, lasts.String()
			if s.By == "" {
				s.By = cmp.Or(a.operator(), "somebody")
			}
			return a.with(cmd.Context(), func(c *client.Client) error {
				added, err := c.AddSilence(cmd.Context(), s)
				if err != nil || a.json() {
					return firstError(err, func() error { return writeJSON(a.Out, added) })
				}
				fmt.Fprintf(a.Out, "%s is in force until %s\n", added.ID, added.Until.Local().Format("2006-01-02 15:04"))
				return nil
			})
		},
	})
	cmd.Flags().DurationVar(&lasts, "for", time.Hour, "how long it lasts, at most 2160h")
	cmd.Flags().StringVar(&s.Comment, "comment", "", "why, for those who wonder")
	cmd.Flags().StringVar(&s.By, "by", "", "who silences; default the user of this shell")
	return cmd
}

func (a *app) removeSilenceCommand() *cobra.Command {
	return a.withFormat(&cobra.Command{
		Use: "rm ID", Short: "End a silence now", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeSilences,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(c *client.Client) error {
				ended, err := c.EndSilence(cmd.Context(), args[0])
				if err != nil || a.json() {
					return firstError(err, func() error { return writeJSON(a.Out, ended) })
				}
				fmt.Fprintf(a.Out, "%s has ended\n", ended.ID)
				return nil
			})
		},
	})
}

func (a *app) listSilencesCommand() *cobra.Command {
	return a.withFormat(&cobra.Command{
		Use: "ls", Short: "List silences, and those that ended within five days",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(c *client.Client) error {
				list, err := c.Silences(cmd.Context())
				if err != nil || a.json() {
					return firstError(err, func() error { return writeLines(a, list) })
				}
				if len(list) == 0 {
					fmt.Fprintln(a.Err, "there are no silences")
					return nil
				}
				p, t := paint(a.color(a.Out)), &table{}
				t.add("ID", "STATE", "UNTIL", "BY", "MATCHERS", "COMMENT")
				for i := range list {
					s := &list[i]
					state := p.yellow(s.State)
					if s.State != api.SilenceActive {
						state = p.dim(s.State)
					}
					t.add(s.ID, state, s.Until.Local().Format("01-02 15:04"), clean(s.By), clean(strings.Join(s.Matchers, " ")), clean(s.Comment))
				}
				t.write(a.Out, a.Width(a.Out))
				return nil
			})
		},
	})
}

// completeSilences completes the id of a silence in force, where the application runs.
func (a *app) completeSilences(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	if len(args) == 0 {
		_ = a.with(cmd.Context(), func(c *client.Client) error {
			list, err := c.Silences(cmd.Context())
			for _, s := range list {
				if s.State == api.SilenceActive {
					ids = append(ids, s.ID+"\t"+strings.Join(s.Matchers, " "))
				}
			}
			return err
		}) // without it there is nothing to complete
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
