package cli

import (
	"slices"
	"strings"
)

// node is a place in a row of a drawing: a step, or the line of one that passes by.
type node struct {
	step  int // -1 for a line
	x     int // its column
	below []*node
	at    float64 // where its parents stand, to sort by
}

// draw draws the levels of the graph, and tells whether that fits into a width (0 means any).
func (g *graph) draw(p paint, levels [][]int, width int) (lines []string, fits bool) {
	rows := g.rows(levels)
	slot, most := 0, 0
	for i := range g.steps {
		slot = max(slot, visible(g.label(p, &g.steps[i]))+3)
	}
	slot += slot % 2
	for _, row := range rows {
		most = max(most, len(row))
	}
	total := slot*most + 2
	if width > 0 && total > width {
		return nil, false
	}
	for i, row := range rows {
		if i > 0 {
			sortByParents(rows[i-1], row)
		}
		for j, n := range row {
			n.x = total/2 + (2*j-len(row)+1)*slot/2
		}
	}
	for i, row := range rows {
		lines = append(lines, g.drawRow(p, row))
		if i < len(rows)-1 {
			for _, line := range route(row, total) {
				lines = append(lines, p.dim(line))
			}
		}
	}
	return lines, true
}

// rows puts the steps into rows, with lines for what leads past a row.
func (g *graph) rows(levels [][]int) [][]*node {
	rows, of, level := make([][]*node, len(levels)), map[string]*node{}, map[string]int{}
	for i, steps := range levels {
		for _, step := range steps {
			n := &node{step: step}
			rows[i] = append(rows[i], n)
			of[g.steps[step].Step], level[g.steps[step].Step] = n, i
		}
	}
	for i := range g.steps {
		to := g.steps[i].Step
		for _, from := range g.steps[i].After {
			above := of[from]
			for at := level[from] + 1; at < level[to]; at++ {
				line := &node{step: -1}
				above.below = append(above.below, line)
				rows[at] = append(rows[at], line)
				above = line
			}
			above.below = append(above.below, of[to])
		}
	}
	return rows
}

// sortByParents puts a row into the order of those above it, so that few lines cross.
func sortByParents(above, row []*node) {
	for _, n := range row {
		sum, count := 0, 0
		for _, from := range above {
			if slices.Contains(from.below, n) {
				sum += from.x
				count++
			}
		}
		n.at = float64(sum) / float64(max(count, 1))
	}
	slices.SortStableFunc(row, func(a, b *node) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
}

func (g *graph) drawRow(p paint, row []*node) string {
	var b strings.Builder
	column := 0
	for _, n := range row {
		text := p.dim("│")
		if n.step >= 0 {
			text = g.label(p, &g.steps[n.step])
		}
		from := max(n.x-visible(text)/2, column)
		b.WriteString(strings.Repeat(" ", from-column) + text)
		column = from + visible(text)
	}
	return b.String()
}

// The directions of a line from a character.
const (
	up = 1 << iota
	down
	left
	right
)

// lineSigns are the characters by the directions in which their lines go.
func lineSigns() map[int]rune {
	return map[int]rune{
		0: ' ', up: '│', down: '│', up | down: '│', left: '─', right: '─', left | right: '─', up | left: '┘', up | right: '└', down | left: '┐',
		down | right: '┌', up | down | left: '┤', up | down | right: '├', up | left | right: '┴', down | left | right: '┬',
		up | down | left | right: '┼',
	}
}

// bundle is lines that share a track: from all of some nodes to all of some others.
type bundle struct {
	from, to []int // columns
	track    int
}

func (b *bundle) span() (least, most int) {
	all := slices.Concat(b.from, b.to)
	return slices.Min(all), slices.Max(all)
}

// bundles are the lines below a row: nodes that lead to the same ones share theirs.
func bundles(row []*node) []*bundle {
	var out []*bundle
	for _, n := range row {
		if len(n.below) == 0 {
			continue
		}
		var to []int
		for _, below := range n.below {
			to = append(to, below.x)
		}
		slices.Sort(to)
		at := slices.IndexFunc(out, func(b *bundle) bool { return slices.Equal(b.to, to) })
		if at < 0 {
			out = append(out, &bundle{to: to})
			at = len(out) - 1
		}
		out[at].from = append(out[at].from, n.x)
	}
	return out
}

// route draws the lines from a row to the next. Bundles whose spans meet lie on tracks of their own.
func route(row []*node, width int) []string {
	list := bundles(row)
	var tracks [][]*bundle
	for _, b := range list {
		least, most := b.span()
		at := slices.IndexFunc(tracks, func(track []*bundle) bool {
			return !slices.ContainsFunc(track, func(o *bundle) bool {
				l, m := o.span()
				return l <= most && least <= m
			})
		})
		if at < 0 {
			tracks = append(tracks, nil)
			at = len(tracks) - 1
		}
		b.track = at
		tracks[at] = append(tracks[at], b)
	}
	grid := make([][]int, max(len(tracks), 1))
	for i := range grid {
		grid[i] = make([]int, width)
	}
	for _, b := range list {
		b.draw(grid)
	}
	signs := lineSigns()
	lines := make([]string, len(grid))
	for i, cells := range grid {
		var text strings.Builder
		for _, cell := range cells {
			text.WriteRune(signs[cell])
		}
		lines[i] = strings.TrimRight(text.String(), " ")
	}
	return lines
}

// draw draws a bundle: down from its nodes to its track, along that, and down to the others.
func (b *bundle) draw(grid [][]int) {
	for _, x := range b.from {
		for y := range b.track {
			grid[y][x] |= up | down
		}
		grid[b.track][x] |= up
	}
	for _, x := range b.to {
		grid[b.track][x] |= down
		for y := b.track + 1; y < len(grid); y++ {
			grid[y][x] |= up | down
		}
	}
	least, most := b.span()
	for x := least; x < most; x++ {
		grid[b.track][x] |= right
		grid[b.track][x+1] |= left
	}
}
