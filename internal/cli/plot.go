package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
)

// mostPlotted is how many series one plot shows.
const mostPlotted = 8

// plotOptions says how metrics are shown.
type plotOptions struct {
	paint    paint
	width    int // 0 means 120
	height   int // of the plot, in lines; 0 means 16
	from, to time.Time
	zone     *time.Location
}

// plot is a field of dots: two by four in each character (Braille patterns, Unicode 2800 to 28FF).
type plot struct {
	columns, rows int
	dots          [][]uint8
	owner         [][]int // series that drew last, from 1
	letter        [][]rune
}

func newPlot(columns, rows int) *plot {
	p := &plot{columns: columns, rows: rows, dots: make([][]uint8, rows), owner: make([][]int, rows), letter: make([][]rune, rows)}
	for i := range rows {
		p.dots[i], p.owner[i], p.letter[i] = make([]uint8, columns), make([]int, columns), make([]rune, columns)
	}
	return p
}

// set draws a dot, counted from the upper left.
func (p *plot) set(x, y, series int) {
	if x < 0 || y < 0 || x >= 2*p.columns || y >= 4*p.rows {
		return
	}
	bits := [4][2]uint8{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}
	p.dots[y/4][x/2] |= bits[y%4][x%2]
	p.owner[y/4][x/2] = series
}

// line draws from one dot to another (Bresenham).
func (p *plot) line(x0, y0, x1, y1, series int) {
	dx, dy := max(x1-x0, x0-x1), -max(y1-y0, y0-y1)
	sx, sy := cmp.Compare(x1, x0), cmp.Compare(y1, y0)
	for e := dx + dy; ; {
		p.set(x0, y0, series)
		if x0 == x1 && y0 == y1 {
			return
		}
		if d := 2 * e; d >= dy {
			e, x0 = e+dy, x0+sx
			if d <= dx {
				e, y0 = e+dx, y0+sy
			}
		} else {
			e, y0 = e+dx, y0+sy
		}
	}
}

// row is a line of the plot.
func (p *plot) row(c paint, y int) string {
	var b strings.Builder
	for x := range p.columns {
		sign := " "
		if d := p.dots[y][x]; d != 0 {
			sign = string(rune(0x2800 + int(d)))
		}
		if l := p.letter[y][x]; l != 0 {
			sign = c.bold(string(l))
		}
		if s := p.owner[y][x]; s > 0 && sign != " " {
			sign = c.series(s-1, sign)
		}
		b.WriteString(sign)
	}
	return strings.TrimRight(b.String(), " ")
}

// series gives each series of a plot a colour.
func (p paint) series(i int, s string) string {
	return p.code([]string{"36", "33", "35", "32", "34", "31", "96", "95"}[i%mostPlotted], s)
}

// scale is the range of an axis and its ticks.
type scale struct {
	from, to float64
	ticks    []float64
}

// niceScale covers values by a range between round numbers, with about so many ticks. It has 0 unless the values are far from it.
func niceScale(least, most float64, ticks int) scale {
	if math.IsNaN(least) {
		least, most = 0, 1
	}
	if least > 0 && least < most*0.7 {
		least = 0
	}
	if least == most {
		if least == 0 {
			most = 1
		} else {
			least, most = min(least, least*2), max(most, most*2)
			if least > 0 {
				least = 0
			} else {
				most = 0
			}
		}
	}
	step := niceStep((most - least) / float64(max(ticks-1, 1)))
	s := scale{from: math.Floor(least/step) * step, to: math.Ceil(most/step) * step}
	for i := 0; ; i++ {
		t := s.from + float64(i)*step
		if t > s.to+step/2 || i > 100 {
			return s
		}
		s.ticks = append(s.ticks, t)
	}
}

// niceStep is the next 1, 2 or 5 times a power of ten.
func niceStep(raw float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, n := range []float64{1, 2, 5} {
		if raw <= n*power*1.0000001 {
			return n * power
		}
	}
	return 10 * power
}

// writePlot draws series over time, with axes and a legend.
func writePlot(out io.Writer, all []api.Series, o plotOptions) {
	if o.width <= 0 {
		o.width = 120
	}
	if o.height <= 0 {
		o.height = 16
	}
	shown := all[:min(len(all), mostPlotted)]
	least, most := extremes(shown)
	y := niceScale(least, most, o.height/4+1)
	labels := make([]string, o.height)
	wide := 0
	for _, tick := range y.ticks {
		at := int(math.Round((y.to - tick) / (y.to - y.from) * float64(o.height-1)))
		labels[at] = shortNumber(tidy(tick, y.to-y.from))
		wide = max(wide, visible(labels[at]))
	}
	p := newPlot(max(o.width-wide-3, 10), o.height)
	for i := range shown {
		p.series(&shown[i], i, o, y)
	}
	for i := range shown {
		p.mark(&shown[i], i, o, y)
	}
	for i, label := range labels {
		axis := "│"
		if label != "" {
			axis = "┤"
		}
		fmt.Fprintln(out, o.paint.dim(strings.Repeat(" ", wide-visible(label))+label+" "+axis)+p.row(o.paint, i))
	}
	writeTimeAxis(out, o, wide+1, p.columns)
	writeLegend(out, all, o)
}

// tidy is a tick without what is left by adding floating-point numbers.
func tidy(tick, span float64) float64 {
	if math.Abs(tick) < span*1e-9 {
		return 0
	}
	return tick
}

func extremes(series []api.Series) (least, most float64) {
	least, most = math.NaN(), math.NaN()
	for _, s := range series {
		for _, pt := range s.Points {
			if math.IsNaN(pt.Value) || math.IsInf(pt.Value, 0) {
				continue
			}
			if !(least <= pt.Value) {
				least = pt.Value
			}
			if !(most >= pt.Value) {
				most = pt.Value
			}
		}
	}
	return least, most
}

