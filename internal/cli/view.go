package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/fault"
)

const (
	triesToStart = 3                      // a replica that crashed so often before it was ever ready cannot start
	redrawEvery  = 250 * time.Millisecond // of the live table
	recentEvents = 6                      // shown below it
)

// view shows a running application: a live table on a terminal, plain lines elsewhere.
type view struct {
	*app
	c     *client.Client
	paint paint
	live  bool
	began time.Time

	seen int64 // number of the last event that was shown

	mu      sync.Mutex
	crashed map[string]int  // guarded by mu: by replica, before it was ready
	ready   map[string]bool // guarded by mu
	recent  []string        // guarded by mu: events worth a line
	footer  []string        // guarded by mu: how the application is reached
	drawn   int             // guarded by mu: lines of the table on the screen
	last    string          // guarded by mu: what was drawn
}

// newView is a view of the application that c reaches, whose start began at a time.
func (a *app) newView(c *client.Client, began time.Time) *view {
	return &view{
		app: a, c: c, paint: paint(a.color(a.Out)), live: a.Width(a.Out) > 0, began: began,
		crashed: map[string]int{}, ready: map[string]bool{},
	}
}

// untilReady shows what happens until every replica is ready, then says how the application is reached. A fault with
// the code cannot-start says what cannot.
func (v *view) untilReady(ctx context.Context) error {
	services, err := v.c.Services(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := v.animate(ctx)
	defer stop()
	done := fmt.Errorf("ready")
	err = v.c.Events(ctx, 0, len(services) > 0, func(e *api.Event) error { // without services there may be none to wait for
		v.event(e)
		if f := v.cannotStart(e); f != nil {
			return f
		}
		if e.Kind == api.EventReload { // there may be others now
			if services, err = v.c.Services(ctx); err != nil {
				return err
			}
		}
		replicas, err := v.c.Replicas(ctx)
		if err != nil {
			return err
		}
		if readyAll(services, replicas) {
			return done
		}
		return nil
	})
	stop()
	if err == nil && len(services) == 0 {
		err = done
	}
	if err == done { //nolint:errorlint // it is this very value
		took := time.Since(v.began)
		show := func(e *api.Event) error { v.event(e); return nil }
		if err := v.c.Events(context.WithoutCancel(ctx), v.seen, false, show); err != nil { // how the last became ready
			return err
		}
		lines, err := v.summary(ctx, v.c, took)
		v.conclude(ctx, lines)
		return err
	}
	v.redraw(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fault.New(fault.CodeCannotStart, "the application was ended before it was ready").Fix("look at .atoll/atoll.log, or start it again")
}

// conclude shows how the application is reached: below the live table, or as lines.
func (v *view) conclude(ctx context.Context, lines []string) {
	if !v.live {
		for _, line := range lines {
			fmt.Fprintln(v.Out, line)
		}
		return
	}
	v.mu.Lock()
	v.footer = lines
	v.mu.Unlock()
	v.redraw(ctx)
}

// cannotStart is the fault of an event after which waiting is in vain, or nil.
func (v *view) cannotStart(e *api.Event) *fault.Error {
	if e.Kind != api.EventReplica {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e.To {
	case "ready":
		v.ready[e.Replica] = true
	case "crashed":
		if !v.ready[e.Replica] {
			v.crashed[e.Replica]++
		}
	}
	slow := e.Fault != nil && e.Fault.Code == fault.CodeReplicaNotReady // it had its time
	if !e.Final && !e.Loop && !slow && v.crashed[e.Replica] < triesToStart || e.To != "crashed" || v.ready[e.Replica] {
		return nil
	}
	text, remedy := e.Text, fmt.Sprintf("mend that and run atoll up again; all of its output: atoll logs %s", e.Service)
	if e.Fault != nil {
		text = e.Fault.Text
		if r := strings.TrimSuffix(e.Fault.Remedy, "."); strings.Contains(r, "atoll logs ") {
			remedy = r
		} else if r != "" {
			remedy = r + "; all of its output: atoll logs " + e.Service
		}
	}
	if len(e.Lines) > 0 {
		text += "\n" + indent(e.Lines)
	}
	return fault.New(fault.CodeCannotStart, "%s cannot start: %s", e.Service, text).Fix("%s", remedy)
}

func indent(lines []string) string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = "  | " + clean(line)
	}
	return strings.Join(out, "\n")
}

// follow shows what happens until ctx or the application ends.
func (v *view) follow(ctx context.Context) error {
	v.mu.Lock()
	v.footer = append(v.footer, v.paint.dim("  Ctrl-C ends it; in another terminal: atoll logs -f, atoll ps, atoll trace"))
	v.mu.Unlock()
	stop := v.animate(ctx)
	defer stop()
	return v.c.Events(ctx, v.seen, true, func(e *api.Event) error { v.event(e); return nil })
}

// event takes note of an event: a line of its own where there is no live table.
func (v *view) event(e *api.Event) {
	v.seen = e.Seq
	if e.From == e.To && e.To == "pending" {
		return // it has just been thought of
	}
	line, grave := v.line(e)
	if !v.live {
		fmt.Fprintln(v.Out, line)
		return
	}
	if grave {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.recent = append(v.recent, strings.Split(line, "\n")...)
		v.recent = v.recent[max(0, len(v.recent)-recentEvents):]
	}
}

// line is an event as one line, with the lines behind a crash below it.
func (v *view) line(e *api.Event) (line string, grave bool) {
	p := v.paint
	line = p.dim(e.Time.Local().Format("15:04:05.000")) + " "
	if e.Kind != api.EventReplica {
		if e.Fault != nil && e.Fault.Severity == fault.SeverityWarning {
			return line + p.yellow(clean(e.Text)) + "\n    = " + clean(e.Fault.Remedy), true
		}
		if e.Fault != nil {
			return line + p.red(clean(e.Text)) + "\n    " + clean(e.Fault.Error()), true
		}
		return line + clean(e.Text), true
	}
	name := e.Replica
	if name == "" {
		name = e.Service
	}
	line += p.hue(e.Service, name) + " " + p.state(e.To)
	if e.To == "ready" && e.ReadyMS > 0 {
		line += " after " + millisText(e.ReadyMS)
	}
	if e.Text != "" && e.To != "ready" && e.To != "backing-off" { // that repeats why it crashed
		line += ": " + clean(e.Text)
	}
	grave = e.To == "crashed" || e.To == "unready"
	if grave && len(e.Lines) > 0 {
		line += "\n" + indent(e.Lines)
	}
	return line, grave
}

// animate redraws the live table until stop is called, which waits for its end.
func (v *view) animate(ctx context.Context) (stop func()) {
	if !v.live {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(redrawEvery)
		defer ticker.Stop()
		for {
			v.redraw(ctx)
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	return func() { cancel(); <-done }
}

// redraw draws the table over the one before, if anything has changed.
func (v *view) redraw(ctx context.Context) {
	if !v.live {
		return
	}
	replicas, err := v.c.Replicas(ctx)
	if err != nil {
		return // the application is ending
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	width, height := v.Size(v.Out)
	lines, below := v.table(replicas), slices.Concat(v.recent, v.footer)
	if room := height - 2 - len(below); len(lines) > room { // what scrolled away could not be drawn over
		room = max(room, 2)
		lines = append(lines[:room-1], v.paint.dim(fmt.Sprintf("… and %s more: atoll ps", plural(len(lines)-room+1, "service"))))
	}
	for _, r := range below {
		lines = append(lines, clip(r, width))
	}
	text := strings.Join(lines, "\x1b[K\n") + "\x1b[K\n\x1b[J"
	if text == v.last {
		return
	}
	if v.drawn > 0 {
		text = fmt.Sprintf("\x1b[%dA\r", v.drawn) + text
	}
	fmt.Fprint(v.Out, text)
	v.drawn, v.last = len(lines), strings.TrimPrefix(text, fmt.Sprintf("\x1b[%dA\r", v.drawn))
}

// table is one line for each service.
func (v *view) table(replicas []api.Replica) []string {
	t := table{right: map[int]bool{2: true, 4: true, 5: true}}
	t.add("SERVICE", "STATE", "REPLICAS", "ADDRESS", "READY", "ERRORS", "")
	var names []string
	byService := map[string][]api.Replica{}
	for _, r := range replicas {
		if byService[r.Service] == nil {
			names = append(names, r.Service)
		}
		byService[r.Service] = append(byService[r.Service], r)
	}
	slices.Sort(names)
	for _, name := range names {
		row := summarise(byService[name])
		t.add(v.paint.hue(name, name), v.paint.state(row.state), fmt.Sprintf("%d/%d", row.ready, row.total), orDash(row.address),
			millisText(row.readyMS), strconv.FormatInt(row.errors, 10), v.paint.dim(clean(row.reason)))
	}
	return t.lines(v.Width(v.Out))
}

// serviceRow is what the live table shows of a service.
type serviceRow struct {
	state, address, reason string
	ready, total           int
	readyMS, errors        int64
}

// summarise shows the worst state of a service's replicas, those that are being replaced left out.
func summarise(replicas []api.Replica) serviceRow {
	order := []string{"ready", "stopped", "draining", "pending", "building", "starting", "unready", "backing-off", "crashed"}
	row := serviceRow{state: "ready"}
	for _, r := range replicas {
		row.errors += r.Errors
		if r.State != "draining" && r.State != "stopped" {
			row.total++
		}
		if r.State == "ready" {
			row.ready++
			row.readyMS = max(row.readyMS, r.ReadyMS)
			if row.address == "" {
				row.address = strings.TrimPrefix(r.URL, "http://")
			}
		}
		if slices.Index(order, r.State) > slices.Index(order, row.state) {
			row.state = r.State
			row.reason = r.Reason
		}
	}
	return row
}
