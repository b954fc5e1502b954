package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
)

// topKey is a column that the table of services may be sorted by.
type topKey struct {
	key     rune // that sorts by it
	head    string
	compare func(a, b *api.TopRow) int // the one to be seen first is less
}

// topKeys are the columns from left to right.
func topKeys() []topKey {
	return []topKey{
		{'s', "SERVICE", func(a, b *api.TopRow) int { return 0 }},
		{'t', "STATE", func(a, b *api.TopRow) int { return cmp.Compare(gravity(b.State), gravity(a.State)) }},
		{'n', "REPLICAS", func(a, b *api.TopRow) int { return cmp.Compare(b.Replicas, a.Replicas) }},
		{'r', "REQ/S", func(a, b *api.TopRow) int { return cmp.Compare(b.PerSecond, a.PerSecond) }},
		{'e', "ERRORS", func(a, b *api.TopRow) int { return cmp.Compare(b.ErrorRatio, a.ErrorRatio) }},
		{'5', "P50", func(a, b *api.TopRow) int { return cmp.Compare(b.P50NS, a.P50NS) }},
		{'9', "P99", func(a, b *api.TopRow) int { return cmp.Compare(b.P99NS, a.P99NS) }},
		{'c', "CPU", func(a, b *api.TopRow) int { return cmp.Compare(b.CPU, a.CPU) }},
		{'m', "MEMORY", func(a, b *api.TopRow) int { return cmp.Compare(b.Memory, a.Memory) }},
	}
}

// gravity orders states: the higher, the more it wants to be seen.
func gravity(state string) int {
	return slices.Index([]string{"ready", "stopped", "draining", "pending", "building", "starting", "unready", "backing-off", "crashed"}, state)
}

// topOptions says how the table of services is shown.
type topOptions struct {
	paint   paint
	width   int // 0 means any
	sort    rune
	reverse bool
}

// topLines is the table of services.
func topLines(top *api.Top, o topOptions) []string {
	rows := slices.Clone(top.Services)
	keys := topKeys()
	by := max(slices.IndexFunc(keys, func(k topKey) bool { return k.key == o.sort }), 0)
	slices.SortStableFunc(rows, func(a, b api.TopRow) int {
		c := cmp.Or(keys[by].compare(&a, &b), strings.Compare(a.Service, b.Service))
		if o.reverse {
			c = -c
		}
		return c
	})
	t := &table{right: map[int]bool{2: true, 3: true, 4: true, 5: true, 6: true, 7: true, 8: true}}
	head := make([]string, len(keys))
	for i, k := range keys {
		head[i] = k.head
		if i == by {
			head[i] += map[bool]string{false: "▼", true: "▲"}[o.reverse]
		}
	}
	t.add(head...)
	for i := range rows {
		t.add(topCells(&rows[i], o.paint)...)
	}
	t.squeeze(o.width, 0, 8, clip)
	lines := t.lines(o.width)
	lines[0] = o.paint.bold(lines[0])
	return lines
}

func topCells(r *api.TopRow, p paint) []string {
	ready := fmt.Sprintf("%d/%d", r.Ready, r.Replicas)
	if r.Ready < r.Replicas {
		ready = p.yellow(ready)
	}
	rate, errors := "-", "-"
	if r.PerSecond > 0 {
		rate = shortNumber(r.PerSecond)
		errors = percent(r.ErrorRatio)
	}
	switch {
	case r.ErrorRatio >= 0.05:
		errors = p.red("! " + errors)
	case r.ErrorRatio >= 0.01:
		errors = p.yellow("! " + errors)
	}
	return []string{
		p.hue(r.Service, clean(r.Service)), p.state(r.State), ready, rate, errors, durationText(time.Duration(r.P50NS)),
		durationText(time.Duration(r.P99NS)), strconv.FormatFloat(100*r.CPU, 'f', 1, 64) + "%", bytesText(r.Memory),
	}
}

// percent is a ratio in percent, with as many digits as matter.
func percent(ratio float64) string {
	switch p := 100 * ratio; {
	case p <= 0:
		return "0%"
	case p < 0.01:
		return "<0.01%"
	case p < 1:
		return strconv.FormatFloat(p, 'f', 2, 64) + "%"
	case p < 10:
		return strconv.FormatFloat(p, 'f', 1, 64) + "%"
	default:
		return strconv.FormatFloat(p, 'f', 0, 64) + "%"
	}
}

// topSummary is the line above the table.
func topSummary(app string, top *api.Top, p paint, width int, zone *time.Location) string {
	var rate, failed, cpu float64
	var memory int64
	ready, replicas := 0, 0
	for i := range top.Services {
		r := &top.Services[i]
		rate, failed = rate+r.PerSecond, failed+r.PerSecond*r.ErrorRatio
		cpu, memory = cpu+r.CPU, memory+r.Memory
		ready, replicas = ready+r.Ready, replicas+r.Replicas
	}
	ratio := 0.0
	if rate > 0 {
		ratio = failed / rate
	}
	parts := []string{
		top.Time.In(zone).Format(time.TimeOnly), plural(len(top.Services), "service"), fmt.Sprintf("%d/%d ready", ready, replicas),
		shortNumber(rate) + " req/s", percent(ratio) + " errors", fmt.Sprintf("%.0f%% CPU", 100*cpu), bytesText(memory),
	}
	text := p.bold(clean(app)) + "  " + strings.Join(parts, "  ")
	if width > 0 && visible(text) > width { // the table has as many lines
		text = p.bold(clean(app)) + "  " + strings.Join(parts[2:], "  ")
	}
	return clip(text, width)
}

// topHelp is the line below it.
func topHelp(top *api.Top, width int) string {
	window := trimDuration(time.Duration(top.WindowNS).Round(time.Second))
	for _, text := range []string{
		"over the last " + window + "   q ends   sort by s service, t state, n replicas, r requests, e errors, 5 p50, 9 p99, c CPU, m memory; again turns it",
		"over the last " + window + "   q ends   sort: s t n r e 5 9 c m, again turns it",
	} {
		if width <= 0 || visible(text) <= width {
			return text
		}
	}
	return clip("q ends", width)
}
