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
	"github.com/atollhq/atoll/internal/manifest"
)

func (a *app) eventsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "events",
		Short: "See and steer the events between services",
		Long: "Shows the topics with what is published, the subscriptions with what waits for them, and what is kept. Its\n" +
			"commands publish, follow and replay events, and deal with dead letters, delayed events and webhooks.",
		Example: "  atoll events\n  atoll events tail -f order.placed\n  atoll events dead",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.listEvents(cmd.Context()) },
	}
	list := a.withFormat(&cobra.Command{
		Use:   "ls",
		Short: "List topics and subscriptions",
		Long: "Lists the topics with their publishers, subscribers and rate; the subscriptions with their state, how many events\n" +
			"wait for them and since when, are in flight, fail, and are dead letters; and what the log keeps. A subscription is\n" +
			"delivering; or nobody is there to take its events; or it is full, since as much as may be held fails; or paused,\n" +
			"a webhook that is disabled; or failing, a webhook to which the last try failed. A narrow terminal shows fewer columns.\n" +
			"With --format json it is one object.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listEvents(cmd.Context()) },
	})
	a.withFormat(cmd)
	cmd.AddCommand(
		list, a.publishCommand(), a.tailCommand(), a.showEventCommand(), a.replayCommand(), a.deadCommand(), a.delayedCommand(),
		a.asyncAPICommand(), a.outboxSchemaCommand(), a.webhooksCommand(),
	)
	return cmd
}

// with does something with the running application.
func (a *app) with(ctx context.Context, do func(*client.Client) error) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(c)
}

func (a *app) listEvents(ctx context.Context) error {
	return a.with(ctx, func(c *client.Client) error {
		b, err := c.Bus(ctx)
		if err != nil {
			return err
		}
		if a.json() {
			return writeJSON(a.Out, b)
		}
		if len(b.Topics) == 0 {
			fmt.Fprintln(a.Err, "no service publishes or subscribes to anything")
			return nil
		}
		width := a.Width(a.Out)
		a.topicTable(b.Topics).write(a.Out, width)
		if len(b.Subscriptions) > 0 {
			fmt.Fprintln(a.Out)
			subscriptionTable(paint(a.color(a.Out)), b.Subscriptions, width, time.Now()).write(a.Out, width)
		}
		fmt.Fprintf(a.Out, "\n%s\n", clip(keptText(&b), width))
		return nil
	})
}

func (a *app) narrow() bool {
	width := a.Width(a.Out)
	return width > 0 && width < wide
}

func (a *app) topicTable(topics []api.Topic) *table {
	t := &table{right: map[int]bool{3: true, 4: true}}
	t.add("TOPIC", "PUBLISHERS", "SUBSCRIBERS", "RATE", "PUBLISHED")
	room := 0 // for names, where there is little
	if a.narrow() {
		room = 18
	}
	for _, topic := range topics {
		t.add(clip(topic.Topic, 2*room), clip(orDash(strings.Join(topic.Publishers, ",")), room),
			clip(orDash(strings.Join(topic.Subscribers, ",")), room), rateText(topic.Rate), strconv.FormatUint(topic.Published, 10))
	}
	return t
}

// subscriptionTable shows, where there is little room, what may be wrong rather than how much goes on.
func subscriptionTable(p paint, list []api.Subscription, width int, now time.Time) *table {
	t := &table{right: map[int]bool{2: true, 3: true, 4: true, 5: true, 6: true, 7: true, 8: true, 9: true}}
	t.add("SUBSCRIPTION", "STATE", "WAITING", "OLDEST", "FLYING", "FAILING", "DEAD", "RATE", "ATTEMPTS", "FAILED")
	for _, s := range list {
		t.add(s.Subscription, subscriptionState(p, s.State), strconv.FormatUint(s.Waiting, 10), ageText(now, s.Oldest),
			strconv.Itoa(s.InFlight), alarming(p, s.Failing), alarming(p, int(s.Dead)),
			rateText(s.Rate), strconv.FormatUint(s.Attempts, 10), strconv.FormatUint(s.Failed, 10))
	}
	t.fit(width, "OLDEST", "RATE", "ATTEMPTS")
	t.squeeze(width, 0, 20, clip)
	t.fit(width, "FLYING", "FAILING", "WAITING")
	return t
}

