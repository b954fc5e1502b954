// Command bus measures what it costs to publish events, acknowledged once they are on disk, and how long they take to arrive:
// Atoll over HTTP and over NATS, NATS JetStream itself, and RabbitMQ.
//
//	go run ./bench/bus [--rounds 5] [--seconds 2] [--format text|json]
//
// Every subject is a process of its own; the publishers are goroutines of this one, each of which waits for the
// acknowledgement of one event of 256 bytes before it sends the next. Over HTTP each has a connection of its own; over NATS and
// AMQP they share eight. RabbitMQ is Debian's package; without it, it is printed as absent.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/atollhq/atoll/bench/internal/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// subject is something that publishes, under measurement.
type subject struct {
	name string
	// open makes n publishers, which are used side by side. Each publishes one event and returns once it is acknowledged.
	open func(ctx context.Context, n int) (publishers []func() error, end func(), err error)
	pid  func() int // the process whose time counts
	stop func() error

	rate, cpu map[int][]float64 // by number of publishers: events/s, µs of CPU an event
}

// sizes are the numbers of publishers.
func sizes() []int { return []int{1, 64, 1024} }

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("bus", flag.ContinueOnError)
	rounds := flags.Int("rounds", 5, "rounds, of which the median counts")
	seconds := flags.Float64("seconds", 2, "length of one measurement")
	format := flags.String("format", "text", "text, or json: one object a line")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *rounds < 1 || *seconds <= 0 || *seconds > 60 || *format != "text" && *format != "json" {
		return errors.New("choose at least one round, at most 60 seconds, and the format text or json")
	}
	dir, err := os.MkdirTemp("", "bench-bus")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{dir: dir, out: out, each: time.Duration(*seconds * float64(time.Second))}
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.start(ctx); err != nil {
		return err
	}
	for range *rounds { // by turns, so that what else the machine does meets all
		if err := b.round(ctx); err != nil {
			return err
		}
	}
	return report.Write(out, *format, b.results())
}

// bench is what is measured, and what was found.
type bench struct {
	dir      string
	out      io.Writer
	each     time.Duration
	subjects []*subject
	atoll    *atollApp
	absent   []string

	disk     []float64 // ms: one fdatasync
	p50, p99 []float64 // ms: from the request that publishes to the consumer
}

// Names of subjects.
const (
	atollHTTP  = "atoll, HTTP"
	atollNATS  = "atoll, NATS"
	natsSync   = "nats, sync always"
	natsLazy   = "nats, default"
	classic    = "rabbitmq, classic durable"
	quorum     = "rabbitmq, quorum"
	microPerMS = 1000
)

// start starts everything that is there.
func (b *bench) start(ctx context.Context) error {
	app, err := startAtoll(ctx, b.dir)
	if err != nil {
		return err
	}
	b.atoll = app
	b.subjects = append(b.subjects, app.overHTTP(), app.overNATS())
	for name, always := range map[string]bool{natsSync: true, natsLazy: false} {
		s, err := startNATS(ctx, b.dir, name, always)
		if err != nil {
			return err
		}
		b.subjects = append(b.subjects, s)
	}
	rabbits, err := startRabbit(ctx, b.dir)
	if err != nil {
		b.absent = append(b.absent, fmt.Sprintf("rabbitmq (%v)", err))
	}
	b.subjects = append(b.subjects, rabbits...)
	for _, s := range b.subjects {
		s.rate, s.cpu = map[int][]float64{}, map[int][]float64{}
	}
	return nil
}

func (b *bench) stop() error {
	var failed error
	for _, s := range b.subjects {
		if s.stop != nil {
			failed = errors.Join(failed, s.stop())
		}
	}
	return failed
}

func (b *bench) round(ctx context.Context) error {
	ms, err := syncTime(b.dir)
	if err != nil {
		return err
	}
	b.disk = append(b.disk, ms)
	for _, n := range sizes() {
		for _, s := range b.subjects {
			if err := s.measure(ctx, n, b.each); err != nil {
				return fmt.Errorf("%s, %d publishers: %w", s.name, n, err)
			}
		}
	}
	p50, p99, err := b.atoll.endToEnd(ctx)
	b.p50, b.p99 = append(b.p50, p50), append(b.p99, p99)
	return err
}

func (b *bench) named(name string) *subject {
	if i := slices.IndexFunc(b.subjects, func(s *subject) bool { return s.name == name }); i >= 0 {
		return b.subjects[i]
	}
	return nil
}

func (b *bench) results() []report.Result {
	var out []report.Result
	for _, n := range sizes() {
		name := fmt.Sprintf("publish, %d publishers", n)
		rate := func(s *subject) report.Result {
			return report.Result{Case: name, Subject: s.name, Metric: "acknowledged after sync", Value: report.Median(s.rate[n]), Unit: "events/s"}
		}
		for _, s := range b.subjects {
			r := rate(s)
			if s.name == natsLazy {
				r.Metric = "acknowledged before sync"
			}
			ours := s.name == atollHTTP || s.name == atollNATS
			if base := b.named(natsSync); ours && n == 64 {
				r = r.Against(rate(base)).Times(3)
			} else if base := b.named(quorum); ours && n == 1024 && base != nil {
				r = r.Against(rate(base)).Times(1)
			}
			out = append(out, r, report.Result{Case: name, Subject: s.name, Metric: "CPU of the server", Value: report.Median(s.cpu[n]), Unit: "µs/event"})
		}
	}
	disk := report.Median(b.disk)
	out = append(out,
		report.Result{Case: "disk", Subject: "machine", Metric: "write and fdatasync", Value: disk, Unit: "ms"},
		report.Result{Case: "HTTP to HTTP, 200 events/s", Subject: "atoll", Metric: "end to end, p50", Value: report.Median(b.p50), Unit: "ms"}.AtMost(disk+5),
		report.Result{Case: "HTTP to HTTP, 200 events/s", Subject: "atoll", Metric: "end to end, p99", Value: report.Median(b.p99), Unit: "ms"},
	)
	for _, who := range b.absent {
		out = append(out, report.Result{Case: "absent", Subject: who})
	}
	return out
}
