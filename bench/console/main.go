// Command console measures the web console: what its first load takes, and whether its frames come evenly while much goes on.
//
//	go run ./bench/console [--rounds 5] [--time 5s] [--case firstLoad|list|tail|trace] [--profiles DIR] [--format text|json]
//
// The reference application runs, and Debian's chromium shows its console (test/browser). What is asked in the page is
// test/browser/js/bench.mjs.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/atollhq/atoll/bench/internal/report"
	"github.com/atollhq/atoll/test/browser"
)

const (
	goalSize        = 120 // KB
	goalInteractive = 1   // s
	goalGap         = 50  // ms
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
	rounds                 int
	time                   time.Duration
	only, profiles, format string
}

func parse(args []string) (s settings, err error) {
	flags := flag.NewFlagSet("console", flag.ContinueOnError)
	flags.IntVar(&s.rounds, "rounds", 5, "rounds, of which the median counts")
	flags.DurationVar(&s.time, "time", 5*time.Second, "time for which frames are watched in one round")
	flags.StringVar(&s.only, "case", "", "one case only: firstLoad, list, tail or trace")
	flags.StringVar(&s.profiles, "profiles", "", "a folder in which profiles of the page's main thread are left, for the browser's own tools; taking them costs time")
	flags.StringVar(&s.format, "format", "text", "text, or json: one object a line")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if s.rounds < 1 || s.rounds > 100 || s.time < time.Second || s.time > time.Hour || s.format != "text" && s.format != "json" {
		return s, errors.New("choose 1 to 100 rounds of a second to an hour, and the format text or json")
	}
	if s.profiles != "" {
		if s.profiles, err = filepath.Abs(s.profiles); err == nil {
			err = os.MkdirAll(s.profiles, 0o700)
		}
	}
	return s, err
}

func run(ctx context.Context, args []string, out, say io.Writer) (err error) {
	s, err := parse(args)
	if err != nil {
		return err
	}
	if err := browser.Need(); err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "bench-console")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	app, err := browser.Start(ctx, temp, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.Stop(context.WithoutCancel(ctx))) }()
	var said bytes.Buffer
	env := []string{fmt.Sprintf("ROUNDS=%d", s.rounds), fmt.Sprintf("SECONDS=%g", s.time.Seconds()), "ONLY=" + s.only, "PROFILES=" + s.profiles}
	if err := app.Node(ctx, io.MultiWriter(&said, say), env, "bench.mjs"); err != nil {
		return fmt.Errorf("measure: %w", err)
	}
	results, err := read(&said)
	if err != nil {
		return err
	}
	return report.Write(out, s.format, results)
}

// read takes the figures out of what the script has said, and sets their goals.
func read(said io.Reader) (results []report.Result, err error) {
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), "{") {
			continue
		}
		r := report.Result{Subject: "atoll"}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("read figure %q: %w", lines.Text(), err)
		}
		results = append(results, withGoal(r))
	}
	if len(results) == 0 {
		return nil, errors.New("nothing was measured: is that a case?")
	}
	return results, nil
}

func withGoal(r report.Result) report.Result {
	switch r.Metric {
	case "transferred, gzip":
		return r.AtMost(goalSize)
	case "services shown and a key works":
		return r.AtMost(goalInteractive)
	case "frame gap, p99":
		return r.AtMost(goalGap)
	}
	return r
}
