package cli

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
)

// foundOptions says how the answer to a query is shown.
type foundOptions struct {
	paint paint
	width int // 0 means any
	now   time.Time
}

// writeFound shows what a query found.
func writeFound(out io.Writer, f *api.Found, o foundOptions) {
	switch {
	case f.Table != nil && f.Table.EveryNS > 0:
		writeSparks(out, f.Table, o)
	case f.Table != nil:
		writeTable(out, f.Table, o)
	case f.Spans != nil:
		spanTable(f.Spans, o).write(out, o.width)
	default:
		tracesTable(f.Traces, o).write(out, o.width)
	}
}

func (o foundOptions) narrow() bool { return o.width > 0 && o.width < wide }

// outcome shows a status by a sign, a colour, and a word where there is room.
func (o foundOptions) outcome(status string, errors int) string {
	sign, word, color := "·", "", func(s string) string { return s }
	switch {
	case status == api.SpanError:
		sign, word, color = "✗", " error", o.paint.red
	case errors > 0:
		sign, word, color = "!", " "+plural(errors, "error")+" within", o.paint.yellow
	case status == api.SpanOK:
		sign, word, color = "✓", " ok", o.paint.green
	}
	if o.narrow() {
		word = ""
	}
	return color(sign + word)
}

// moment is a time, with its day where it is another than today.
func (o foundOptions) moment(t time.Time) string {
	t = t.In(o.now.Location())
	clock := "15:04:05.000"
	if o.narrow() {
		clock = time.TimeOnly
	}
	if t.Format(time.DateOnly) == o.now.Format(time.DateOnly) {
		return t.Format(clock)
	}
	return t.Format("01-02 " + clock)
}

// id is a trace's id, whole where there is room.
func (o foundOptions) id(id string) string {
	if o.width > 0 && o.width < wide+32 {
		return id[:min(shortID, len(id))]
	}
	return id
}

func tracesTable(traces []api.TraceSummary, o foundOptions) *table {
	t := &table{right: map[int]bool{1: true, 5: true}}
	head := []string{"TIME", "DURATION", "SERVICE", "NAME", "STATUS", "SPANS", "TRACE"}
	if o.narrow() {
		head[1], head[4] = "TOOK", ""
	}
	t.add(head...)
	for i := range traces {
		s := &traces[i]
		t.add(o.moment(s.Time), durationText(time.Duration(s.DurationNS)), o.paint.hue(s.Service, clean(s.Service)), clean(s.Name),
			o.outcome(s.Status, s.Errors), strconv.Itoa(s.Spans), o.id(s.TraceID))
	}
	t.squeeze(o.width, 2, 14, clip)
	t.squeeze(o.width, 3, 14, clip)
	t.squeeze(o.width, 2, 8, clip)
	return t
}

func spanTable(spans []api.Span, o foundOptions) *table {
	t := &table{right: map[int]bool{1: true}}
	t.add("TIME", "DURATION", "SERVICE", "NAME", "KIND", "STATUS", "TRACE", "TEXT")
	for i := range spans {
		s := &spans[i]
		t.add(o.moment(s.Time), durationText(time.Duration(s.DurationNS)), o.paint.hue(s.Service, clean(s.Service)), clean(s.Name), s.Kind,
			o.outcome(s.Status, 0), o.id(s.TraceID), clean(s.StatusText))
	}
	t.fit(o.width, "TEXT", "KIND")
	t.squeeze(o.width, 3, 12, clip)
	return t
}

// valueText is a value of a column as people read it.
func valueText(v any, c api.Column, o foundOptions) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case float64:
		return numberText(v, c.Unit)
	case string:
		if c.Role != api.ColumnTime {
			return clean(v)
		}
		if at, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return o.moment(at)
		}
		return clean(v)
	}
	return clean(fmt.Sprint(v))
}

// numberText is a number in few digits.
func numberText(v float64, unit string) string {
	switch {
	case math.IsNaN(v):
		return "-"
	case unit == api.UnitNanoseconds && v < math.MaxInt64:
		return durationText(time.Duration(v))
	case v == math.Trunc(v) && math.Abs(v) < 1e6:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return shortNumber(v)
}

// shortNumber has three digits or so, and k, M, G or T behind a large one.
func shortNumber(v float64) string {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	size, sign := math.Abs(v), ""
	for _, s := range []string{"k", "M", "G", "T"} {
		if size < 999.5 {
			break
		}
		size, v, sign = size/1000, v/1000, s
	}
	switch {
	case size == 0:
		return "0"
	case size >= 1000 || size < 0.001:
		return strconv.FormatFloat(v, 'e', 1, 64) + sign
	case size >= 100:
		return trimZeros(strconv.FormatFloat(v, 'f', 0, 64)) + sign
	case size >= 10:
		return trimZeros(strconv.FormatFloat(v, 'f', 1, 64)) + sign
	case size >= 1 || sign != "":
		return trimZeros(strconv.FormatFloat(v, 'f', 2, 64)) + sign
	}
	return trimZeros(strconv.FormatFloat(v, 'f', 4, 64))
}

func trimZeros(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// writeTable shows a table without buckets of time.
func writeTable(out io.Writer, found *api.Table, o foundOptions) {
	t := &table{right: map[int]bool{}}
	head := make([]string, len(found.Columns))
	for i, c := range found.Columns {
		head[i] = strings.ToUpper(clean(c.Name))
		t.right[i] = c.Role == api.ColumnValue
	}
	t.add(head...)
	for _, row := range found.Rows {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = valueText(v, found.Columns[i], o)
			if found.Columns[i].Name == "service" {
				cells[i] = o.paint.hue(cells[i], cells[i])
			}
		}
		t.add(cells...)
	}
	for i, c := range found.Columns {
		if c.Role == api.ColumnGroup {
			t.squeeze(o.width, i, 10, clip)
		}
	}
	t.write(out, o.width)
}

// spark is the values of a function over time, for one combination of fields.
type spark struct {
	column api.Column
	groups []string
	values map[int64]float64 // by the beginning of the bucket
}

// sparks takes a table with buckets apart, in the order in which the combinations first stand.
func sparks(found *api.Table, o foundOptions) (list []*spark, from, to int64) {
	of := map[string]*spark{}
	from, to = math.MaxInt64, math.MinInt64
	for _, row := range found.Rows {
		text, _ := row[0].(string)
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			continue
		}
		bucket := at.UnixNano()
		from, to = min(from, bucket), max(to, bucket)
		var groups []string
		for i, c := range found.Columns {
			if c.Role == api.ColumnGroup {
				groups = append(groups, valueText(row[i], c, o))
			}
		}
		for i, c := range found.Columns {
			v, ok := row[i].(float64)
			if c.Role != api.ColumnValue || !ok {
				continue
			}
			key := strings.Join(groups, "\x00") + "\x01" + strconv.Itoa(i)
			if of[key] == nil {
				of[key] = &spark{column: c, groups: groups, values: map[int64]float64{}}
				list = append(list, of[key])
			}
			of[key].values[bucket] = v
		}
	}
	return list, from, to
}

