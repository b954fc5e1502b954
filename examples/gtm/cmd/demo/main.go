// Command demo sends a file of leads through the gateway, waits until every one is processed, and prints what
// became of them. Then it follows one lead through everything: its visits, which are a signal, the pipeline, the mails that
// are written to it, and its answer, which ends them. At last it places orders: one becomes cash, two are undone, and one is
// parked until a person frees it, which is you, or the program that -atoll names.
//
//	go run ./cmd/demo [-file data/companies.csv] [-wait 3m] [-atoll ../../bin/atoll] [-only leads|orders] [http://127.0.0.1:8080]
//
// It ends with code 1 when a lead that was accepted is not done in time, when lines went missing, when the one lead does
// not get what it should, or when an order does not come to its end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	info, err := os.Stdout.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	err = run(ctx, os.Args[1:], os.Stdout, terminal)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer, terminal bool) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	file := flags.String("file", "data/companies.csv", "the leads to send, CSV")
	wait := flags.Duration("wait", 3*time.Minute, "how long the pipeline may take")
	atoll := flags.String("atoll", "", "the program that frees the parked order, with its flags; default: you do")
	only := flags.String("only", "", "only a part: leads or orders")
	if err := flags.Parse(args); err != nil {
		return err
	}
	gateway := "http://127.0.0.1:8080"
	if flags.NArg() > 0 {
		gateway = flags.Arg(0)
	}
	ctx, cancel := context.WithTimeout(ctx, *wait)
	defer cancel()
	c := &client{gateway: gateway}
	if *only != "orders" {
		if err := runLeads(ctx, c, *file, out, terminal); err != nil {
			return err
		}
	}
	if *only == "leads" {
		return nil
	}
	return (&orders{c: c, out: out, began: time.Now(), atoll: strings.Fields(*atoll)}).run(ctx)
}

// runLeads sends the file, waits until every lead is done, and follows one.
func runLeads(ctx context.Context, c *client, file string, out io.Writer, terminal bool) error {
	began := time.Now()
	report, err := c.send(ctx, file)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d lines of %s are in after %s: %d new leads, %d duplicates, %d rejected\n", report.lines(), file,
		time.Since(began).Round(time.Millisecond), report.Accepted, report.Duplicates, report.Rejected)
	for _, r := range report.Rejections {
		fmt.Fprintf(out, "  line %d: %s\n", r.Line, r.Reason)
	}
	last, err := c.follow(ctx, report.batch, &bar{out: out, terminal: terminal, began: began})
	if err != nil {
		return err
	}
	took := time.Since(began)
	leads, err := c.leads(ctx, report.ID)
	if err != nil {
		return err
	}
	printTable(out, report, leads, took)
	if len(leads) != report.Accepted || last.Done != report.Accepted {
		return fmt.Errorf("%d leads were accepted, %d are listed, %d are done", report.Accepted, len(leads), last.Done)
	}
	return (&journey{c: c, out: out, began: time.Now()}).run(ctx)
}
