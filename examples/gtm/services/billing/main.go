// Command billing writes invoices, charges cards, keeps the ledger and the subscriptions.
package main

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"example.com/gtm/services/billing/internal/billing"
	"github.com/atollhq/atoll/sdk"
)

func main() { sdk.Main(run) }

func run(ctx context.Context, log *slog.Logger) (err error) {
	path, err := sdk.SQLitePath(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	store, err := billing.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return sdk.Serve(ctx, billing.Handler(store), &sdk.Options{Logger: log, Ready: store.Ping})
}