// writeSparks shows a table with buckets as one small plot for each combination of fields and function.
func writeSparks(out io.Writer, found *api.Table, o foundOptions) {
	list, from, to := sparks(found, o)
	if len(list) == 0 {
		return
	}
	if !found.From.IsZero() && !found.To.IsZero() {
		from = found.From.UnixNano() - mod(found.From.UnixNano(), found.EveryNS)
		to = max(to, found.To.UnixNano()-1-mod(found.To.UnixNano()-1, found.EveryNS))
	}
	t := &table{right: map[int]bool{}}
	var head []string
	several := false
	for _, c := range found.Columns {
		if c.Role == api.ColumnGroup {
			head = append(head, strings.ToUpper(clean(c.Name)))
		}
	}
	for _, s := range list {
		several = several || s.column.Name != list[0].column.Name
	}
	if several {
		head = append(head, "")
	}
	groups := len(head)
	t.add(append(head, "MIN", "MAX", "LAST")...)
	for i := range 3 {
		t.right[groups+i] = true
	}
	for _, s := range list {
		cells := slices.Clone(s.groups)
		for i := range cells {
			cells[i] = o.paint.hue(cells[i], cells[i])
		}
		if several {
			cells = append(cells, clean(s.column.Name))
		}
		series := s.series(from, to, found.EveryNS)
		least, most, last := summary(series)
		t.add(append(cells, numberText(least, s.column.Unit), numberText(most, s.column.Unit), numberText(last, s.column.Unit))...)
	}
	room := 60
	if o.width > 0 {
		for i := range groups {
			t.squeeze(o.width-22, i, 10, clip)
		}
		room = min(max(o.width-t.width()-2, 8), 100)
	}
	every := time.Duration(found.EveryNS)
	for i, line := range t.lines(0) {
		text := clean(list[0].column.Name) + " every " + trimDuration(every)
		if several {
			text = "every " + trimDuration(every)
		}
		if i > 0 {
			text = o.paint.hue(strings.Join(list[i-1].groups, " "), sparkline(list[i-1].series(from, to, found.EveryNS), room))
		}
		fmt.Fprintln(out, clip(line+strings.Repeat(" ", max(t.width()-visible(line), 0))+"  "+text, o.width))
	}
	span := o.moment(time.Unix(0, from)) + " to " + o.moment(time.Unix(0, to+found.EveryNS))
	fmt.Fprintln(out, o.paint.dim(clip(span, o.width)))
}

func mod(a, b int64) int64 { return (a%b + b) % b }

// trimDuration is 1m and not 1m0s.
func trimDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// series is the values by bucket; NaN where there is none.
func (s *spark) series(from, to, every int64) []float64 {
	n := min((to-from)/every+1, 10_000)
	out := make([]float64, 0, n)
	for i := range n {
		v, ok := s.values[from+i*every]
		if !ok && !s.column.Zero {
			v = math.NaN()
		}
		out = append(out, v)
	}
	return out
}

// summary is the least, the largest and the last value; NaN if there is none.
func summary(values []float64) (least, most, last float64) {
	least, most, last = math.NaN(), math.NaN(), math.NaN()
	for _, v := range values {
		if math.IsNaN(v) {
			continue
		}
		if !(least <= v) {
			least = v
		}
		if !(most >= v) {
			most = v
		}
		last = v
	}
	return least, most, last
}

// sparkline draws values as blocks of different heights, at most so many; several that share one are their largest. The
// lowest block is 0, or the least value where one is below.
func sparkline(values []float64, room int) string {
	per := (len(values) + room - 1) / room
	least, most, _ := summary(values)
	least = min(least, 0)
	var b strings.Builder
	for at := 0; at < len(values); at += per {
		_, top, _ := summary(values[at:min(at+per, len(values))])
		switch {
		case math.IsNaN(top):
			b.WriteRune(' ')
		case most <= least:
			b.WriteRune('▁')
		default:
			level := min(max(int((top-least)/(most-least)*8), 0), 7)
			b.WriteRune([]rune("▁▂▃▄▅▆▇█")[level])
		}
	}
	return b.String()
}
