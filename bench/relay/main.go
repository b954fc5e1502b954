// Command relay measures what part of the relay's processor time goes to what Atoll sees of requests by itself: their spans and metrics, kept.
//
//	go run ./bench/relay [--rounds 5] [--time 15s] [--connections 32] [--profiles DIR] [--format text|json]
//
// Requests go through the gateway to one service, which calls another: two hops. Atoll runs with a profiler (bench/relay/profiled), and
// what counts is the part of samples in whose stack a function of telemetry is. That needs no second program to compare with, and
// what else the machine does takes nothing from it.
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

// settings are what the flags say.
type settings struct {
	rounds, connections int
	time                time.Duration
	format, profiles    string
}

func parse(args []string) (s settings, err error) {
	flags := flag.NewFlagSet("relay", flag.ContinueOnError)
	flags.IntVar(&s.rounds, "rounds", 5, "rounds, of which the median counts")
	flags.DurationVar(&s.time, "time", 15*time.Second, "time of one round")
	flags.IntVar(&s.connections, "connections", 32, "connections that send at once")
	flags.StringVar(&s.profiles, "profiles", "", "a folder in which the profiles are left; none is left if none is named")
	flags.StringVar(&s.format, "format", "text", "text, or json: one object a line")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if s.rounds < 1 || s.rounds > 100 || s.connections < 1 || s.connections > 1000 || s.time < time.Second || s.time > time.Hour || s.format != "text" && s.format != "json" {
		return s, errors.New("choose 1 to 100 rounds of a second to an hour, 1 to 1000 connections, and the format text or json")
	}
	return s, nil
}

const goalShare = 5 // % of the processor time that the relay takes without

func run(ctx context.Context, args []string, out, say io.Writer) (err error) {
	if len(args) == 1 && (args[0] == roleFront || args[0] == roleBack) {
		return serve(ctx, args[0])
	}
	s, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-relay")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if s.profiles == "" {
		s.profiles = filepath.Join(dir, "profiles")
	}
	if s.profiles, err = filepath.Abs(s.profiles); err != nil {
		return fmt.Errorf("find folder: %w", err)
	}
	program := filepath.Join(dir, "atoll")
	if err := build(ctx, program, "./bench/relay/profiled"); err != nil {
		return err
	}
	var results []report.Result
	for _, accessLog := range []bool{false, true} {
		name, folder := "two hops", "spans"
		if accessLog {
			name, folder = name+", with the access log", "log"
		}
		fmt.Fprintf(say, "%s, %d rounds of %s\n", name, s.rounds, s.time)
		found, err := measure(ctx, &s, program, filepath.Join(dir, folder), accessLog)
		if err != nil {
			return err
		}
		results = append(results, found.results(name, !accessLog)...)
	}
	return report.Write(out, s.format, results)
}

// figures are those of rounds.
type figures struct {
	hop   []float64 // µs of CPU for each hop, of all
	share []float64 // of telemetry, in % of the rest
	parts [3][]float64
}

func measure(ctx context.Context, s *settings, program, dir string, accessLog bool) (f figures, err error) {
	a, err := startApp(ctx, program, dir, s.profiles, accessLog)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, a.down(ctx)) }()
	if _, err := load(ctx, a.url, s.connections, 2*time.Second); err != nil { // to warm it
		return f, err
	}
	for round := range s.rounds {
		p, requests, err := a.profiled(ctx, round, func() (int64, error) { return load(ctx, a.url, s.connections, s.time) })
		if err != nil {
			return f, err
		}
		f.hop = append(f.hop, p.all/float64(requests*hops)/1000)
		f.share = append(f.share, 100*p.telemetry()/(p.all-p.telemetry()))
		for i, part := range [...]float64{p.request, p.background, p.collected * p.allocated} {
			f.parts[i] = append(f.parts[i], 100*part/(p.all-p.telemetry()))
		}
	}
	return f, nil
}

func (f *figures) results(name string, goal bool) []report.Result {
	of := func(metric, unit string, values []float64) report.Result {
		return report.Result{Case: name, Subject: "atoll", Metric: metric, Value: report.Median(values), Unit: unit}
	}
	share := of("telemetry, of the CPU of the rest", "%", f.share)
	if goal {
		share = share.AtMost(goalShare)
	}
	return []report.Result{
		of("CPU", "µs/hop", f.hop), share,
		of("of it while a request is served", "%", f.parts[0]),
		of("of it after that: gathering, log, blocks, metrics", "%", f.parts[1]),
		of("of it collecting garbage, by what is allocated", "%", f.parts[2]),
	}
}
