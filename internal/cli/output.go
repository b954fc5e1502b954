package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// paint holds the escape sequences of a terminal that shows colours.
type paint bool

func (p paint) code(code, text string) string {
	if !p || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p paint) bold(s string) string   { return p.code("1", s) }
func (p paint) dim(s string) string    { return p.code("2", s) }
func (p paint) red(s string) string    { return p.code("31", s) }
func (p paint) green(s string) string  { return p.code("32", s) }
func (p paint) yellow(s string) string { return p.code("33", s) }

// hue gives each name a colour of its own, the same everywhere.
func (p paint) hue(name, s string) string {
	hues := []string{"36", "35", "34", "32", "33", "96", "95", "94"}
	sum := 0
	for _, r := range name {
		sum = sum*31 + int(r)
	}
	return p.code(hues[max(sum, -sum)%len(hues)], s)
}

// state shows a replica's state. Starting is never red.
func (p paint) state(s string) string {
	switch s {
	case "ready":
		return p.green(s)
	case "crashed", "backing-off", "unready":
		return p.red(s)
	case "draining", "stopped":
		return p.dim(s)
	}
	return p.yellow(s)
}

// table is rows of cells in aligned columns. A cell may hold colours.
type table struct {
	rows  [][]string
	right map[int]bool // columns of numbers
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// lines renders the rows, none wider than width (0 means any).
func (t *table) lines(width int) []string {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], visible(cell))
		}
	}
	out := make([]string, len(t.rows))
	for r, row := range t.rows {
		var b strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-visible(cell))
			switch {
			case t.right[i]:
				b.WriteString(pad + cell)
			case i == len(row)-1:
				b.WriteString(cell)
			default:
				b.WriteString(cell + pad)
			}
			if i < len(row)-1 {
				b.WriteString("  ")
			}
		}
		out[r] = clip(strings.TrimRight(b.String(), " "), width)
	}
	return out
}

// width is how wide the widest row is.
func (t *table) width() int {
	widest := 0
	for _, line := range t.lines(0) {
		widest = max(widest, visible(line))
	}
	return widest
}

// fit takes columns away, by their heads and in that order, until the table is no wider than width (0 means any).
func (t *table) fit(width int, drop ...string) {
	for _, head := range drop {
		at := slices.Index(t.rows[0], head)
		if width <= 0 || at < 0 || t.width() <= width {
			continue
		}
		for i := range t.rows {
			t.rows[i] = slices.Delete(t.rows[i], at, at+1)
		}
		right := map[int]bool{}
		for i := range t.right {
			if i < at {
				right[i] = true
			} else if i > at {
				right[i-1] = true
			}
		}
		t.right = right
	}
}

// squeeze cuts the cells of a column until the table is no wider than width (0 means any), but to no less than least. Cut is
// how, such as clip.
func (t *table) squeeze(width, column, least int, cut func(s string, width int) string) {
	over := t.width() - width
	if width <= 0 || over <= 0 {
		return
	}
	widest := 0
	for _, row := range t.rows {
		widest = max(widest, visible(row[column]))
	}
	for _, row := range t.rows[1:] {
		row[column] = cut(row[column], max(least, widest-over))
	}
}

func (t *table) write(w io.Writer, width int) {
	for _, line := range t.lines(width) {
		fmt.Fprintln(w, line)
	}
}

// visible is how many columns a text takes, escape sequences left out.
func visible(s string) int {
	n, escape := 0, false
	for _, r := range s {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		default:
			n++
		}
	}
	return n
}

// clip cuts a text to width columns, with a sign that something is missing. Width 0 means any.
func clip(s string, width int) string {
	if width <= 0 || visible(s) <= width {
		return s
	}
	var b strings.Builder
	n, escape, colored := 0, false, false
	for _, r := range s {
		switch {
		case r == '\x1b':
			escape, colored = true, true
		case escape:
			escape = r != 'm'
		default:
			if n == width-1 {
				b.WriteString("…")
				if colored {
					b.WriteString("\x1b[0m")
				}
				return b.String()
			}
			n++
		}
		b.WriteRune(r)
	}
	return b.String()
}

// clean replaces what a terminal would take for a command: text of services is never trusted.
func clean(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, isControl) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if isControl(r) {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

func isControl(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }

// writeJSON writes one object on a line.
func writeJSON(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

// bytesText is a size as people read it.
func bytesText(n int64) string {
	const k = 1024
	switch {
	case n <= 0:
		return "-"
	case n < k*k:
		return fmt.Sprintf("%d KB", (n+k-1)/k)
	case n < 10*k*k:
		return fmt.Sprintf("%.1f MB", float64(n)/k/k)
	case n < k*k*k:
		return fmt.Sprintf("%d MB", n/k/k)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/k/k/k)
}

// durationText is a time span as people read it, in three digits or so.
func durationText(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Microsecond:
		return fmt.Sprintf("%dns", d.Nanoseconds())
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

func millisText(ms int64) string { return durationText(time.Duration(ms) * time.Millisecond) }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func numberOrDash(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// plural is "1 service" or "2 services".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// statusText shows a status of HTTP.
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
