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
)

func (a *app) webhooksCommand() *cobra.Command {
	list := func(cmd *cobra.Command, _ []string) error { return a.listWebhooks(cmd.Context()) }
	cmd := a.withFormat(&cobra.Command{
		Use:   "webhooks",
		Short: "Send events to parties outside",
		Long: "A webhook sends every event of its topics to a party outside, by HTTPS, signed after Standard Webhooks, and tries for\n" +
			"three days.",
		RunE: list,
	})
	cmd.AddCommand(
		a.withFormat(&cobra.Command{Use: "ls", Short: "List webhooks", RunE: list}), a.addWebhookCommand(),
		a.webhookCommand("show", "Show a webhook", (*client.Client).Webhook),
		a.webhookCommand("rotate", "Give a webhook a new secret; the old one signs too for a day", (*client.Client).RotateWebhook),
		a.webhookCommand("enable", "Send to a webhook again, from where it stood", enable(true)),
		a.webhookCommand("disable", "Send nothing to a webhook until it is enabled", enable(false)),
		a.removeWebhookCommand(), a.deliveriesCommand(), a.replayWebhookCommand(),
	)
	return cmd
}

func enable(enabled bool) func(*client.Client, context.Context, string) (api.Webhook, error) {
	return func(c *client.Client, ctx context.Context, id string) (api.Webhook, error) {
		return c.EnableWebhook(ctx, id, enabled)
	}
}

func (a *app) listWebhooks(ctx context.Context) error {
	return a.with(ctx, func(c *client.Client) error {
		list, err := c.Webhooks(ctx)
		if err != nil {
			return err
		}
		if a.json() {
			for _, w := range list {
				if err := writeJSON(a.Out, w); err != nil {
					return err
				}
			}
			return nil
		}
		if len(list) == 0 {
			fmt.Fprintln(a.Err, "there are no webhooks")
			return nil
		}
		width := a.Width(a.Out)
		webhookTable(paint(a.color(a.Out)), list, width, time.Now()).write(a.Out, width)
		return nil
	})
}

func webhookTable(p paint, list []api.Webhook, width int, now time.Time) *table {
	const topics, url = 3, 4 // columns
	t := &table{}
	t.add("ID", "STATE", "SINCE", "TOPICS", "URL")
	for _, w := range list {
		t.add(w.ID, webhookState(p, &w), ageText(now, w.Since), strings.Join(w.Topics, ","), clean(w.URL))
	}
	t.squeeze(width, url, 40, shortURL)
	t.squeeze(width, topics, 12, clip)
	t.fit(width, "SINCE")
	at := slices.Index(t.rows[0], "URL")
	t.squeeze(width, at, 20, shortURL)
	t.fit(width, "TOPICS")
	return t
}

// shortURL cuts a URL to width columns, so that one still tells whose it is and which: its host and the end of its path stay.
func shortURL(url string, width int) string {
	url = strings.TrimPrefix(url, "https://")
	text := []rune(url)
	if len(text) <= width {
		return url
	}
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		scheme, rest = "", url
	}
	host, _, _ := strings.Cut(rest, "/")
	head := len([]rune(scheme + host))
	if ok {
		head += len("://")
	}
	head = min(head, width*2/3)
	return string(text[:head]) + "…" + string(text[len(text)-(width-head-1):])
}

// webhookState shows whether a webhook is sent to, and why not.
func webhookState(p paint, w *api.Webhook) string {
	switch {
	case w.State != "active":
		return p.red(w.State + " (" + w.Reason + ")")
	case !w.FailingSince.IsZero():
		return p.yellow("failing")
	}
	return p.green(w.State)
}

func (a *app) addWebhookCommand() *cobra.Command {
	var s api.WebhookSpec
	cmd := &cobra.Command{
		Use:   "add URL --topics TOPIC,...",
		Short: "Add a webhook",
		Long: "Adds a webhook, which gets what is published from now on, and prints its secret: this once. order.* stands for all\n" +
			"topics below order, * for all.",
		Example: "  atoll events webhooks add https://partner.example/hooks --topics order.placed,payment.*",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(s.Topics) == 0 {
				return usage(cmd, "no topics are named: --topics order.placed,payment.*")
			}
			s.URL = args[0]
			return a.with(cmd.Context(), func(c *client.Client) error {
				w, err := c.CreateWebhook(cmd.Context(), s)
				return a.showWebhook(&w, err)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&s.Topics, "topics", nil, "topics that it gets, separated by commas")
	flags.StringVar(&s.Name, "name", "", "name, for people")
	flags.StringToStringVar(&s.Filter, "filter", nil, "only events whose attributes have these values: type=x,subject=y")
	flags.BoolVar(&s.AllowPrivate, "allow-private", false, "private and loopback addresses are good, and plain http")
	_ = cmd.RegisterFlagCompletionFunc("topics", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return a.manifestNames(topicNames)
	}) // the flag is there
	return a.withFormat(cmd)
}

// webhookCommand is a command that does something with one webhook and shows it.
func (a *app) webhookCommand(name, short string, do func(*client.Client, context.Context, string) (api.Webhook, error)) *cobra.Command {
	return a.withFormat(&cobra.Command{
		Use: name + " ID", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(c *client.Client) error {
				w, err := do(c, cmd.Context(), args[0])
				return a.showWebhook(&w, err)
			})
		},
	})
}

