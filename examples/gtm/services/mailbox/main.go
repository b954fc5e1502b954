// Command mailbox shows the mails that the application sent.
package main

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"example.com/gtm/services/mailbox/internal/mailbox"
	"github.com/atollhq/atoll/sdk"
)

func main() { sdk.Main(run) }

func run(ctx context.Context, log *slog.Logger) (err error) {
	path, err := sdk.SQLitePath(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	store, err := mailbox.Open(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	h, err := mailbox.Handler(store)
	if err != nil {
		return err
	}
	return sdk.Serve(ctx, h, &sdk.Options{Logger: log, Ready: store.Ping})
}
