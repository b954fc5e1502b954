package telemetry

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Format is the query in its canonical form. Parsed for the same signal it is the same query again, but for columns.
func (q *Query) Format(s Signal) string {
	w := &writer{signal: s}
	if q.Where != nil {
		w.expr(q.Where, 0)
	}
	if q.Tell != nil {
		w.aggregation(q.Tell)
	}
	for i, o := range q.Sort {
		w.next(i, " | sort ")
		w.field(o.Field.Name)
		if o.Descending {
			w.WriteString(" desc")
		}
	}
	if q.Limit > 0 {
		fmt.Fprintf(w, " | limit %d", q.Limit)
	}
	return strings.TrimPrefix(w.String(), " ")
}

type writer struct {
	strings.Builder
	signal Signal
}

// Strengths of what binds in expressions.
const (
	bindsOr = iota
	bindsOrRight
	bindsAnd
	bindsAndRight
	bindsNot
)

func (w *writer) expr(e Expr, within int) {
	switch e := e.(type) {
	case *Or:
		w.pair(e.X, e.Y, " or ", bindsOr, within)
	case *And:
		w.pair(e.X, e.Y, " and ", bindsAnd, within)
	case *Not:
		if m, ok := e.X.(*Matches); ok {
			w.matches(m, "!~ ")
			return
		}
		w.WriteString("not ")
		w.expr(e.X, bindsNot)
	case *Compare:
		w.field(e.Field.Name)
		w.WriteString(" " + string(e.Op) + " " + w.value(e.Field.Name, e.Value))
	case *Matches:
		w.matches(e, "~ ")
	case *Has:
		w.WriteString("has ")
		w.field(e.Field.Name)
	case *Phrase:
		w.WriteString(quoteText(e.Text))
	}
}

// pair writes both sides, in parentheses where they would belong to something else. Both operators group to the left.
func (w *writer) pair(x, y Expr, op string, binds, within int) {
	if within > binds {
		w.WriteString("(")
		defer w.WriteString(")")
	}
	w.expr(x, binds)
	w.WriteString(op)
	w.expr(y, binds+1)
}

func (w *writer) matches(m *Matches, op string) {
	if m.Field.Name != "" {
		w.field(m.Field.Name)
		w.WriteString(" ")
	}
	w.WriteString(op)
	w.WriteString(quoteRegex(m.Regex.String()))
}

func (w *writer) field(name string) {
	if !plainField(name) {
		name = "`" + name + "`"
	}
	w.WriteString(name)
}

func (w *writer) value(field string, v Value) string {
	switch {
	case v.Kind() == KindString || v.Kind() == KindJSON:
		return quoteText(v.Str())
	case v.Kind() != KindInt || !isNumeric(w.signal, field):
		return v.Text()
	case field == FieldTime:
		return time.Unix(0, v.Int()).UTC().Format(time.RFC3339Nano)
	case field == FieldLevel:
		return string(levelOfSeverity(v.Int()))
	}
	return time.Duration(v.Int()).String()
}

func quoteText(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(text) + `"`
}

// quoteRegex writes a backslash before each quote that has none.
func quoteRegex(re string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(re); i++ {
		switch {
		case re[i] == '\\' && i+1 < len(re):
			b.WriteByte('\\')
			i++
		case re[i] == '"':
			b.WriteByte('\\')
		}
		b.WriteByte(re[i])
	}
	b.WriteByte('"')
	return b.String()
}

func (w *writer) next(i int, first string) {
	if i > 0 {
		first = ", "
	}
	w.WriteString(first)
}

func (w *writer) aggregation(a *Aggregation) {
	for i, f := range a.Funcs {
		w.next(i, " | ")
		w.function(f)
		if f.As != f.name() {
			w.WriteString(" as ")
			w.field(f.As)
		}
	}
	for i, f := range a.By {
		w.next(i, " by ")
		w.field(f.Name)
	}
	if a.Every > 0 {
		w.WriteString(" every " + formatDuration(a.Every))
	}
}

func (w *writer) function(f Func) {
	name := f.name()
	if f.Kind == FuncQuantile && !strings.HasPrefix(name, "p") {
		w.WriteString("quantile(" + strconv.FormatFloat(f.Q, 'f', -1, 64) + ", ")
	} else if head, _, ok := strings.Cut(name, "("); ok {
		w.WriteString(head + "(")
	} else {
		w.WriteString(name + "(")
	}
	if f.Field.Name != "" {
		w.field(f.Field.Name)
	}
	w.WriteString(")")
}

// formatDuration is a duration without parts that are nothing: 1m and not 1m0s.
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
