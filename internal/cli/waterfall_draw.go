package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
)

// traceOptions says how a trace is shown.
type traceOptions struct {
	paint  paint
	width  int // 0 means 120
	unfold bool
	logs   bool
	zone   *time.Location
}

// traceDrawing writes a trace as a waterfall.
type traceDrawing struct {
	traceOptions
	out     io.Writer
	tree    *waterfall
	records map[string][]*api.Record // by span
	label   int                      // columns of each part
	bars    int
	folded  bool // whether something is not shown, or was changed, that a note explains
	moved   bool
	orphans bool
}

const (
	durationColumns = 8
	besideLabel     = durationColumns + 5 // with the sign of the outcome and spaces
	leastBars       = 20
	deepestIndent   = 120 // columns that are written; a label has less
)

// writeTrace draws a trace: a line for each span, as a tree, with a bar for its time.
func writeTrace(out io.Writer, t *api.Trace, o traceOptions) {
	if o.width <= 0 {
		o.width = 120
	}
	d := &traceDrawing{traceOptions: o, out: out, tree: newWaterfall(t.Spans), records: map[string][]*api.Record{}}
	var loose []*api.Record
	known := map[string]bool{}
	for i := range t.Spans {
		known[t.Spans[i].SpanID] = true
	}
	for i := range t.Records {
		r := &t.Records[i]
		if known[r.SpanID] {
			d.records[r.SpanID] = append(d.records[r.SpanID], r)
		} else {
			loose = append(loose, r)
		}
	}
	d.head(t)
	d.measure()
	d.ruler()
	d.group(d.tree.fold(d.tree.roots, o.unfold), "", true)
	if o.logs && len(loose) > 0 {
		fmt.Fprintln(out, o.paint.dim("records of no span that is here:"))
		for _, r := range loose {
			d.record(r, "  ")
		}
	}
	d.notes()
}

func (d *traceDrawing) head(t *api.Trace) {
	failed, services := 0, map[string]bool{}
	for i := range t.Spans {
		services[t.Spans[i].Service] = true
		if t.Spans[i].Status == api.SpanError {
			failed++
		}
	}
	parts := []string{
		d.tree.begin.In(d.zone).Format("2006-01-02 15:04:05.000"), durationText(time.Duration(d.tree.total)), plural(len(t.Spans), "span"),
		plural(len(services), "service"),
	}
	if failed > 0 {
		parts = append(parts, d.paint.red(plural(failed, "error")))
	}
	text := d.paint.bold(t.TraceID) + "  " + strings.Join(parts, "  ")
	if visible(text) > d.width {
		text = d.paint.bold(t.TraceID) + "\n" + clip(strings.Join(parts, "  "), d.width)
	}
	fmt.Fprintln(d.out, text)
}

// measure divides the width: the labels get what they need, up to half of it.
func (d *traceDrawing) measure() {
	widest := 0
	var walk func(below []int, depth int)
	walk = func(below []int, depth int) {
		for _, g := range d.tree.fold(below, d.unfold) {
			widest = max(widest, 3*depth+visible(d.text(g)))
			if len(g) == 1 {
				walk(d.tree.spans[g[0]].below, depth+1)
			}
		}
	}
	walk(d.tree.roots, 0)
	rest := d.width - besideLabel
	d.label = max(min(widest, max(rest*11/20, rest-80), rest-leastBars), 8)
	d.bars = max(min(rest-d.label, 100), 1)
}

func (d *traceDrawing) ruler() {
	begin, middle, end := "0", durationText(time.Duration(d.tree.total/2)), durationText(time.Duration(d.tree.total))
	left := d.bars/2 - visible(middle)/2 - len(begin)
	right := d.bars - len(begin) - left - visible(middle) - visible(end)
	if left < 1 || right < 1 {
		return
	}
	text := begin + strings.Repeat(" ", left) + middle + strings.Repeat(" ", right) + end
	fmt.Fprintln(d.out, strings.Repeat(" ", d.label+besideLabel)+d.paint.dim(text))
}