// place is where a point is drawn; ok is false for what cannot be.
func (p *plot) place(pt api.Point, o plotOptions, y scale) (px, py int, ok bool) {
	span := o.to.Sub(o.from)
	if span <= 0 || math.IsNaN(pt.Value) || math.IsInf(pt.Value, 0) {
		return 0, 0, false
	}
	px = int(math.Round(float64(pt.Time.Sub(o.from)) / float64(span) * float64(2*p.columns-1)))
	// The middle of a line of characters is where its label stands.
	py = int(math.Round((y.to-pt.Value)/(y.to-y.from)*float64(4*(p.rows-1)) + 1.5))
	return px, min(max(py, 0), 4*p.rows-1), px >= 0 && px < 2*p.columns
}

// series draws the lines of a series. Where points are missing there is a gap.
func (p *plot) series(s *api.Series, i int, o plotOptions, y scale) {
	gap := usualStep(s.Points) * 5 / 2
	for n, pt := range s.Points {
		x, py, ok := p.place(pt, o, y)
		if !ok {
			continue
		}
		if n > 0 && s.Points[n].Time.Sub(s.Points[n-1].Time) <= gap {
			if lx, ly, ok := p.place(s.Points[n-1], o, y); ok {
				p.line(lx, ly, x, py, i+1)
				continue
			}
		}
		p.set(x, py, i+1)
	}
}

// usualStep is the least time between two points.
func usualStep(points []api.Point) time.Duration {
	step := time.Duration(math.MaxInt64 / 4)
	for i := 1; i < len(points); i++ {
		if d := points[i].Time.Sub(points[i-1].Time); d > 0 {
			step = min(step, d)
		}
	}
	return step
}

// mark writes the letter of a series near its end, so that it is known without colours.
func (p *plot) mark(s *api.Series, i int, o plotOptions, y scale) {
	for _, pt := range slices.Backward(s.Points) {
		x, py, ok := p.place(pt, o, y)
		if !ok {
			continue
		}
		cx, cy := x/2, py/4
		for cx > 0 && p.letter[cy][cx] != 0 { // another one stands there
			cx--
		}
		p.letter[cy][cx], p.owner[cy][cx] = letterOf(i), i+1
		return
	}
}

func letterOf(i int) rune { return rune('a' + i) }

func writeTimeAxis(out io.Writer, o plotOptions, indent, columns int) {
	layout := "15:04"
	switch span := o.to.Sub(o.from); {
	case span <= 10*time.Minute:
		layout = "15:04:05"
	case span > 24*time.Hour:
		layout = "01-02 15:04"
	}
	count := max(min(columns/(2*len(layout)+2), 6), 1)
	line, labels := []rune(strings.Repeat("─", columns)), []rune(strings.Repeat(" ", columns+len(layout)))
	for i := range count + 1 {
		x := (columns - 1) * i / count
		line[x] = '┬'
		text := o.from.Add(o.to.Sub(o.from) * time.Duration(i) / time.Duration(count)).In(o.zone).Format(layout)
		at := min(max(x-len(text)/2, 0), columns-len(text))
		if at < 0 {
			continue
		}
		copy(labels[at:], []rune(text))
	}
	pad := strings.Repeat(" ", indent)
	fmt.Fprintln(out, o.paint.dim(pad+"└"+string(line)))
	fmt.Fprintln(out, o.paint.dim(strings.TrimRight(pad+" "+string(labels), " ")))
}

// labelText is the labels of a series as PromQL writes them, without what all of them have in common.
func labelText(labels map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if k != "__name__" {
			parts = append(parts, fmt.Sprintf("%s=%q", k, labels[k]))
		}
	}
	name := labels["__name__"]
	if len(parts) == 0 && name != "" {
		return clean(name)
	}
	return clean(name + "{" + strings.Join(parts, ", ") + "}")
}

func writeLegend(out io.Writer, all []api.Series, o plotOptions) {
	t := &table{right: map[int]bool{2: true, 3: true, 4: true}}
	t.add("", "SERIES", "LAST", "MIN", "MAX")
	for i := range all[:min(len(all), mostPlotted)] {
		values := make([]float64, len(all[i].Points))
		for n, pt := range all[i].Points {
			values[n] = pt.Value
		}
		least, most, last := summary(values)
		t.add(o.paint.series(i, string(letterOf(i))), labelText(all[i].Labels), numberText(last, ""), numberText(least, ""), numberText(most, ""))
	}
	t.squeeze(o.width, 1, 12, clip)
	t.write(out, o.width)
	if more := len(all) - mostPlotted; more > 0 {
		fmt.Fprintln(out, o.paint.dim(fmt.Sprintf("and %d more: topk(%d, …) chooses the largest", more, mostPlotted)))
	}
}

// writeInstant shows the values of one moment.
func writeInstant(out io.Writer, m *api.Metrics, o plotOptions) {
	if m.Type == "string" {
		fmt.Fprintln(out, clean(m.Text))
		return
	}
	t := &table{right: map[int]bool{0: true}}
	t.add("VALUE", "SERIES")
	list := slices.Clone(m.Series)
	slices.SortStableFunc(list, func(a, b api.Series) int { return cmp.Compare(lastValue(b), lastValue(a)) })
	for i := range list {
		t.add(numberText(lastValue(list[i]), ""), labelText(list[i].Labels))
	}
	t.write(out, o.width)
}

func lastValue(s api.Series) float64 {
	if len(s.Points) == 0 {
		return math.NaN()
	}
	return s.Points[len(s.Points)-1].Value
}
