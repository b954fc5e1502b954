// Command orders takes orders, and has each taken to cash by the saga order-to-cash.
package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"

	"example.com/gtm/services/orders/internal/orders"
	"github.com/atollhq/atoll/sdk"
)

func main() { sdk.Main(run) }

func run(ctx context.Context, log *slog.Logger) (err error) {
	path, err := sdk.SQLitePath(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	sagas, err := sdk.NewSagas(nil)
	if err != nil {
		return err
	}
	defer sagas.Close()
	book, err := orders.Open(ctx, path, sagas, &orders.Options{Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, book.Close()) }()
	var starter sync.WaitGroup
	starting, stop := context.WithCancel(ctx)
	starter.Go(func() { book.Starts(starting) })
	defer starter.Wait()
	defer stop()
	return sdk.Serve(ctx, book.Handler(), &sdk.Options{Logger: log, Ready: book.Ping})
}
