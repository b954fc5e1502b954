package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/fault"
)

// deadFlags choose among dead letters.
type deadFlags struct {
	subscription, topic string
	limit               int
	all, yes            bool
}

func (a *app) deadCommand() *cobra.Command {
	var f deadFlags
	list := func(cmd *cobra.Command, _ []string) error { return a.listDead(cmd.Context(), &f) }
	cmd := a.withFormat(&cobra.Command{
		Use:   "dead",
		Short: "List, look at, mend, replay and drop dead letters",
		Long: "A dead letter is an event that a subscription has given up: its subscriber refused it for good, or failed it as often\n" +
			"as it is tried. It is kept, with every attempt, until it is replayed or dropped.",
		RunE: list,
	})
	ls := a.withFormat(&cobra.Command{
		Use:   "ls",
		Short: "List dead letters",
		Long:  "Lists the dead letters, the oldest first. With --format json each line is one of them, with attempts and event.",
		RunE:  list,
	})
	for _, c := range []*cobra.Command{cmd, ls} {
		a.deadFilter(c, &f)
		c.Flags().IntVarP(&f.limit, "last", "n", 100, "list at most so many")
	}
	cmd.AddCommand(ls, a.deadShowCommand(), a.deadReplayCommand(), a.deadEditCommand(), a.deadDropCommand())
	return cmd
}

// deadFilter gives a command the flags that choose by subscription and topic.
func (a *app) deadFilter(cmd *cobra.Command, f *deadFlags) {
	cmd.Flags().StringVar(&f.subscription, "subscription", "", "of this subscription")
	cmd.Flags().StringVar(&f.topic, "topic", "", "of this topic")
	for name, complete := range map[string]cobra.CompletionFunc{"subscription": a.completeSubscriptions, "topic": a.completeTopics} {
		_ = cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, _ []string, text string) ([]string, cobra.ShellCompDirective) {
			return complete(cmd, nil, text)
		}) // the flag is there
	}
}

func (a *app) listDead(ctx context.Context, f *deadFlags) error {
	return a.with(ctx, func(c *client.Client) error {
		var list []api.DeadLetter
		next := uint64(1)
		for next > 0 && len(list) < f.limit {
			page, err := c.DeadLetters(ctx, f.subscription, f.topic, next, f.limit-len(list))
			if err != nil {
				return err
			}
			list, next = append(list, page.DeadLetters...), page.Next
		}
		if a.json() {
			for _, d := range list {
				if err := writeJSON(a.Out, d); err != nil {
					return err
				}
			}
			return nil
		}
		if len(list) == 0 {
			fmt.Fprintln(a.Err, "there are no dead letters")
			return nil
		}
		a.deadTable(list).write(a.Out, a.Width(a.Out))
		if next > 0 {
			fmt.Fprintln(a.Err, "there are more: -n shows more of them")
		}
		return nil
	})
}

func (a *app) deadTable(list []api.DeadLetter) *table {
	p := paint(a.color(a.Out))
	t := &table{right: map[int]bool{0: true, 4: true}}
	t.add("N", "DIED", "SUBSCRIPTION", "KEY", "TRIES", "LAST ANSWER")
	now := time.Now()
	for _, d := range list {
		t.add(strconv.FormatUint(d.Offset, 10), ageText(now, d.Died)+" ago", p.hue(d.Subscription, clip(d.Subscription, 32)),
			orDash(clip(clean(contentOf(d.Event).Key), 16)), strconv.Itoa(d.Failed), clean(lastAnswer(&d)))
	}
	return t
}

// lastAnswer is what the last attempt came to.
func lastAnswer(d *api.DeadLetter) string {
	if len(d.Attempts) == 0 {
		return d.Cause
	}
	return attemptText(&d.Attempts[len(d.Attempts)-1])
}

// tookText is how long something took, in milliseconds.
func tookText(ms int64) string {
	if ms == 0 {
		return "<1ms"
	}
	return millisText(ms)
}

