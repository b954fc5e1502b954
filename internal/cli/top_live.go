package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
)

func (a *app) topCommand() *cobra.Command {
	var once bool
	every := 2 * time.Second
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch the services: requests, errors, latency, CPU, memory",
		Long: "Shows a line for each service, again and again until q is pressed; elsewhere than on a terminal, and with --once, one\n" +
			"time. CPU is of one core: 200% are two. A key sorts by a column, once more the other way around; they stand below the table.\n" +
			"With --format json each line is a service.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < 100*time.Millisecond {
				return usage(cmd, "--every must be 100ms or more")
			}
			return a.with(cmd.Context(), func(c *client.Client) error { return a.top(cmd.Context(), c, once, every) })
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "show it once")
	cmd.Flags().DurationVar(&every, "every", every, "how often it is shown")
	return a.withFormat(cmd)
}

func (a *app) top(ctx context.Context, c *client.Client, once bool, every time.Duration) error {
	in, ok := a.In.(*os.File)
	if !once && !a.json() && a.Width(a.Out) > 0 && ok && a.Width(in) > 0 {
		return a.topLive(ctx, c, in, every)
	}
	top, err := c.Top(ctx)
	if err != nil {
		return err
	}
	if a.json() {
		for i := range top.Services {
			if err := writeJSON(a.Out, &top.Services[i]); err != nil {
				return err
			}
		}
		return nil
	}
	for _, line := range topLines(top, topOptions{paint: paint(a.color(a.Out)), width: a.Width(a.Out), sort: 'r'}) {
		fmt.Fprintln(a.Out, line)
	}
	return nil
}

// topLive shows the services on the other screen of the terminal until a key ends it.
func (a *app) topLive(ctx context.Context, c *client.Client, in *os.File, every time.Duration) error {
	info, err := c.App(ctx)
	if err != nil {
		return err
	}
	state, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return fmt.Errorf("read keys from the terminal: %w", err)
	}
	defer func() { _ = term.Restore(int(in.Fd()), state) }()
	fmt.Fprint(a.Out, "\x1b[?1049h\x1b[?25l")
	defer fmt.Fprint(a.Out, "\x1b[?25h\x1b[?1049l")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	screen := topScreen{app: info.App, paint: paint(a.color(a.Out)), sort: 'r', zone: time.Local}
	return screen.loop(ctx, c.Top, readKeys(ctx, in), ticker.C, func(s *topScreen) {
		width, height := a.Size(a.Out)
		fmt.Fprint(a.Out, s.draw(width, height))
	})
}

// readKeys sends what is typed until ctx ends. A read from a terminal cannot be ended: its goroutine ends with the next key, or with
// the program, which does nothing after this command.
func readKeys(ctx context.Context, in io.Reader) <-chan rune {
	keys := make(chan rune)
	go func() {
		defer close(keys)
		for r := bufio.NewReader(in); ; {
			key, _, err := r.ReadRune()
			if err != nil {
				return
			}
			select {
			case keys <- key:
			case <-ctx.Done():
				return
			}
		}
	}()
	return keys
}

// topScreen is what is seen of the services, and how.
type topScreen struct {
	app     string
	paint   paint
	zone    *time.Location
	sort    rune
	reverse bool
	top     *api.Top
}

// loop asks at each tick and draws, and after each key, until one ends it or ctx does.
func (s *topScreen) loop(
	ctx context.Context, ask func(context.Context) (*api.Top, error), keys <-chan rune, ticks <-chan time.Time, draw func(*topScreen),
) error {
	for stale := true; ; {
		if stale {
			top, err := ask(ctx)
			switch {
			case ctx.Err() != nil:
				return nil //nolint:nilerr // it was to end
			case err != nil:
				return err
			}
			s.top = top
		}
		draw(s)
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
			stale = true
		case key, ok := <-keys:
			if !ok || !s.press(key) {
				return nil
			}
			stale = false
		}
	}
}

// press does what a key asks for, and tells whether to go on.
func (s *topScreen) press(key rune) bool {
	const ctrlC, ctrlD = 3, 4
	switch {
	case key == 'q' || key == 'Q' || key == ctrlC || key == ctrlD:
		return false
	case !slices.ContainsFunc(topKeys(), func(k topKey) bool { return k.key == key }):
	case key == s.sort:
		s.reverse = !s.reverse
	default:
		s.sort, s.reverse = key, false
	}
	return true
}

// draw is the screen from its upper left corner on. The terminal does not return to the first column by itself.
func (s *topScreen) draw(width, height int) string {
	lines := []string{topSummary(s.app, s.top, s.paint, width, s.zone), ""}
	table := topLines(s.top, topOptions{paint: s.paint, width: width, sort: s.sort, reverse: s.reverse})
	if room := max(height-len(lines)-2, 2); len(table) > room {
		table = append(table[:room-1], s.paint.dim(fmt.Sprintf("… and %s more", plural(len(table)-room+1, "service"))))
	}
	lines = append(append(lines, table...), "", s.paint.dim(topHelp(s.top, width)))
	if len(lines) > height {
		lines = lines[:height]
	}
	return "\x1b[H" + strings.Join(lines, "\x1b[K\r\n") + "\x1b[K\x1b[J"
}
