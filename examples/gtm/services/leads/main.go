// Command leads takes leads in and tells how far each has come.
package main

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"example.com/gtm/services/leads/internal/leads"
	"github.com/atollhq/atoll/sdk"
)

func main() { sdk.Main(run) }

func run(ctx context.Context, log *slog.Logger) (err error) {
	path, err := sdk.SQLitePath(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	store, err := leads.Open(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return sdk.Serve(ctx, leads.Handler(store), &sdk.Options{Logger: log, Ready: store.Ping})
}
