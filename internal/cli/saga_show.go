package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
)

// lookAgain is how often an instance is looked at that is followed.
const lookAgain = 300 * time.Millisecond

func (a *app) sagaShowCommand() *cobra.Command {
	follow := false
	cmd := a.withFormat(&cobra.Command{
		Use:   "show ID",
		Short: "Show an instance: its steps, and all that has happened",
		Long: "Shows an instance with its steps and its timeline: each attempt with its answer, each undoing, and what people did, with\n" +
			"their reasons. Where it is parked it says what frees it. With --follow the timeline goes on until the instance has ended.\n" +
			"With --format json it is one object; with --follow each line is one record of the history, and the last the instance.",
		Example: "  atoll saga show 067mxq5st2g5m1pvrf9k0000\n  atoll saga show ID --follow",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeInstances(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(c *client.Client) error {
				d, err := c.SagaInstance(cmd.Context(), args[0], 0)
				if err != nil {
					return err
				}
				if follow {
					return a.followInstance(cmd.Context(), c, &d)
				}
				return a.showInstance(&d)
			})
		},
	})
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until it has ended")
	return cmd
}

// showInstance shows all that is known of an instance.
func (a *app) showInstance(d *api.SagaDetail) error {
	if a.json() {
		return writeJSON(a.Out, d)
	}
	v := a.sagaView(d)
	v.head(d)
	v.steps(d)
	fmt.Fprintln(a.Out, v.paint.bold("timeline"))
	for i := range d.History {
		v.record(&d.History[i])
	}
	v.hint(d)
	return nil
}