// subscriptionState shows a subscription's state.
func subscriptionState(p paint, state string) string {
	switch state {
	case api.SubscriptionDelivering:
		return p.green(state)
	case api.SubscriptionUnreachable:
		return p.yellow("nobody there")
	case api.SubscriptionFailing:
		return p.yellow(state)
	case api.SubscriptionFull:
		return p.red(state)
	}
	return p.dim(state)
}

// alarming shows a number that should be 0.
func alarming(p paint, n int) string {
	if n == 0 {
		return "0"
	}
	return p.red(strconv.Itoa(n))
}

func keptText(b *api.Bus) string {
	text := plural(int(b.Log.Events), "event") + " kept"
	if b.Log.Events > 0 {
		text += fmt.Sprintf(" (%s, oldest %s, offsets %d to %d)", bytesText(int64(b.Log.Bytes)), ageText(time.Now(), b.Log.Oldest), b.Log.First, b.Log.Next-1)
	}
	return fmt.Sprintf("%s, %s, %d delayed", text, plural(int(b.Dead), "dead letter"), b.Delayed)
}

// rateText is how much happens a second.
func rateText(rate float64) string {
	switch {
	case rate <= 0:
		return "-"
	case rate < 10:
		return fmt.Sprintf("%.1f/s", rate)
	}
	return fmt.Sprintf("%.0f/s", rate)
}

// ageText is how long ago something was, in its largest unit.
func ageText(now, t time.Time) string {
	const day = 24 * time.Hour
	age := now.Sub(t)
	switch {
	case t.IsZero():
		return "-"
	case age < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(age.Seconds())))
	case age < time.Hour:
		return fmt.Sprintf("%dm", int(age.Minutes()))
	case age < 2*day:
		return fmt.Sprintf("%dh", int(age.Hours()))
	}
	return fmt.Sprintf("%dd", int(age/day))
}

// confirm asks whether to go on; with --yes it goes on. Where there is nobody to ask, since standard input is no terminal, it
// refuses. Its error says why the command ends.
func (a *app) confirm(cmd *cobra.Command, yes bool, question string) error {
	if yes {
		return nil
	}
	if width, _ := a.Size(a.In); width == 0 {
		return usage(cmd, "there is nobody to ask: %s", question).Fix("add --yes if that is what you want")
	}
	fmt.Fprintf(a.Err, "%s [y/N] ", question)
	var answer string
	_, _ = fmt.Fscanln(a.In, &answer) // an empty line is no
	if !strings.EqualFold(answer, "y") && !strings.EqualFold(answer, "yes") {
		fmt.Fprintln(a.Err, "nothing was done")
		return errSaid
	}
	return nil
}

// manifestNames completes what the manifests name.
func (a *app) manifestNames(names func(*manifest.App) []string) ([]string, cobra.ShellCompDirective) {
	dir, err := a.folder()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	loaded, _ := manifest.Load(dir, &manifest.Options{Environ: a.Environ})
	if loaded == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names(loaded), cobra.ShellCompDirectiveNoFileComp
}

// completeTopics completes one topic.
func (a *app) completeTopics(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return a.manifestNames(topicNames)
}

func topicNames(app *manifest.App) []string {
	var names []string
	for _, t := range app.Topics() {
		names = append(names, t.Name+"\t"+t.Summary)
	}
	return names
}

// completeSubscriptions completes one subscription.
func (a *app) completeSubscriptions(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.manifestNames(func(app *manifest.App) []string {
		var names []string
		for _, s := range app.Services {
			for _, topic := range slices.Sorted(maps.Keys(s.Subscribes)) {
				names = append(names, s.Name+"/"+topic)
			}
		}
		return names
	})
}

// offsets reads arguments that are offsets.
func offsets(cmd *cobra.Command, args []string) ([]uint64, error) {
	var out []uint64
	for _, arg := range args {
		n, err := strconv.ParseUint(arg, 10, 64)
		if err != nil || n == 0 {
			return nil, usage(cmd, "%q is not a number from the list", arg)
		}
		out = append(out, n)
	}
	return out, nil
}
