// Command shipping keeps stock, reserves it for orders and ships it.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"example.com/gtm/services/shipping/internal/shipping"
	"github.com/atollhq/atoll/sdk"
)

func main() { sdk.Main(run) }

func run(ctx context.Context, log *slog.Logger) (err error) {
	name := cmp.Or(os.Getenv("STOCK"), "stock.json")
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read stock: %w", err)
	}
	stock, err := shipping.Parse(text)
	if err != nil {
		return fmt.Errorf("stock in %s: %w", name, err)
	}
	path, err := sdk.SQLitePath(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	store, err := shipping.Open(ctx, path, stock)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return sdk.Serve(ctx, shipping.Handler(store), &sdk.Options{Logger: log, Ready: store.Ping})
}