// followInstance shows an instance's history as it grows, until it has ended.
func (a *app) followInstance(ctx context.Context, c *client.Client, d *api.SagaDetail) error {
	v := a.sagaView(d)
	if !a.json() {
		v.head(d)
		fmt.Fprintln(a.Out, v.paint.bold("timeline"))
	}
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	shown, parked := 0, false
	for {
		for i := range d.History[min(shown, len(d.History)):] {
			r := &d.History[shown+i]
			if a.json() {
				if err := writeJSON(a.Out, r); err != nil {
					return err
				}
				continue
			}
			v.record(r)
		}
		shown = len(d.History)
		if d.Over() {
			break
		}
		if now := d.State == api.SagaParked; now != parked {
			parked = now
			if now && !a.json() {
				v.hint(d)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		next, err := c.SagaInstance(ctx, d.ID, 0)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		d = &next
	}
	if a.json() {
		return writeJSON(a.Out, d)
	}
	if len(d.Output) > 0 && string(d.Output) != "null" {
		v.field("output", string(compact(d.Output)))
	}
	return nil
}

// sagaView draws one instance.
type sagaView struct {
	*app
	paint paint
	width int
	began time.Time
	task  int // width of the column of tasks
}

func (a *app) sagaView(d *api.SagaDetail) *sagaView {
	v := &sagaView{app: a, paint: paint(a.color(a.Out)), width: a.Width(a.Out), began: d.Started}
	for i := range d.Steps {
		v.task = max(v.task, len(d.Steps[i].Step)+2)
		for _, task := range d.Steps[i].Tasks {
			v.task = max(v.task, len(task.Task)+2)
		}
	}
	v.task = min(v.task, 24)
	return v
}

// field shows a name and a value below a head, on as many lines as that takes.
func (v *sagaView) field(name, value string) {
	if value == "" {
		return
	}
	v.hanging(fmt.Sprintf("  %-9s ", name), value, 4)
}

// hanging shows a text after a beginning, and goes on below it where it does not fit; at most so many lines.
func (v *sagaView) hanging(begin, text string, most int) {
	v.lines(begin, v.fold(text, visible(begin), most))
}

// fold breaks a text into lines that fit behind an indent.
func (v *sagaView) fold(text string, indent, most int) []string {
	room := v.width - indent
	if v.width <= 0 || visible(text) <= room {
		return []string{text}
	}
	lines := wrap(text, max(room, 20))
	if len(lines) > most {
		lines = lines[:most]
		lines[most-1] = clip(lines[most-1]+"…", max(room, 20))
	}
	return lines
}

// lines shows lines, the first after a beginning and the others below it.
func (v *sagaView) lines(begin string, lines []string) {
	indent := strings.Repeat(" ", visible(begin))
	for _, line := range lines {
		fmt.Fprintln(v.Out, strings.TrimRight(begin+line, " "))
		begin = indent
	}
}

// wrap breaks a text without colours into lines, between words where there are some.
func wrap(text string, width int) []string {
	var lines []string
	rest := []rune(text)
	for len(rest) > width {
		at := width
		for i := width; i > width/2; i-- {
			if rest[i] == ' ' {
				at = i
				break
			}
		}
		lines = append(lines, strings.TrimRight(string(rest[:at]), " "))
		rest = []rune(strings.TrimLeft(string(rest[at:]), " "))
	}
	return append(lines, string(rest))
}

func (v *sagaView) head(d *api.SagaDetail) {
	p := v.paint
	state := sagaState(p, d.State)
	if d.Error != nil && d.Error.Step != "" && d.State == api.SagaParked {
		state += " at " + p.bold(clean(d.Error.Step))
	}
	fmt.Fprintf(v.Out, "%s  %s  %s\n", p.bold(p.hue(d.Saga, d.Saga)), d.ID, state)
	if d.Error != nil {
		text := d.Error.Text
		if d.Error.Step != "" {
			text = d.Error.Step + ": " + text
		}
		v.field("because", clean(text))
	}
	v.field("key", clean(d.Key))
	started := d.Started.Local().Format("2006-01-02 15:04:05")
	if d.By != "" {
		started += " by " + clean(d.By)
	}
	v.field("started", started)
	if !d.Ended.IsZero() {
		v.field("ended", fmt.Sprintf("%s, after %s", d.Ended.Local().Format("2006-01-02 15:04:05"), durationText(d.Ended.Sub(d.Started))))
	}
	version := d.Version
	if d.Newer != "" {
		version += " (in force is " + d.Newer + ")"
	}
	v.field("version", version)
	v.field("parent", d.Parent)
	if d.Lock != "" {
		v.field("lock", clean(d.Lock)+map[bool]string{true: ", held", false: map[bool]string{true: "", false: ", waited for"}[d.Over()]}[d.Locked])
	}
	if !d.Deadline.IsZero() {
		v.field("deadline", d.Deadline.Local().Format("2006-01-02 15:04:05"))
	}
	v.field("trace", d.TraceID)
	v.field("input", clean(string(compact(d.Input))))
	if len(d.Output) > 0 && string(d.Output) != "null" {
		v.field("output", clean(string(compact(d.Output))))
	}
}

// compact is JSON without spaces.
func compact(text json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return text
	}
	return b.Bytes()
}

// stepSign shows the state of a step by one character, which has a colour where there are some.
func stepSign(p paint, state string) string {
	switch state {
	case api.StepDone:
		return p.green("✓")
	case api.StepRunning:
		return p.yellow("▶")
	case api.StepFailed:
		return p.red("✗")
	case api.StepParked:
		return p.red("‖")
	case api.StepUndoing:
		return p.yellow("◀")
	case api.StepUndone:
		return p.yellow("↩")
	case api.StepSkipped:
		return p.dim("-")
	}
	return p.dim("·")
}

func (v *sagaView) steps(d *api.SagaDetail) {
	p := v.paint
	fmt.Fprintln(v.Out, p.bold("steps"))
	t := &table{}
	for i := range d.Steps {
		s := &d.Steps[i]
		name := s.Step
		if s.Role == api.RolePivot {
			name += " " + p.yellow("◆")
		}
		t.add("  "+stepSign(p, s.State)+" "+name, s.State, p.dim(clean(s.Does)), clean(tasksText(s, time.Now())))
	}
	if v.width > 0 {
		t.squeeze(v.width, 2, 16, clip)
	}
	t.write(v.Out, v.width)
}

// tasksText says in few words how the tasks of a step stand.
func tasksText(s *api.SagaStepStatus, now time.Time) string {
	if len(s.Tasks) == 0 {
		return ""
	}
	if s.Each != "" {
		n := map[string]int{}
		var order []string
		for _, t := range s.Tasks {
			if n[t.State] == 0 {
				order = append(order, t.State)
			}
			n[t.State]++
		}
		var parts []string
		for _, state := range order {
			parts = append(parts, strconv.Itoa(n[state])+" "+state)
		}
		return strings.Join(parts, ", ")
	}
	t := &s.Tasks[0]
	var parts []string
	if t.Attempt > 1 {
		parts = append(parts, fmt.Sprintf("attempt %d", t.Attempt))
	}
	switch {
	case t.Topic != "":
		parts = append(parts, fmt.Sprintf("waits for %s with key %s", t.Topic, t.Key))
	case !t.Due.IsZero():
		parts = append(parts, "goes on in "+durationText(max(t.Due.Sub(now), time.Millisecond)))
	case t.Child != "" && t.State == "child":
		parts = append(parts, t.Child)
	}
	if t.Passed {
		parts = append(parts, "passed over")
	}
	return strings.Join(parts, ", ")
}

// record shows a line of the history: when, how long after the start, the task, and what happened.
func (v *sagaView) record(r *api.SagaRecord) {
	p := v.paint
	task := "  " + r.Task
	if r.Undo {
		task = "↩ " + r.Task
	}
	task = clip(clean(task), v.task)
	pad := strings.Repeat(" ", max(v.task-visible(task), 0))
	begin, word, most := p.dim(r.At.Local().Format("2006-01-02 15:04:05.000"))+fmt.Sprintf("  %8s", afterText(r.At.Sub(v.began))), 12, 2
	if v.narrow() {
		begin, word, most = p.dim(r.At.Local().Format("15:04:05.000")), 9, 1
	}
	begin = "  " + begin + "  " + p.hue(r.Task, task) + pad + "  " + recordPaint(p, r)(r.Kind) + strings.Repeat(" ", max(0, word-visible(r.Kind))) + "  "
	text := recordText(r)
	indent := visible(begin)
	lines := v.fold(text, indent, 6)
	if len(r.Data) > 0 && string(r.Data) != "null" {
		data := clean(string(compact(r.Data)))
		if one := text + "  " + data; v.width <= 0 || indent+visible(one) <= v.width {
			lines = []string{text + "  " + p.dim(data)}
		} else {
			for _, line := range v.fold(data, indent, most) {
				lines = append(lines, p.dim(line))
			}
		}
	}
	v.lines(begin, lines)
}

// afterText is a time after the start.
func afterText(d time.Duration) string {
	if d < time.Millisecond {
		return "0"
	}
	return "+" + durationText(d)
}

// recordPaint is the colour of what a record tells.
func recordPaint(p paint, r *api.SagaRecord) func(string) string {
	switch r.Kind {
	case "done", "completed":
		return p.green
	case "failed", "interrupted", "undone", "compensating", "compensated":
		return p.yellow
	case "refused", "parked":
		return p.red
	case "cancelled", "retried", "overridden", "replaced", "passed-over", "migrated":
		return p.bold
	}
	return func(s string) string { return s }
}

// recordText is what is to be said about a record.
func recordText(r *api.SagaRecord) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if r.Attempt > 1 || r.Attempt == 1 && r.Kind == "failed" {
		add("attempt %d", r.Attempt)
	}
	if r.Status > 0 {
		add("%d", r.Status)
	}
	if r.TookMS > 0 {
		add("%s", durationText(time.Duration(r.TookMS*float64(time.Millisecond))))
	}
	if r.Replica != "" {
		add("%s", clean(r.Replica))
	}
	if r.By != "" {
		add("by %s", clean(r.By))
	}
	text := strings.Join(parts, ", ")
	switch said := clean(r.Text); {
	case r.Kind == "started": // its key stands above
	case said != "" && text != "":
		text += ": " + said
	case said != "":
		text = said
	}
	return text
}

