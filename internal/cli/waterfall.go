package cli

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/telemetry"
)

// foldFrom is how many equal spans below one another are shown as one line.
const foldFrom = 5

// waterfall is the tree of a trace with its times. Times are nanoseconds after the first moment of the trace.
type waterfall struct {
	spans []wspan
	roots []int
	total int64
	begin time.Time
}

// wspan is a span in its tree.
type wspan struct {
	*api.Span
	from, to int64
	moved    int64 // by how much its clock was set right
	orphan   bool  // its parent is not there
	parent   int   // -1 at the top
	above    int64 // when the last of all above it ended; -1 at the top
	below    []int // by their start
	critical [][2]int64
}

func (s *wspan) failed() bool { return s.Status == api.SpanError }

// newWaterfall makes the tree. A span whose parent is not there stands at the top, and so does the first one of a circle.
func newWaterfall(spans []api.Span) *waterfall {
	w := &waterfall{spans: make([]wspan, len(spans))}
	if len(spans) == 0 {
		return w
	}
	w.begin = spans[0].Time
	for i := range spans {
		if spans[i].Time.Before(w.begin) {
			w.begin = spans[i].Time
		}
	}
	byID := make(map[string]int, len(spans))
	for i := range spans {
		from := int64(spans[i].Time.Sub(w.begin))
		w.spans[i] = wspan{Span: &spans[i], from: from, to: from + max(spans[i].DurationNS, 0)}
		if _, double := byID[spans[i].SpanID]; !double {
			byID[spans[i].SpanID] = i
		}
	}
	w.link(byID)
	for _, root := range w.roots {
		w.setClocks(root)
	}
	w.shift()
	w.findCritical()
	return w
}

// link hangs each span below its parent.
func (w *waterfall) link(byID map[string]int) {
	order := make([]int, len(w.spans))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(w.spans[a].from, w.spans[b].from), cmp.Compare(w.spans[b].to, w.spans[a].to))
	})
	for _, i := range order {
		s := &w.spans[i]
		parent, known := byID[s.ParentID]
		switch {
		case s.ParentID == "" || known && parent == i:
			w.roots = append(w.roots, i)
		case !known:
			s.orphan = true
			w.roots = append(w.roots, i)
		default:
			w.spans[parent].below = append(w.spans[parent].below, i)
		}
	}
	w.cutCircles(order)
	for _, i := range w.roots {
		w.spans[i].parent = -1
	}
	for i := range w.spans {
		for _, j := range w.spans[i].below {
			w.spans[j].parent = i
		}
	}
}

// cutCircles makes a root of the first span of each circle.
func (w *waterfall) cutCircles(order []int) {
	reached := make([]bool, len(w.spans))
	reach := func(stack []int) {
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			reached[i] = true
			s := &w.spans[i]
			s.below = slices.DeleteFunc(s.below, func(j int) bool { return reached[j] })
			stack = append(stack, s.below...)
		}
	}
	reach(slices.Clone(w.roots))
	for _, i := range order {
		if !reached[i] {
			w.roots = append(w.roots, i)
			reach([]int{i})
		}
	}
}

// setClocks sets right what another replica's clock says: a server's span is within the one that called it, so one that is not
// though it is shorter is moved into its middle; and nothing begins before its cause. Spans that Atoll made go by its own clock: a step of a saga, or a
// delivery, may lie well after what it goes back to. What the replica says below moves along.
func (w *waterfall) setClocks(root int) {
	stack := []int{root}
	for len(stack) > 0 {
		parent := &w.spans[stack[len(stack)-1]]
		stack = stack[:len(stack)-1]
		for _, i := range parent.below {
			s := &w.spans[i]
			took, room := s.to-s.from, parent.to-parent.from
			switch {
			case s.Service == parent.Service && s.Replica == parent.Replica || s.Scope == telemetry.ScopeAtoll && parent.Scope == telemetry.ScopeAtoll: // one clock
				s.moved = parent.moved
			case s.Kind == "server" && took <= room && (s.from < parent.from || s.from > parent.to):
				s.moved = parent.from + (room-took)/2 - s.from
			case s.from < parent.from:
				s.moved = parent.from - s.from
			}
			s.from, s.to = s.from+s.moved, s.to+s.moved
			stack = append(stack, i)
		}
	}
}

// shift lets the trace begin at 0 and finds its end.
func (w *waterfall) shift() {
	first := w.spans[0].from
	for i := range w.spans {
		first = min(first, w.spans[i].from)
	}
	for i := range w.spans {
		w.spans[i].from -= first
		w.spans[i].to -= first
		w.total = max(w.total, w.spans[i].to)
	}
	w.begin = w.begin.Add(time.Duration(first))
}

