package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/telemetry"
)

func (a *app) traceCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "trace [ID]",
		Short: "List the newest traces, or show one as a tree",
		Long: "Shows the way of a request through the services: one line for each hop, from the gateway on. Only the newest\n" +
			"spans are kept in memory. The first eight digits of an ID are enough. With --format json a list has one trace a line, a trace one span a line.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			if len(args) == 0 {
				traces, err := c.Traces(cmd.Context(), limit)
				if err != nil {
					return err
				}
				return a.listTraces(traces)
			}
			spans, err := c.Trace(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.showTrace(spans)
		},
	}
	cmd.Flags().IntVarP(&limit, "last", "n", 20, "list at most so many")
	return a.withFormat(cmd)
}

// shortID is how much of a trace id is shown where there is little room; the beginning is enough to ask for it.
const shortID = 8

func (a *app) listTraces(traces []telemetry.HopSummary) error {
	p := paint(a.color(a.Out))
	id, path := 32, 48
	if width := a.Width(a.Out); width > 0 && width < wide {
		id, path = shortID, 22
	}
	t := table{right: map[int]bool{5: true, 6: true}}
	t.add("TRACE", "TIME", "REQUEST", "SERVICE", "STATUS", "DURATION", "SPANS")
	for _, s := range traces {
		if a.json() {
			if err := writeJSON(a.Out, s); err != nil {
				return err
			}
			continue
		}
		t.add(s.TraceID[:min(id, len(s.TraceID))], s.Start.Local().Format("15:04:05.000"), clip(clean(s.Method+" "+s.Path), path), orDash(s.Service),
			statusText(p, s.Status, s.Errors > 0), durationText(s.Duration), fmt.Sprint(s.Spans))
	}
	if a.json() {
		return nil
	}
	if len(traces) == 0 {
		fmt.Fprintln(a.Err, "no request came yet")
		return nil
	}
	t.write(a.Out, a.Width(a.Out))
	return nil
}

func statusText(p paint, status int, failed bool) string {
	text := fmt.Sprint(status)
	if status == 0 {
		text = "-"
	}
	switch {
	case failed || status >= 500:
		return p.red(text)
	case status >= 400:
		return p.yellow(text)
	}
	return text
}

// showTrace draws a trace as a tree, with a bar for the time of each span.
func (a *app) showTrace(spans []telemetry.HopSpan) error {
	if a.json() {
		for _, s := range spans {
			if err := writeJSON(a.Out, s); err != nil {
				return err
			}
		}
		return nil
	}
	width := a.Width(a.Out)
	if width == 0 {
		width = 120
	}
	start, end := spans[0].Start, spans[0].Start
	for _, s := range spans {
		if at := s.Start.Add(s.Duration); at.After(end) {
			end = at
		}
	}
	p := paint(a.color(a.Out))
	fmt.Fprintf(a.Out, "%s  %s  %s  %s\n", p.bold(spans[0].TraceID), start.Local().Format("2006-01-02 15:04:05.000"),
		durationText(end.Sub(start)), plural(len(spans), "span"))
	d := drawing{paint: p, start: start, total: max(end.Sub(start), time.Microsecond), spans: spans}
	d.children("", "", map[string]bool{})
	d.write(a.Out, width)
	return nil
}

// drawing is the lines of a trace's tree.
type drawing struct {
	paint paint
	start time.Time
	total time.Duration
	spans []telemetry.HopSpan
	rows  [][]string
	of    []telemetry.HopSpan // the span of each row
}

// children adds the spans below a parent. A span whose parent is not among the spans stands at the top.
func (d *drawing) children(parent, indent string, seen map[string]bool) {
	var below []telemetry.HopSpan
	for _, s := range d.spans {
		known := slices.ContainsFunc(d.spans, func(o telemetry.HopSpan) bool { return o.SpanID == s.ParentID && o.SpanID != s.SpanID })
		if (parent == "" && !known || parent != "" && s.ParentID == parent) && !seen[s.SpanID] {
			below = append(below, s)
		}
	}
	for i, s := range below {
		seen[s.SpanID] = true
		branch, next := "├─ ", "│  "
		if i == len(below)-1 {
			branch, next = "└─ ", "   "
		}
		if parent == "" {
			branch, next = "", ""
		}
		from, to := s.Caller, s.Replica
		if s.Kind == "gateway" {
			from = "gateway"
		}
		if to == "" {
			to = orDash(s.Service)
		}
		note := ""
		if s.Error != "" {
			note = " " + s.Error
		}
		if s.Tries > 1 {
			note += fmt.Sprintf(" (%d tries)", s.Tries)
		}
		d.rows = append(d.rows, []string{
			indent + branch + from + " → " + d.paint.hue(s.Service, to), clip(clean(s.Method+" "+s.Path), 40),
			statusText(d.paint, s.Status, s.Failed()) + d.paint.red(note), durationText(s.Duration),
		})
		d.of = append(d.of, s)
		d.children(s.SpanID, indent+next, seen)
	}
}

func (d *drawing) write(w io.Writer, width int) {
	t := table{right: map[int]bool{3: true}}
	for _, row := range d.rows {
		t.add(row...)
	}
	lines := t.lines(0)
	wide := 0
	for _, line := range lines {
		wide = max(wide, visible(line))
	}
	bar := width - wide - 2
	for i, line := range lines {
		if bar >= 10 {
			line += strings.Repeat(" ", wide-visible(line)) + "  " + d.bar(d.of[i], min(bar, 60))
		}
		fmt.Fprintln(w, clip(line, width))
	}
}

// bar draws when a span was, on a scale of width columns.
func (d *drawing) bar(s telemetry.HopSpan, width int) string {
	from := int(int64(width) * int64(s.Start.Sub(d.start)) / int64(d.total))
	long := int(int64(width) * int64(s.Duration) / int64(d.total))
	from = min(max(from, 0), width-1)
	long = min(max(long, 1), width-from)
	color := d.paint.green
	if s.Failed() {
		color = d.paint.red
	}
	return strings.Repeat(" ", from) + color(strings.Repeat("█", long))
}
