package main

import (
	"context"
	"fmt"
	"time"

	"github.com/atollhq/atoll/bench/internal/report"
)

// server is something that takes OTLP, and runs in a process of its own.
type server struct {
	name       string
	grpc, http string // host and port
	pid        int
}

// figures are what was measured in rounds, by what it is.
type figures struct {
	perCore, perSecond []float64
	busy               int
	bytes              float64 // an item, as it is sent
}

func (f *figures) add(s sent, cpu time.Duration) {
	f.perCore = append(f.perCore, float64(s.items)/cpu.Seconds())
	f.perSecond = append(f.perSecond, float64(s.items)/s.took.Seconds())
	f.busy += s.busy
	f.bytes = float64(s.bytes) / float64(s.items)
}

func (f *figures) results(kase, subject, what string, goal float64) []report.Result {
	core := report.Result{Case: kase, Subject: subject, Metric: what + " a second of CPU", Value: report.Median(f.perCore), Unit: what + "/s a core"}
	if goal > 0 {
		core = core.AtLeast(goal)
	}
	out := []report.Result{core, {Case: kase, Subject: subject, Metric: what + " acknowledged", Value: report.Median(f.perSecond), Unit: what + "/s"}}
	if f.busy > 0 {
		out = append(out, report.Result{Case: kase, Subject: subject, Metric: "exports refused and sent again", Value: float64(f.busy), Unit: "exports"})
	}
	return out
}

const settleLimit = 30 * time.Second

// take sends what next gives, on so many connections. The CPU time is that of the server until it has nothing more to do.
func (s *server) take(ctx context.Context, w way, connections int, next func() (export, bool)) (out sent, cpu time.Duration, err error) {
	var senders []sender
	defer func() {
		for _, s := range senders {
			s.close()
		}
	}()
	for range connections {
		c, err := dial(w, s.grpc, s.http)
		if err != nil {
			return out, 0, err
		}
		senders = append(senders, c)
	}
	before, err := cpuTime(s.pid)
	if err != nil {
		return out, 0, err
	}
	if out, err = pump(ctx, senders, next); err != nil {
		return out, 0, fmt.Errorf("%s, %s: %w", s.name, w, err)
	}
	if err := settle(ctx, s.pid, settleLimit); err != nil {
		return out, 0, err
	}
	after, err := cpuTime(s.pid)
	return out, max(tick, after-before), err
}

// made makes all exports of a stream, so that making them takes nothing from who is measured.
func made(s *stream) []export {
	var all []export
	for e, ok := s.next(); ok; e, ok = s.next() {
		all = append(all, e)
	}
	return all
}

// intake measures a burst over each way in each round, and one of metrics.
func (b *bench) intake(ctx context.Context, s *server) error {
	ways := []way{overGRPC, overHTTP, overGRPCGzip, overHTTPGzip}
	for round := range b.rounds {
		for i := range ways {
			w := ways[(round+i)%len(ways)] // what makes a block of what several have sent meets all
			sh := b.shape(b.burst)
			list, err := compressed(w, made(spans(sh)))
			if err != nil {
				return err
			}
			if err := b.measure(ctx, s, w, burstOf(w), list); err != nil {
				return err
			}
		}
		if err := b.measure(ctx, s, overGRPC, burstLines, made(records(b.shape(b.burst)))); err != nil {
			return err
		}
		sh := b.shape(4 * b.burst)
		sh.from = time.Now() // a store of metrics takes what is of now
		if err := b.measure(ctx, s, overGRPC, burstSamples, made(metrics(sh))); err != nil {
			return err
		}
	}
	return nil
}

// Names of bursts.
const (
	burstLines   = "lines over gRPC"
	burstSamples = "samples of metrics over gRPC"
)

func burstOf(w way) string { return "spans over " + string(w) }

func (b *bench) measure(ctx context.Context, s *server, w way, name string, list []export) error {
	out, cpu, err := s.take(ctx, w, b.connections, listed(list))
	if err != nil {
		return err
	}
	if b.bursts[name] == nil {
		b.bursts[name] = &figures{}
		b.order = append(b.order, name)
	}
	b.bursts[name].add(out, cpu)
	switch name {
	case burstLines:
		b.sent[whatLines] += out.items
	case burstSamples:
	default:
		b.sent[whatSpans] += out.items
	}
	return nil
}

// makers is how many goroutines make what is sent in a long load.
const makers = 2

// long is a load of what is kept, in slices of spans and lines by turns. Each slice is of the time after the one before.
type long struct {
	window       time.Duration // that all of it is spread over
	spans, lines int
	rounds       int
	picks        []*picked // by maker

	from   time.Time // of the first slice
	done   int
	loaded map[string]*figures
	sent   map[string]int
}

func newLong(spans, lines, rounds int, window time.Duration, now time.Time) *long {
	l := &long{window: window, spans: spans, lines: lines, rounds: rounds, from: now.Add(-window), sent: map[string]int{}}
	l.loaded = map[string]*figures{whatSpans: {}, whatLines: {}}
	for i := range makers {
		l.picks = append(l.picks, newPicked(uint64(i)))
	}
	return l
}

// What is loaded.
const (
	whatSpans = "spans"
	whatLines = "lines"
)

// shape is that of a maker's part of a slice.
func (l *long) shape(slice, maker, all int) shape {
	each := l.window / time.Duration(l.rounds)
	n := all / l.rounds / makers
	return shape{
		seed: uint64(1000 + slice*makers + maker), from: l.from.Add(time.Duration(slice) * each), rate: float64(n) / each.Seconds(), items: n,
		picked: l.picks[maker],
	}
}

// slice sends the next slice to a server, as it is made.
func (l *long) slice(ctx context.Context, s *server, connections int) error {
	for _, what := range []string{whatSpans, whatLines} {
		makes, n := spans, l.spans
		if what == whatLines {
			makes, n = records, l.lines
		}
		if n == 0 {
			continue
		}
		var streams []*stream
		for maker := range makers {
			streams = append(streams, makes(l.shape(l.done, maker, n)))
		}
		out, cpu, err := s.take(ctx, overGRPC, connections, merged(ctx, streams...))
		if err != nil {
			return err
		}
		l.loaded[what].add(out, cpu)
		l.sent[what] += out.items
	}
	l.done++
	return nil
}