func attemptText(t *api.Attempt) string {
	if t.Status == 0 {
		return t.Text
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", t.Status, t.Text))
}

func (a *app) deadShowCommand() *cobra.Command {
	return a.withFormat(&cobra.Command{
		Use:   "show N",
		Short: "Show a dead letter with every attempt",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			numbers, err := offsets(cmd, args)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(c *client.Client) error {
				d, err := c.DeadLetter(cmd.Context(), numbers[0])
				if err != nil {
					return err
				}
				if a.json() {
					return writeJSON(a.Out, d)
				}
				a.showDead(&d)
				return nil
			})
		},
	})
}

func (a *app) showDead(d *api.DeadLetter) {
	p, width := paint(a.color(a.Out)), a.Width(a.Out)
	fmt.Fprintf(a.Out, "%s  dead letter %d\n", p.bold(d.Subscription), d.Offset)
	t := &table{}
	t.add("  topic", d.Topic)
	t.add("  cause", clean(d.Cause))
	t.add("  died", d.Died.Local().Format(time.RFC3339))
	t.add("  published", fmt.Sprintf("%s at offset %d", d.Stored.Local().Format(time.RFC3339), d.Origin))
	a.showEvent(t, d.Event)
	if len(d.Attempts) == 0 {
		return
	}
	fmt.Fprintln(a.Out, p.bold("attempts"))
	attempts := &table{right: map[int]bool{1: true}}
	for _, t := range d.Attempts {
		attempts.add("  "+t.Time.Local().Format("2006-01-02 15:04:05.000"), tookText(t.TookMS), orDash(t.Replica), clean(attemptText(&t)))
	}
	attempts.write(a.Out, width)
}

// selection reads which dead letters are meant: numbers, or all.
func (f *deadFlags) selection(cmd *cobra.Command, args []string) (api.Selection, error) {
	numbers, err := offsets(cmd, args)
	if err != nil {
		return api.Selection{}, err
	}
	switch {
	case f.all && len(args) > 0:
		return api.Selection{}, usage(cmd, "both numbers and --all are given")
	case !f.all && len(args) == 0 && f.subscription == "" && f.topic == "":
		return api.Selection{}, usage(cmd, "it is not said which: name their numbers, or --all")
	case len(args) > 0 && (f.subscription != "" || f.topic != ""):
		return api.Selection{}, usage(cmd, "numbers are given, and --subscription or --topic")
	}
	return api.Selection{Offsets: numbers, All: len(args) == 0, Subscription: f.subscription, Topic: f.topic}, nil
}

// selectionText names a selection in a question.
func selectionText(s api.Selection) string {
	if !s.All {
		return plural(len(s.Offsets), "dead letter")
	}
	text := "all dead letters"
	if s.Subscription != "" {
		text += " of " + s.Subscription
	}
	if s.Topic != "" {
		text += " of the topic " + s.Topic
	}
	return text
}

func (a *app) deadReplayCommand() *cobra.Command {
	var f deadFlags
	cmd := a.withFormat(&cobra.Command{
		Use:   "replay N...",
		Short: "Deliver dead letters again",
		Long: "Delivers dead letters again, each to the subscription alone that has given it up and under its own id; those that\n" +
			"were delivered are dead letters no more. What fails again becomes a new one.",
		Example: "  atoll events dead replay 3 4\n  atoll events dead replay --subscription crm/order.placed",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := f.selection(cmd, args)
			if err != nil {
				return err
			}
			if s.All {
				if err := a.confirm(cmd, f.yes, "deliver "+selectionText(s)+" again?"); err != nil {
					return err
				}
			}
			return a.with(cmd.Context(), func(c *client.Client) error {
				done, err := c.ReplayDead(cmd.Context(), s)
				return a.settled(done, err, "dead letter", "replayed")
			})
		},
	})
	a.selecting(cmd, &f)
	return cmd
}

// selecting gives a command the flags of a selection.
func (a *app) selecting(cmd *cobra.Command, f *deadFlags) {
	cmd.Args = cobra.ArbitraryArgs
	a.deadFilter(cmd, f)
	cmd.Flags().BoolVar(&f.all, "all", false, "all of them, or of the subscription and the topic")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask; needed where standard input is no terminal")
}