func (a *app) showWebhook(w *api.Webhook, err error) error {
	if err != nil {
		return err
	}
	if a.json() {
		return writeJSON(a.Out, w)
	}
	p := paint(a.color(a.Out))
	fmt.Fprintln(a.Out, p.bold(w.ID)+"  "+clean(w.Name))
	t := &table{}
	t.add("  url", clean(w.URL))
	t.add("  topics", strings.Join(w.Topics, ", "))
	for _, name := range slices.Sorted(maps.Keys(w.Filter)) {
		t.add("  only with", clean(name+"="+w.Filter[name]))
	}
	t.add("  state", webhookState(p, w)+" since "+w.Since.Local().Format(time.RFC3339))
	if w.AllowPrivate {
		t.add("  addresses", "private ones too")
	}
	if w.Secret != "" {
		t.add("  secret", w.Secret)
	}
	t.write(a.Out, 0) // nothing of a secret is cut off
	if w.Secret != "" {
		fmt.Fprintln(a.Err, "give the secret to the receiver; it is not shown again")
	}
	return nil
}

func (a *app) removeWebhookCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rm ID", Short: "Remove a webhook and its secrets", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(c *client.Client) error {
				if err := c.RemoveWebhook(cmd.Context(), args[0]); err != nil {
					return err
				}
				fmt.Fprintf(a.Out, "%s is removed\n", args[0])
				return nil
			})
		},
	}
}

func (a *app) deliveriesCommand() *cobra.Command {
	var limit int
	cmd := a.withFormat(&cobra.Command{
		Use: "deliveries ID", Short: "List the newest tries to send to a webhook", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeWebhooks,
		Long: "Lists the newest tries, the newest first. With --format json each line is one of them.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(c *client.Client) error {
				list, err := c.WebhookDeliveries(cmd.Context(), args[0], limit)
				if err != nil {
					return err
				}
				return a.listDeliveries(list)
			})
		},
	})
	cmd.Flags().IntVarP(&limit, "last", "n", 20, "at most so many")
	return cmd
}

func (a *app) listDeliveries(list []api.WebhookDelivery) error {
	if a.json() {
		for _, d := range list {
			if err := writeJSON(a.Out, d); err != nil {
				return err
			}
		}
		return nil
	}
	if len(list) == 0 {
		fmt.Fprintln(a.Err, "nothing was sent yet")
		return nil
	}
	p := paint(a.color(a.Out))
	t := &table{right: map[int]bool{0: true, 4: true, 6: true}}
	t.add("N", "TIME", "TOPIC", "EVENT", "TRY", "STATUS", "TOOK", "")
	for _, d := range list {
		t.add(strconv.FormatUint(d.Delivery, 10), d.Time.Local().Format("01-02 15:04:05"), d.Topic, clip(clean(d.EventID), 12), strconv.Itoa(d.Attempt),
			statusText(p, d.Status, d.Class != ""), tookText(d.TookMS), clean(d.Text))
	}
	t.write(a.Out, a.Width(a.Out))
	return nil
}

func (a *app) replayWebhookCommand() *cobra.Command {
	return a.withFormat(&cobra.Command{
		Use:   "replay ID [N]",
		Short: "Send to a webhook again",
		Long:  "Sends again what a delivery was about, by its number from the list of deliveries; without a number, all that was given up.",
		Args:  cobra.RangeArgs(1, 2), ValidArgsFunction: a.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			numbers, err := offsets(cmd, args[1:])
			if err != nil {
				return err
			}
			var r api.WebhookReplay
			if len(numbers) == 1 {
				r.Delivery = numbers[0]
			}
			return a.with(cmd.Context(), func(c *client.Client) error {
				done, err := c.ReplayWebhook(cmd.Context(), args[0], r)
				return a.settled(done, err, "event", "sent again")
			})
		},
	})
}

// completeWebhooks completes the id of a webhook, where the application runs.
func (a *app) completeWebhooks(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	if len(args) == 0 {
		_ = a.with(cmd.Context(), func(c *client.Client) error {
			list, err := c.Webhooks(cmd.Context())
			for _, w := range list {
				ids = append(ids, w.ID+"\t"+w.URL)
			}
			return err
		}) // without it there is nothing to complete
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
