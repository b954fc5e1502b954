// Command saga measures what durable sagas of five steps cost, each step a call over HTTP to a trivial service: Atoll on SQLite and on
// PostgreSQL, and beside it engines that others have made, on the same PostgreSQL server where they can.
//
//	go run ./bench/saga [--rounds 5] [--seconds 4] [--clients 64] [--finished 0] [--waiting 0] [--rate 1000] [--format text|json]
//
// Atoll is the real program with an application whose services are ./bench/saga/service; sagas are started at SAGAS_URL by this
// process, and each client waits for the end of one before it starts the next. The peers lie in a module of their own,
// ./bench/saga/peers, and run in processes of their own with their clients. Those that cannot be built are printed as absent.
//
// With --finished N it measures Atoll also before and after so many finished instances were put into its store; with --waiting N a
// steady stream of sagas (--rate a second) while so many other instances wait for a service that does not answer, and without.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/atollhq/atoll/bench/internal/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Names of subjects.
const (
	nameSQLite   = "atoll, SQLite"
	namePostgres = "atoll, Postgres"
	nameCalls    = "calls alone"
	// The same, no more a second than Atoll on SQLite has made in that round.
	nameCallsPaced = "calls alone, paced"
	nameDBOS       = "dbos, Postgres"
	nameRiver      = "river, Postgres"
	nameDTM        = "dtm, boltdb"
	nameTemporal   = "temporal dev, SQLite"
)

// bench is what is measured, and what was found.
type bench struct {
	dir      string
	shape    shape
	rounds   int
	programs programs
	server   *server   // nil without PostgreSQL
	service  *exec.Cmd // for those that are no part of an application
	sqlite   *app
	postgres *app
	subjects []*subject
	absent   []report.Result
	notes    []string
	extra    []report.Result
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("saga", flag.ContinueOnError)
	rounds := flags.Int("rounds", 5, "rounds, of which the median counts")
	seconds := flags.Float64("seconds", 4, "length of one measurement")
	clients := flags.Int("clients", 64, "sagas at once")
	finished := flags.Int("finished", 0, "measure beside so many finished instances, too")
	waiting := flags.Int("waiting", 0, "measure beside so many instances that wait, too")
	rate := flags.Int("rate", 1000, "with --waiting: sagas a second")
	peers := flags.Bool("peers", true, "measure what others have made, too")
	format := flags.String("format", "text", "text, or json: one object a line")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *rounds < 1 || *rounds > 100 || *seconds <= 0 || *seconds > 60 || *clients < 1 || *clients > 4096 || *format != "text" && *format != "json" {
		return errors.New("choose 1 to 100 rounds, at most 60 seconds, 1 to 4,096 clients, and the format text or json")
	}
	if *finished < 0 || *finished > 10_000_000 || *waiting < 0 || *waiting > 50_000 || *rate < 1 || *rate > 100_000 {
		return errors.New("choose at most 10,000,000 finished instances, at most 50,000 that wait, and at most 100,000 a second")
	}
	dir, err := os.MkdirTemp("", "bench-saga")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{dir: dir, rounds: *rounds, shape: shape{clients: *clients, warm: time.Second, each: time.Duration(*seconds * float64(time.Second))}}
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.start(ctx, *peers); err != nil {
		return err
	}
	for range *rounds { // by turns, so that what else the machine does meets all
		for _, s := range b.subjects {
			if err := s.measure(ctx, b.shape); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	if *waiting > 0 {
		if err := b.beside(ctx, *waiting, *rate); err != nil {
			return err
		}
	}
	if *finished > 0 {
		if err := b.after(ctx, *finished); err != nil {
			return err
		}
	}
	if err := report.Write(out, *format, b.results()); err != nil {
		return err
	}
	if *format == "text" {
		for _, n := range b.notes {
			if _, err := fmt.Fprintln(out, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// start starts everything that is there.
func (b *bench) start(ctx context.Context, peers bool) error {
	var err error
	if b.programs, err = buildAll(ctx, b.dir); err != nil {
		return err
	}
	if b.sqlite, err = startApp(ctx, b.programs, filepath.Join(b.dir, "lite"), ""); err != nil {
		return err
	}
	lite := overSagas(ctx, nameSQLite, b.sqlite)
	lite.size = fileSize(b.sqlite.file())
	b.add(lite)
	cmd, addr, err := startService(ctx, b.programs)
	if err != nil {
		return err
	}
	b.service = cmd
	calls, paced, err := onlyCalls(b.programs, addr, cmd.Process.Pid, lite)
	if err != nil {
		return err
	}
	b.add(calls)
	b.add(paced)
	if b.server, err = startPostgres(ctx, b.dir); err != nil {
		for _, name := range []string{namePostgres, nameDBOS, nameRiver} {
			b.lacks(name, err)
		}
	} else if err := b.startPostgres(ctx); err != nil {
		return err
	}
	if peers {
		b.startPeers(ctx, addr)
	}
	return nil
}

// startPostgres starts Atoll on PostgreSQL.
func (b *bench) startPostgres(ctx context.Context) error {
	const database = "atoll"
	url, err := b.server.database(ctx, database)
	if err != nil {
		return err
	}
	if b.postgres, err = startApp(ctx, b.programs, filepath.Join(b.dir, "postgresql"), url); err != nil {
		return err
	}
	s := overSagas(ctx, namePostgres, b.postgres)
	s.cpu[partPostgres], s.size = b.server.time, b.sizeOf(database)
	b.add(s)
	return nil
}

func (b *bench) sizeOf(database string) func(context.Context) (int64, error) {
	return func(ctx context.Context) (int64, error) { return b.server.size(ctx, database) }
}

func (b *bench) add(s *subject) {
	s.used = map[string][]float64{}
	b.subjects = append(b.subjects, s)
}

func (b *bench) lacks(name string, why error) {
	b.absent = append(b.absent, report.Result{Case: "absent", Subject: name, Metric: fmt.Sprint(why)})
}

// stop ends everything that was started, the last first.
func (b *bench) stop() error {
	var failed error
	for _, s := range slices.Backward(b.subjects) {
		if s.stop != nil {
			failed = errors.Join(failed, s.stop())
		}
	}
	if b.service != nil {
		failed = errors.Join(failed, end(b.service, syscall.SIGTERM))
	}
	if b.server != nil {
		failed = errors.Join(failed, b.server.stop())
	}
	return failed
}
