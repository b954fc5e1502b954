package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/fault"
)

// knownTopic refuses a topic that does not exist: it is misspelt.
func knownTopic(b *api.Bus, topic string) error {
	if topic == "" || strings.Contains(topic, "*") {
		return nil
	}
	var names []string
	for _, t := range b.Topics {
		names = append(names, t.Topic)
	}
	if slices.Contains(names, topic) {
		return nil
	}
	if len(names) == 0 {
		return fault.New(fault.CodeTopicUnknown, "there is no topic %q", topic).Fix("no service publishes or subscribes to anything yet")
	}
	return fault.New(fault.CodeTopicUnknown, "there is no topic %q", topic).Fix("the topics are %s", strings.Join(names, ", "))
}

func (a *app) replayCommand() *cobra.Command {
	var from string
	var yes bool
	cmd := &cobra.Command{
		Use:   "replay SUBSCRIPTION --from TIME|DURATION|OFFSET",
		Short: "Deliver events to a subscription again",
		Long: "Lets a subscription read again from a time, a while ago or an offset on: all that is still kept of its topics is\n" +
			"delivered once more, under the same ids, and after it what comes. Other subscriptions see nothing of it.",
		Example: "  atoll events replay crm/order.placed --from 2h\n  atoll events replay crm/order.placed --from 1200",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeSubscriptions,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := api.Replay{Subscription: args[0]}
			if from == "" {
				return usage(cmd, "it is not said from where: --from 2h, --from 2026-01-31T08:00:00Z or --from 1200")
			}
			if n, err := strconv.ParseUint(from, 10, 64); err == nil {
				r.Offset = max(1, n)
			} else if r.Time, err = parseMoment(cmd, "--from", from, -1); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(c *client.Client) error { return a.replay(cmd, c, r, yes) })
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "where to begin: 2h ago, a time as in RFC 3339, or an offset")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask; needed where standard input is no terminal")
	return a.withFormat(cmd)
}

func (a *app) replay(cmd *cobra.Command, c *client.Client, r api.Replay, yes bool) error {
	ask := r
	ask.DryRun = true
	would, err := c.ReplayEvents(cmd.Context(), ask)
	if err != nil {
		return err
	}
	many := plural(int(would.Events), "event")
	if would.More {
		many = "more than " + many
	}
	if err := a.confirm(cmd, yes, fmt.Sprintf("deliver %s from offset %d on to %s again?", many, would.From, r.Subscription)); err != nil {
		return err
	}
	done, err := c.ReplayEvents(cmd.Context(), api.Replay{Subscription: r.Subscription, Offset: max(1, would.From)})
	if err != nil {
		return err
	}
	if a.json() {
		return writeJSON(a.Out, done)
	}
	fmt.Fprintf(a.Out, "%s gets %s again, from offset %d on\n", r.Subscription, many, done.From)
	return nil
}

func (a *app) delayedCommand() *cobra.Command {
	var limit int
	list := func(cmd *cobra.Command, _ []string) error {
		return a.with(cmd.Context(), func(c *client.Client) error {
			page, err := c.DelayedEvents(cmd.Context(), 1, limit)
			if err != nil {
				return err
			}
			return a.listDelayed(page)
		})
	}
	cmd := a.withFormat(&cobra.Command{
		Use:   "delayed",
		Short: "List and drop events that wait for their time",
		RunE:  list,
	})
	ls := a.withFormat(&cobra.Command{
		Use:   "ls",
		Short: "List events that wait for their time",
		Long:  "Lists the events in the order in which they were published. With --format json each line is one of them.",
		RunE:  list,
	})
	for _, flags := range []*cobra.Command{cmd, ls} {
		flags.Flags().IntVarP(&limit, "last", "n", 100, "list at most so many")
	}
	drop := a.withFormat(&cobra.Command{
		Use:   "drop N...",
		Short: "Drop events before their time comes",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			numbers, err := offsets(cmd, args)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(c *client.Client) error {
				done, err := c.DropDelayed(cmd.Context(), api.Selection{Offsets: numbers})
				return a.settled(done, err, "delayed event", "dropped")
			})
		},
	})
	cmd.AddCommand(ls, drop)
	return cmd
}

func (a *app) listDelayed(page api.DelayedEvents) error {
	if a.json() {
		for _, e := range page.Events {
			if err := writeJSON(a.Out, e); err != nil {
				return err
			}
		}
		return nil
	}
	if len(page.Events) == 0 {
		fmt.Fprintln(a.Err, "no event waits for its time")
		return nil
	}
	t := &table{right: map[int]bool{0: true}}
	t.add("N", "DUE", "TOPIC", "KEY", "DATA")
	for _, e := range page.Events {
		content := contentOf(e.Event)
		t.add(strconv.FormatUint(e.Offset, 10), e.Due.Local().Format(time.RFC3339), e.Topic, orDash(clean(e.Key)), clip(clean(content.line()), 80))
	}
	t.write(a.Out, a.Width(a.Out))
	if page.Next > 0 {
		fmt.Fprintln(a.Err, "there are more: -n shows more of them")
	}
	return nil
}

// settled says what became of a selection: how many things were done, and each that was not.
func (a *app) settled(s api.Settled, err error, noun, done string) error {
	if err != nil {
		return err
	}
	if a.json() {
		err = writeJSON(a.Out, s)
	} else if s.Done > 0 || len(s.Failed) == 0 {
		fmt.Fprintf(a.Out, "%s %s\n", plural(s.Done, noun), done)
	}
	for _, f := range s.Failed {
		sayError(a.World, f.Fault)
	}
	if len(s.Failed) > 0 {
		return errSaid
	}
	return err
}
