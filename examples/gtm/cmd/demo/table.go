package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// bar shows progress: a line that is redrawn on a terminal, a line at every tenth on a pipe.
type bar struct {
	out      io.Writer
	terminal bool
	began    time.Time
	tenth    int
}

func (b *bar) draw(now batch) {
	if now.Accepted == 0 {
		return
	}
	part := float64(now.Done) / float64(now.Accepted)
	rate := float64(now.Done) / time.Since(b.began).Seconds()
	text := fmt.Sprintf("%3.0f%%  %d of %d leads, %.0f/s", part*100, now.Done, now.Accepted, rate)
	if b.terminal {
		const width = 36
		full := int(part * width)
		fmt.Fprintf(b.out, "\r\x1b[K%s%s %s", strings.Repeat("█", full), strings.Repeat("░", width-full), text)
		return
	}
	if tenth := int(part * 10); tenth > b.tenth {
		b.tenth = tenth
		fmt.Fprintln(b.out, text)
	}
}

func (b *bar) end() {
	if b.terminal {
		fmt.Fprintln(b.out)
	}
}

func printTable(out io.Writer, r report, leads []lead, took time.Duration) {
	verdicts, owners := map[string]int{}, map[string]int{}
	enriched, company, open := 0, 0, 0
	var times []time.Duration
	for _, l := range leads {
		if len(l.Facts) > 0 {
			enriched++
		}
		if _, known := l.Facts["company"]; known {
			company++
		}
		if l.Verdict != "" {
			verdicts[l.Verdict]++
		}
		if l.Owner != "" {
			owners[l.Owner]++
		}
		if l.State == "done" {
			times = append(times, l.DoneAt.Sub(l.CreatedAt))
		} else {
			open++
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, value any) { fmt.Fprintf(w, "%v\t  %s\t\n", value, name) }
	fmt.Fprintln(out)
	row("leads in", r.lines())
	row("new", r.Accepted)
	row("duplicate", r.Duplicates)
	row("rejected", r.Rejected)
	row("enriched", enriched)
	row("company known", company)
	for _, v := range sorted(verdicts) {
		row("verdict "+v, verdicts[v])
	}
	for _, o := range sorted(owners) {
		row("owner "+o, owners[o])
	}
	row("not done", open)
	if len(times) > 0 {
		slices.Sort(times)
		row("p50, accepted to done", percentile(times, 50).Round(time.Millisecond))
		row("p99, accepted to done", percentile(times, 99).Round(time.Millisecond))
		row("in all", took.Round(time.Millisecond))
	}
	_ = w.Flush() // writing to out
}

// sorted are the keys, the most frequent first.
func sorted(counts map[string]int) []string {
	return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
}

// percentile is the nearest rank of sorted times.
func percentile(times []time.Duration, p int) time.Duration {
	return times[max((len(times)*p+99)/100-1, 0)]
}
