package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/fault"
)

func (a *app) sagaGraphCommand() *cobra.Command {
	var format, version string
	cmd := &cobra.Command{
		Use:   "graph SAGA|ID",
		Short: "Draw the steps of a saga",
		Long: "Draws the steps of a definition: what comes after what, which is the pivot (◆), and what undoes what (↩). Of an instance it\n" +
			"draws those of its version, with how far each has come. --format dot and mermaid are for Graphviz and for Markdown; with\n" +
			"--format json it is one object.",
		Example: "  atoll saga graph order-to-cash\n  atoll saga graph order-to-cash --format mermaid\n  atoll saga graph ID",
		Args:    cobra.ExactArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
			names, directive := a.completeSagas(cmd, args, text)
			if len(args) == 0 {
				ids, _ := a.completeInstances()(cmd, args, text)
				names = append(names, ids...)
			}
			return names, directive
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains([]string{"text", "json", "dot", "mermaid"}, format) {
				return fault.New(fault.CodeUsage, "there is no format %q", format).Fix("write --format text, json, dot or mermaid")
			}
			return a.with(cmd.Context(), func(c *client.Client) error {
				g, v, err := graphOf(cmd, c, args[0], version)
				if err != nil {
					return err
				}
				switch format {
				case "json":
					return writeJSON(a.Out, v)
				case "dot":
					g.dot(a.Out)
				case "mermaid":
					g.mermaid(a.Out)
				default:
					g.text(a.Out, paint(a.color(a.Out)), a.Width(a.Out))
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "text, json, dot or mermaid")
	cmd.Flags().StringVar(&version, "version", "", "of a definition: a version that instances run; default the one in force")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "json", "dot", "mermaid"}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return cmd
}

// graph is the steps of a saga, and how far they have come where it is an instance's.
type graph struct {
	title, about string
	steps        []api.SagaStep
	states       map[string]string // by step; nil for a definition
}

// graphOf reads the graph of a saga or an instance, with what it was made of.
func graphOf(cmd *cobra.Command, c *client.Client, name, version string) (*graph, any, error) {
	s, err := c.Saga(cmd.Context(), name, version)
	if err == nil {
		return &graph{title: s.Saga + "  version " + s.Version, about: s.Summary, steps: s.Steps}, s, nil
	}
	if fault.CodeOf(err) != fault.CodeSagaUnknown || version != "" {
		return nil, nil, err
	}
	d, notInstance := c.SagaInstance(cmd.Context(), name, 0)
	if notInstance != nil {
		if fault.CodeOf(notInstance) == fault.CodeSagaInstanceUnknown {
			return nil, nil, err
		}
		return nil, nil, notInstance
	}
	g := &graph{title: d.Saga + "  " + d.ID + "  " + d.State, states: map[string]string{}}
	for i := range d.Steps {
		g.steps = append(g.steps, d.Steps[i].SagaStep)
		g.states[d.Steps[i].Step] = d.Steps[i].State
	}
	return g, d, nil
}

// label is a step's name with its signs.
func (g *graph) label(p paint, s *api.SagaStep) string {
	text := s.Step
	if s.Role == api.RolePivot {
		text += " " + p.yellow("◆")
	}
	if g.states != nil {
		text = stepSign(p, g.states[s.Step]) + " " + text
	}
	return text
}

// notes are what there is to be said about a step: what it does, and below that what undoes it and when it is taken.
func (g *graph) notes(p paint, s *api.SagaStep) []string {
	out := []string{clean(s.Does)}
	add := func(text string) { out = append(out, p.dim(clean(text))) }
	if s.Each != "" {
		add("for each of " + s.Each)
	}
	if s.When != "" {
		add("when " + s.When)
	}
	if s.Async {
		add("may be answered with 202; its end is told later")
	}
	if s.Undo != "" {
		add("↩ " + s.Undo)
	}
	if s.Role == api.RolePivot {
		add("◆ the pivot: after it there is no way back")
	}
	return out
}

// text draws the graph for a terminal.
func (g *graph) text(w io.Writer, p paint, width int) {
	fmt.Fprintln(w, p.bold(clip(clean(g.title), width)))
	if g.about != "" {
		fmt.Fprintln(w, clip(clean(g.about), width))
	}
	fmt.Fprintln(w)
	levels := g.levels()
	if g.isChain(levels) {
		g.chain(w, p, width)
		return
	}
	if lines, fits := g.draw(p, levels, width); fits {
		for _, line := range lines {
			fmt.Fprintln(w, line)
		}
		fmt.Fprintln(w)
	}
	g.list(w, p, width)
}

// isChain tells whether each step follows the one before it.
func (g *graph) isChain(levels [][]int) bool {
	for i, level := range levels {
		if len(level) != 1 || i > 0 && len(g.steps[level[0]].After) != 1 {
			return false
		}
	}
	return true
}

// chain draws steps that follow one another, with the notes beside them.
func (g *graph) chain(w io.Writer, p paint, width int) {
	widest := 0
	for i := range g.steps {
		widest = max(widest, visible(g.label(p, &g.steps[i])))
	}
	stem := 1
	if g.states != nil {
		stem = 0
	}
	for i := range g.steps {
		label := g.label(p, &g.steps[i])
		notes := g.notes(p, &g.steps[i])
		last := i == len(g.steps)-1
		if len(notes) == 1 && !last {
			notes = append(notes, "")
		}
		for j, note := range notes {
			left := label
			if j > 0 {
				left = strings.Repeat(" ", stem) + p.dim("│")
				if last {
					left = ""
				}
			}
			line := "  " + left + strings.Repeat(" ", max(widest-visible(left), 0)) + "   " + note
			fmt.Fprintln(w, clip(strings.TrimRight(line, " "), width))
		}
	}
}

// list is the steps one below the other, with what they come after.
func (g *graph) list(w io.Writer, p paint, width int) {
	widest := 0
	for i := range g.steps {
		widest = max(widest, visible(g.label(p, &g.steps[i])))
	}
	for i := range g.steps {
		s := &g.steps[i]
		notes := g.notes(p, s)
		if len(s.After) > 0 {
			notes = append(notes, p.dim("after "+strings.Join(s.After, ", ")))
		}
		left := g.label(p, s)
		for _, note := range notes {
			line := "  " + left + strings.Repeat(" ", max(widest-visible(left), 0)) + "   " + note
			fmt.Fprintln(w, clip(strings.TrimRight(line, " "), width))
			left = ""
		}
	}
}

// levels puts each step below all that it comes after.
func (g *graph) levels() [][]int {
	at, level := map[string]int{}, make([]int, len(g.steps))
	for i := range g.steps {
		at[g.steps[i].Step] = i
	}
	var out [][]int
	for range g.steps { // a step may stand before those that it comes after
		for i := range g.steps {
			for _, from := range g.steps[i].After {
				level[i] = max(level[i], level[at[from]]+1)
			}
		}
	}
	for i, n := range level {
		for len(out) <= n {
			out = append(out, nil)
		}
		out[n] = append(out[n], i)
	}
	return out
}

// dot writes the graph for Graphviz.
func (g *graph) dot(w io.Writer) {
	fmt.Fprintf(w, "digraph %q {\n  rankdir=TB\n  node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"sans-serif\"]\n", g.title)
	for i := range g.steps {
		s := &g.steps[i]
		attributes := ""
		if s.Role == api.RolePivot {
			attributes = ", peripheries=2"
		}
		if color := stateColor(g.states[s.Step]); color != "" {
			attributes += fmt.Sprintf(", fillcolor=%q", color)
		}
		fmt.Fprintf(w, "  %q [label=%q%s]\n", s.Step, strings.Join(g.plain(s), "\n"), attributes)
		for _, from := range s.After {
			fmt.Fprintf(w, "  %q -> %q\n", from, s.Step)
		}
	}
	fmt.Fprintln(w, "}")
}

// plain is what a drawing elsewhere says of a step, a line each.
func (g *graph) plain(s *api.SagaStep) []string {
	lines := []string{s.Step, s.Does}
	if s.Role == api.RolePivot {
		lines[0] += " (pivot)"
	}
	if state := g.states[s.Step]; state != "" {
		lines[0] += ": " + state
	}
	if s.Undo != "" {
		lines = append(lines, "undo: "+s.Undo)
	}
	return lines
}

// stateColor is the colour of a step in drawings elsewhere; "" for white.
func stateColor(state string) string {
	return map[string]string{
		api.StepDone: "#c8e6c9", api.StepRunning: "#fff9c4", api.StepUndoing: "#ffe0b2", api.StepUndone: "#ffe0b2", api.StepFailed: "#ffcdd2",
		api.StepParked: "#ef9a9a", api.StepSkipped: "#eeeeee",
	}[state]
}

// mermaid writes the graph for Mermaid.
func (g *graph) mermaid(w io.Writer) {
	fmt.Fprintln(w, "flowchart TD")
	for i := range g.steps {
		s := &g.steps[i]
		text := strings.NewReplacer(`"`, "#quot;").Replace(strings.Join(g.plain(s), "<br/>"))
		begin, end := `["`, `"]`
		if s.Role == api.RolePivot {
			begin, end = `{{"`, `"}}`
		}
		fmt.Fprintf(w, "  s_%s%s%s%s\n", s.Step, begin, text, end)
		for _, from := range s.After {
			fmt.Fprintf(w, "  s_%s --> s_%s\n", from, s.Step)
		}
		if color := stateColor(g.states[s.Step]); color != "" {
			fmt.Fprintf(w, "  style s_%s fill:%s,color:#000\n", s.Step, color)
		}
	}
}