// findCritical marks the times that the trace took as long as it did for: from its end backwards, of what had begun that which came after
// and was still under way, or else of what ended last. Of a span's time those below have what they are critical for, the span itself has the
// rest.
func (w *waterfall) findCritical() {
	w.lookUp()
	top := slices.Clone(w.roots)
	for i := range w.spans {
		for _, j := range w.spans[i].below {
			if w.beyond(j) {
				top = append(top, j)
			}
		}
	}
	w.sortByEnd(top, w.total)
	until := w.total
	for _, i := range top {
		if w.spans[i].to > until {
			continue
		}
		for at := i; at >= 0; at = w.before(at, until) {
			s := &w.spans[at]
			w.walkCritical(at, s.from, min(s.to, until))
			until = min(until, s.from)
		}
	}
}

// lookUp notes for each span when the last of those above it ended.
func (w *waterfall) lookUp() {
	stack := slices.Clone(w.roots)
	for _, i := range w.roots {
		w.spans[i].above = -1
	}
	for len(stack) > 0 {
		s := &w.spans[stack[len(stack)-1]]
		stack = append(stack[:len(stack)-1], s.below...)
		for _, i := range s.below {
			w.spans[i].above = max(s.above, s.to)
		}
	}
}

// beyond tells whether a span's parent did not wait for it: it begins after the parent's end, or is the consumer of an event and ends after it.
func (w *waterfall) beyond(i int) bool {
	s := &w.spans[i]
	if s.parent < 0 || s.to <= w.spans[s.parent].to {
		return false
	}
	return s.from >= w.spans[s.parent].to || s.Kind == "consumer"
}

// before is the nearest above a span that was under way until a moment, or -1.
func (w *waterfall) before(i int, until int64) int {
	for w.spans[i].above >= until { // else there is none
		if i = w.spans[i].parent; w.spans[i].from < until && w.spans[i].to >= until {
			return i
		}
	}
	return -1
}

// sortByEnd puts first what ended last, until a moment.
func (w *waterfall) sortByEnd(list []int, until int64) {
	slices.SortFunc(list, func(a, b int) int {
		x, y := &w.spans[a], &w.spans[b]
		return cmp.Or(cmp.Compare(min(y.to, until), min(x.to, until)), cmp.Compare(x.from, y.from), cmp.Compare(a, b))
	})
}

// walkCritical takes the time of a span from from to until apart: what of it those below have, and the rest of its own.
func (w *waterfall) walkCritical(parent int, from, until int64) {
	limit := until
	byEnd := slices.Clone(w.spans[parent].below)
	w.sortByEnd(byEnd, limit)
	for _, i := range byEnd {
		s := &w.spans[i]
		start, end := max(s.from, from), min(s.to, limit)
		if end > until || start >= end || w.beyond(i) {
			continue
		}
		w.critical(parent, end, until)
		w.walkCritical(i, start, end)
		until = start
	}
	w.critical(parent, from, until)
}

func (w *waterfall) critical(i int, from, until int64) {
	if until > from {
		w.spans[i].critical = append(w.spans[i].critical, [2]int64{from, until})
	}
}

// fold groups equal spans below a parent: same service, name, kind and outcome. Each group stands where its first does.
func (w *waterfall) fold(below []int, unfold bool) [][]int {
	type key struct {
		service, name, kind string
		failed              bool
	}
	count := map[key]int{}
	of := func(i int) key {
		s := &w.spans[i]
		return key{s.Service, s.Name, s.Kind, s.failed()}
	}
	if !unfold {
		for _, i := range below {
			count[of(i)]++
		}
	}
	var groups [][]int
	at := map[key]int{}
	for _, i := range below {
		k := of(i)
		if count[k] < foldFrom {
			groups = append(groups, []int{i})
			continue
		}
		if g, ok := at[k]; ok {
			groups[g] = append(groups[g], i)
			continue
		}
		at[k] = len(groups)
		groups = append(groups, []int{i})
	}
	return groups
}

// under is how many spans hang below some.
func (w *waterfall) under(group []int) int {
	n := 0
	stack := slices.Clone(group)
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		n += len(w.spans[i].below)
		stack = append(stack, w.spans[i].below...)
	}
	return n
}

// bar draws when spans were on a scale of so many columns: solid where the trace waited for them.
func (w *waterfall) bar(p paint, group []int, columns int) string {
	cells := make([]byte, columns)
	total := max(w.total, 1)
	mark := func(from, to int64, sign byte) {
		a := min(int(float64(from)/float64(total)*float64(columns)), columns-1)
		b := min(max(int(float64(to)/float64(total)*float64(columns)+0.5), a+1), columns)
		for i := max(a, 0); i < b; i++ {
			cells[i] = max(cells[i], sign)
		}
	}
	failed := false
	for _, i := range group {
		s := &w.spans[i]
		failed = failed || s.failed()
		mark(s.from, s.to, 1)
		for _, c := range s.critical {
			mark(c[0], c[1], 2)
		}
	}
	var b strings.Builder
	for _, c := range cells {
		b.WriteString([]string{" ", "░", "█"}[c])
	}
	text := strings.TrimRight(b.String(), " ")
	bare := strings.TrimLeft(text, " ")
	indent := text[:len(text)-len(bare)]
	if failed {
		return indent + p.red(bare)
	}
	return indent + p.hue(w.spans[group[0]].Service, bare)
}
