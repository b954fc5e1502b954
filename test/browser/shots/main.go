// Shots writes the pictures of README and docs: each screen of the console with the reference application, in light and in dark.
//
//	go run ./test/browser/shots docs/images
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/atollhq/atoll/test/browser"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "shots:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to be undone
	}
}

func run(ctx context.Context, args []string) (err error) {
	if len(args) != 1 {
		return errors.New("name the folder for the pictures, and nothing else")
	}
	out, err := filepath.Abs(args[0])
	if err != nil {
		return err
	}
	if err := browser.Need(); err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "shots")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	app, err := browser.Start(ctx, temp, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.Stop(context.WithoutCancel(ctx))) }()
	return app.Node(ctx, os.Stdout, []string{"OUT=" + out}, "shots.mjs")
}
