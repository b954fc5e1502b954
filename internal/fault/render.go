package fault

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// style wraps text into the escape sequences of a terminal, or leaves it as it is.
type style bool

func (s style) paint(code, text string) string {
	if !s {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Render writes the faults as a person reads them: what and where, the source line with the place marked, what
// to do. With color, for a terminal.
func (l List) Render(w io.Writer, color bool) error {
	for i, e := range l {
		if i > 0 {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(w, e.render(style(color))); err != nil {
			return err
		}
	}
	return nil
}

// Render writes one fault as List.Render does.
func (e *Error) Render(w io.Writer, color bool) error { return List{e}.Render(w, color) }

func (e *Error) render(s style) string {
	var b strings.Builder
	hue := "1;31"
	if e.Severity == SeverityWarning {
		hue = "1;33"
	}
	first, lines, more := strings.Cut(printable(e.Text), "\n")
	fmt.Fprintf(&b, "%s %s %s\n", s.paint(hue, string(e.Severity)+":"), s.paint("1", first), s.paint("2", "("+string(e.Code)+")"))
	if more {
		fmt.Fprintln(&b, lines)
	}
	gutter := strings.Repeat(" ", len(strconv.Itoa(e.Line)))
	if place := e.Position.String(); place != "" {
		fmt.Fprintf(&b, "%s %s\n", s.paint("34", gutter+"-->"), printable(place))
	}
	if e.Source != "" {
		line, mark := excerpt(e.Source, e.Column, e.Width)
		fmt.Fprintf(&b, "%s %s\n", s.paint("34", strconv.Itoa(e.Line)+" |"), line)
		fmt.Fprintf(&b, "%s %s\n", s.paint("34", gutter+" |"), s.paint(hue, mark))
	}
	if e.Remedy != "" {
		fmt.Fprintf(&b, "%s %s\n", s.paint("32", gutter+" ="), printable(e.Remedy))
	}
	return b.String()
}

// excerptWidth is how much of a long source line is shown.
const excerptWidth = 100

// excerpt is the part of a source line around the place, and the line of marks below it.
func excerpt(source string, column, width int) (line, mark string) {
	runes := []rune(printable(source))
	at := min(max(column-1, 0), len(runes))
	if len(runes) > excerptWidth {
		from := max(0, min(at-excerptWidth/2, len(runes)-excerptWidth))
		runes = runes[from : from+excerptWidth]
		at -= from
	}
	width = max(1, min(width, len(runes)-at))
	return string(runes), strings.Repeat(" ", at) + strings.Repeat("^", width)
}

// printable replaces what could move a terminal's cursor or colour its text.
func printable(text string) string {
	if utf8.ValidString(text) && strings.IndexFunc(text, control) < 0 {
		return text
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == '\n' && text != "":
			return r
		case control(r):
			return '\uFFFD'
		}
		return r
	}, text)
}

func control(r rune) bool {
	return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == utf8.RuneError
}