// text is what is written of a span, or of several that are folded.
func (d *traceDrawing) text(group []int) string {
	s := &d.tree.spans[group[0]]
	name := s.Name
	if len(group) == 1 {
		name = title(s.Span)
	}
	text := d.paint.hue(s.Service, clean(s.Service)) + " " + clean(name)
	if len(group) > 1 {
		text = d.paint.bold(fmt.Sprintf("%d× ", len(group))) + text
		if n := d.tree.under(group); n > 0 {
			text += d.paint.dim(fmt.Sprintf(" (%d below)", n))
		}
		return text
	}
	if code, ok := s.Attributes["http.response.status_code"]; ok {
		text += " " + clean(fmt.Sprint(code))
	}
	if s.failed() && s.StatusText != "" {
		text += " " + d.paint.red(clean(s.StatusText))
	}
	if s.orphan {
		text = "⋯ " + text
	}
	if s.moved >= int64(time.Millisecond) || s.moved <= -int64(time.Millisecond) {
		text += d.paint.dim(" ~")
	}
	return text
}

func (d *traceDrawing) group(groups [][]int, indent string, top bool) {
	for n, g := range groups {
		branch, next := "├─ ", "│  "
		if n == len(groups)-1 {
			branch, next = "└─ ", "   "
		}
		if top {
			branch, next = "", ""
		}
		d.line(g, indent+branch)
		if len(g) > 1 {
			d.folded = true
			continue
		}
		s := &d.tree.spans[g[0]]
		if d.logs {
			below := indent + next
			if len(s.below) > 0 {
				below += "│  "
			} else {
				below += "   "
			}
			for _, r := range d.records[s.SpanID] {
				d.record(r, below)
			}
		}
		d.group(d.tree.fold(s.below, d.unfold), tail(indent+next, deepestIndent), false)
	}
}

// tail is the last columns of a text without colours.
func tail(s string, columns int) string {
	r := []rune(s)
	return string(r[max(len(r)-columns, 0):])
}

func (d *traceDrawing) line(group []int, indent string) {
	s := &d.tree.spans[group[0]]
	d.orphans = d.orphans || s.orphan
	d.moved = d.moved || strings.HasSuffix(d.text(group), d.paint.dim(" ~"))
	if deepest := d.label * 2 / 3; visible(indent) > deepest { // so that something of the name is still seen
		indent = "…" + tail(indent, max(deepest-1, 0))
	}
	label := clip(d.paint.dim(indent)+d.text(group), d.label)
	took := int64(0)
	for _, i := range group {
		took += d.tree.spans[i].to - d.tree.spans[i].from
	}
	duration := durationText(time.Duration(took))
	if len(group) > 1 {
		duration = "Σ" + duration
	}
	sign := " "
	switch {
	case s.failed():
		sign = d.paint.red("✗")
	case s.Status == api.SpanOK:
		sign = d.paint.green("✓")
	}
	fmt.Fprintf(d.out, "%s%s %s %s  %s\n", label, strings.Repeat(" ", d.label-visible(label)), sign,
		strings.Repeat(" ", max(durationColumns-visible(duration), 0))+duration, d.tree.bar(d.paint, group, d.bars))
}

func (d *traceDrawing) record(r *api.Record, indent string) {
	level := strings.ToUpper(r.Level)
	switch r.Level {
	case "error":
		level = d.paint.red(level)
	case "warn":
		level = d.paint.yellow(level)
	}
	text := r.Text
	if r.Name != "" {
		text = strings.TrimSuffix(r.Name+": "+text, ": ")
	}
	line := d.paint.dim(indent+"· "+r.Time.In(d.zone).Format("15:04:05.000")) + " " + level + " " + clean(text)
	fmt.Fprintln(d.out, clip(line, d.width))
}

// notes explains the signs that were used.
func (d *traceDrawing) notes() {
	notes := []string{"█ critical path", "░ beside it"}
	if d.folded {
		notes = append(notes, "N× equal spans: --unfold")
	}
	if d.orphans {
		notes = append(notes, "⋯ the span around it is missing")
	}
	if d.moved {
		notes = append(notes, "~ its clock was set right")
	}
	text := strings.Join(notes, "  ")
	for _, line := range wrap(text, d.width) {
		fmt.Fprintln(d.out, d.paint.dim(line))
	}
}

// title is the name of a span, or what was asked for where Atoll saw it: names leave out what differs from request to request, and one
// trace is about one.
func title(s *api.Span) string {
	method, _ := s.Attributes["http.request.method"].(string)
	path, _ := s.Attributes["url.path"].(string)
	route, _ := s.Attributes["http.route"].(string)
	if path != "" && s.Scope == "atoll" && (s.Name == method || s.Name == method+" "+route) {
		return method + " " + path
	}
	return s.Name
}
