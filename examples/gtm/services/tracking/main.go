// Command tracking takes page views and clicks, and tells when somebody seems to want to buy.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"example.com/gtm/services/tracking/internal/tracking"
	"github.com/atollhq/atoll/sdk"
)

func main() { sdk.Main(run) }

func run(ctx context.Context, log *slog.Logger) (err error) {
	name := cmp.Or(os.Getenv("RULES"), "rules.json")
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read rules: %w", err)
	}
	rules, err := tracking.Parse(text)
	if err != nil {
		return fmt.Errorf("rules in %s: %w", name, err)
	}
	path, err := sdk.SQLitePath(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	store, err := tracking.Open(ctx, path, rules, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return sdk.Serve(ctx, tracking.Handler(store), &sdk.Options{Logger: log, Ready: store.Ping})
}
