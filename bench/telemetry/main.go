// Command telemetry measures what it costs to keep and to find telemetry: what Atoll takes in over OTLP, how large it is on disk, and how
// fast it is found while more comes; and beside it Jaeger on badger, at a size that it can bear.
//
//	go run ./bench/telemetry [--spans 10000000] [--lines 10000000] [--rounds 5] [--peer-spans 1000000] [--rate 5000] [--format text|json]
//
// Atoll is the real program with an application that is almost empty. The load is that of internal/telemetry/telemetrytest: exports of 512 spans
// or lines, each of one replica, on several connections, each of which waits for the acknowledgement of one export before it
// sends the next. "A core" is a second of CPU time of the server's process, until it has nothing more to do.
//
// A short form for trying: --spans 300000 --lines 300000 --burst 65536 --rounds 3 --peer-spans 50000.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/atollhq/atoll/bench/internal/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Names of subjects.
const (
	nameAtoll  = "atoll"
	nameJaeger = "jaeger, badger"
)

// settings are what the flags say.
type settings struct {
	spans, lines, rounds, burst, connections, rate, peerSpans int
	window                                                    time.Duration
	format, atoll                                             string
}

func parse(args []string) (s settings, err error) {
	flags := flag.NewFlagSet("telemetry", flag.ContinueOnError)
	flags.IntVar(&s.spans, "spans", 10_000_000, "spans that are loaded")
	flags.IntVar(&s.lines, "lines", 10_000_000, "log lines that are loaded")
	flags.IntVar(&s.rounds, "rounds", 5, "rounds, of which the median counts")
	flags.IntVar(&s.burst, "burst", 262_144, "spans of one measurement of the intake")
	flags.IntVar(&s.connections, "connections", 8, "connections that send at once")
	flags.IntVar(&s.rate, "rate", 5000, "spans a second that are written while questions are asked")
	flags.IntVar(&s.peerSpans, "peer-spans", 1_000_000, "spans for the comparison with Jaeger; 0 for none")
	flags.DurationVar(&s.window, "window", 6*time.Hour, "time that the load is spread over, up to now")
	flags.StringVar(&s.atoll, "atoll", "", "the program that is measured; it is built if none is named")
	flags.StringVar(&s.format, "format", "text", "text, or json: one object a line")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if s.rounds < 1 || s.rounds > 100 || s.format != "text" && s.format != "json" {
		return s, errors.New("choose 1 to 100 rounds, and the format text or json")
	}
	if s.spans < 10_000 || s.spans > 100_000_000 || s.lines < 10_000 || s.lines > 100_000_000 || s.burst < 1000 || s.burst > 1_000_000 {
		return s, errors.New("choose 10,000 to 100,000,000 spans and lines, and bursts of 1,000 to 1,000,000 spans")
	}
	if s.connections < 1 || s.connections > 256 || s.rate < 100 || s.rate > 100_000 || s.peerSpans < 0 || s.peerSpans > 10_000_000 || s.window < time.Minute {
		return s, errors.New("choose 1 to 256 connections, 100 to 100,000 spans a second, at most 10,000,000 spans for Jaeger, and at least a minute")
	}
	return s, nil
}

// bench is what is measured, and what was found.
type bench struct {
	settings

	dir     string
	program string // atoll
	say     io.Writer
	seeds   uint64
	began   time.Time

	bursts  map[string]*figures // by case
	sent    map[string]int      // in bursts
	order   []string            // of them
	results []report.Result
	notes   []string
}

func run(ctx context.Context, args []string, out, say io.Writer) (err error) {
	if len(args) == 1 && args[0] == idle {
		return serveIdle(ctx)
	}
	s, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-telemetry")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{settings: s, dir: dir, program: s.atoll, say: say, began: time.Now(), bursts: map[string]*figures{}, sent: map[string]int{}}
	if b.program == "" {
		b.program = filepath.Join(dir, "atoll")
		if err := build(ctx, b.program, "./cmd/atoll", ""); err != nil {
			return err
		}
	}
	if err := b.alone(ctx); err != nil {
		return err
	}
	if s.peerSpans > 0 {
		if err := b.beside(ctx); err != nil {
			return err
		}
	}
	if err := report.Write(out, s.format, b.results); err != nil || s.format == "json" {
		return err
	}
	for _, n := range b.notes {
		if _, err := fmt.Fprintln(out, n); err != nil {
			return err
		}
	}
	return nil
}

// tell says how far it is, since a run takes long.
func (b *bench) tell(format string, args ...any) {
	fmt.Fprintf(b.say, "%6.0f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

func (b *bench) add(r ...report.Result) { b.results = append(b.results, r...) }

// shape is that of a burst, which is of the time just before now.
func (b *bench) shape(n int) shape {
	b.seeds++
	return shape{seed: b.seeds, from: time.Now().Add(-time.Duration(float64(n) / float64(b.rate) * float64(time.Second))), rate: float64(b.rate), items: n}
}

// alone measures Atoll.
func (b *bench) alone(ctx context.Context) (err error) {
	a, err := startApp(ctx, b.program, filepath.Join(b.dir, "bench"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.down(ctx)) }()
	memory := watch(ctx, a.pid)
	b.tell("bursts")
	if err := b.intake(ctx, &a.server); err != nil {
		return err
	}
	l := newLong(b.spans, b.lines, b.rounds, b.window, time.Now())
	for i := range b.rounds {
		b.tell("load, slice %d of %d", i+1, b.rounds)
		if err := l.slice(ctx, &a.server, b.connections); err != nil {
			return err
		}
	}
	if err := b.found(ctx, a, l); err != nil {
		return err
	}
	most := memory()
	b.add(report.Result{Case: "all of it", Subject: nameAtoll, Metric: "resident memory, peak", Value: most.peak, Unit: "MB"}.AtMost(goalMemory),
		report.Result{Case: "all of it", Subject: nameAtoll, Metric: "of it anonymous, peak", Value: most.anonymous, Unit: "MB"})
	return nil
}