func (a *app) deadDropCommand() *cobra.Command {
	var f deadFlags
	cmd := a.withFormat(&cobra.Command{
		Use:   "drop N...",
		Short: "Drop dead letters for good",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := f.selection(cmd, args)
			if err != nil {
				return err
			}
			if err := a.confirm(cmd, f.yes, "drop "+selectionText(s)+" for good?"); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(c *client.Client) error {
				done, err := c.DropDead(cmd.Context(), s)
				return a.settled(done, err, "dead letter", "dropped")
			})
		},
	})
	a.selecting(cmd, &f)
	return cmd
}

func (a *app) deadEditCommand() *cobra.Command {
	var data string
	cmd := a.withFormat(&cobra.Command{
		Use:   "edit N",
		Short: "Mend the data of a dead letter and deliver it",
		Long: "Opens the data of a dead letter in $VISUAL or $EDITOR; once the editor ends, delivers it with what was saved. With\n" +
			"--data those are taken instead, - for standard input or @FILE. The event keeps its id and attributes, and its data\n" +
			"must fit the topic's schema.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			numbers, err := offsets(cmd, args)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(c *client.Client) error {
				if !cmd.Flags().Changed("data") {
					return a.editDead(cmd.Context(), c, numbers[0])
				}
				text, err := a.readData(data)
				if err != nil {
					return err
				}
				done, err := c.ReplayDead(cmd.Context(), api.Selection{Offsets: numbers, Data: text})
				return a.settled(done, err, "dead letter", "replayed")
			})
		},
	})
	cmd.Flags().StringVar(&data, "data", "", "the data that it gets")
	return cmd
}

// editDead lets the user change the data of a dead letter. What was written is kept where it is refused.
func (a *app) editDead(ctx context.Context, c *client.Client, number uint64) error {
	d, err := c.DeadLetter(ctx, number)
	if err != nil {
		return err
	}
	content := contentOf(d.Event)
	before := append(content.bytes(), '\n')
	file, err := os.CreateTemp("", fmt.Sprintf("dead-letter-%d-*.json", number))
	if err != nil {
		return fmt.Errorf("make file to edit: %w", err)
	}
	_, err = file.Write(before)
	if err := cmp.Or(err, file.Close()); err != nil {
		return fmt.Errorf("write file to edit: %w", err)
	}
	if err := a.editor(ctx, file.Name()); err != nil {
		return err
	}
	after, err := os.ReadFile(file.Name())
	if err != nil {
		return fmt.Errorf("read what was edited: %w", err)
	}
	if bytes.Equal(before, after) {
		fmt.Fprintln(a.Err, "nothing was changed, and nothing done")
		return cmp.Or(os.Remove(file.Name()), errSaid)
	}
	done, err := c.ReplayDead(ctx, api.Selection{Offsets: []uint64{number}, Data: bytes.TrimSuffix(after, []byte("\n"))})
	err = a.settled(done, err, "dead letter", "replayed")
	if err != nil {
		fmt.Fprintf(a.Err, "what was written is in %s\n", file.Name())
		return err
	}
	return os.Remove(file.Name())
}

// editor opens a file in the user's editor and returns when that has ended.
func (a *app) editor(ctx context.Context, file string) error {
	var words []string
	for _, name := range []string{"EDITOR", "VISUAL"} { // the last one counts
		for _, entry := range a.Environ {
			if value, ok := strings.CutPrefix(entry, name+"="); ok && value != "" {
				words = strings.Fields(value)
			}
		}
	}
	if len(words) == 0 {
		return fault.New(fault.CodeUsage, "neither VISUAL nor EDITOR names an editor").Fix("name one, or give the data with --data")
	}
	cmd := exec.CommandContext(ctx, words[0], append(words[1:], file)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = a.In, a.Out, a.Err, a.Environ
	if err := cmd.Run(); err != nil {
		return fault.New(fault.CodeUsage, "the editor %s did not end well: %s", words[0], err).Fix("name another in EDITOR, or give the data with --data")
	}
	return nil
}