// hint says what frees an instance that is parked.
func (v *sagaView) hint(d *api.SagaDetail) {
	if d.State != api.SagaParked {
		return
	}
	p := v.paint
	fmt.Fprintln(v.Out, p.bold("what to do"))
	for _, line := range parkedHints(d) {
		command, why, _ := strings.Cut(line, "  ")
		fmt.Fprintf(v.Out, "  %s\n", p.bold(command))
		v.hanging("      ", why, 6)
	}
}

// parkedHints are the commands that free an instance, each with when it is right.
func parkedHints(d *api.SagaDetail) []string {
	at := slices.IndexFunc(d.Steps, func(s api.SagaStepStatus) bool { return s.State == api.StepParked })
	if at < 0 {
		return nil
	}
	task := d.Steps[at].Tasks[slices.IndexFunc(d.Steps[at].Tasks, func(t api.SagaTask) bool { return t.State == "parked" })]
	var last *api.SagaRecord // what came before it was parked
	for i := range d.History {
		if r := &d.History[i]; r.Task == task.Task && (r.Kind == "refused" || r.Kind == "failed" || r.Kind == "done") {
			last = r
		}
	}
	on := d.ID + " " + task.Task
	replace := "atoll saga replace " + on + " --call 'METHOD service/path' --body JSON --reason WHY"
	switch {
	case d.Compensating:
		return []string{
			"atoll saga retry " + on + "  once the service takes the undoing again",
			replace + "  where another call undoes it",
			"atoll saga skip " + on + " --reason WHY  where it was undone by hand, or there is nothing to undo",
		}
	case d.Steps[at].Role == api.RolePivot && last != nil && last.Kind == "refused":
		return []string{
			"atoll saga cancel " + d.ID + " --reason WHY  An attempt before this refusal had no answer. If the service keeps its answers by " +
				"their key, as the barrier does, it was not taken either: the steps before it are undone",
			"atoll saga override " + on + " --output JSON --reason WHY  where you have found out that the first attempt was taken: with what it answered",
		}
	case last != nil && last.Kind == "refused":
		return []string{
			replace + "  The service has refused the step, and gives the same answer to the same key for ever, if it keeps its answers as the " +
				"barrier does. Another call goes out under a key of its own, as " + d.ID + "/" + task.Task + "/do/alt1.",
			"atoll saga retry " + on + "  where the service does not keep its answers and would take the step by now",
			"atoll saga override " + on + " --output JSON --reason WHY  where the step was done by hand: with what it would have answered",
		}
	case d.Steps[at].Role == api.RolePivot:
		return []string{
			"atoll saga retry " + on + "  Nobody knows whether the pivot was taken. Ask again by the same key: a service that keeps its answers tells",
			"atoll saga override " + on + " --output JSON --reason WHY  where you know that it was taken: with what it answered",
			"atoll saga cancel " + d.ID + " --reason WHY  where you know that it was not: the steps before it are undone",
		}
	}
	return []string{
		"atoll saga retry " + on + "  once the service works again",
		replace + "  where another call does the same",
		"atoll saga override " + on + " --output JSON --reason WHY  where the step was done by hand: with what it would have answered",
	}
}
