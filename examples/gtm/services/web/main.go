// Command web serves the pages that people open.
package main

import (
	"context"
	"log/slog"

	"example.com/gtm/services/web/internal/web"
	"github.com/atollhq/atoll/sdk"
)

func main() { sdk.Main(run) }

func run(ctx context.Context, log *slog.Logger) error {
	leads, err := sdk.Client("leads", nil)
	if err != nil {
		return err
	}
	pages, err := web.Handler(leads, log)
	if err != nil {
		return err
	}
	return sdk.Serve(ctx, pages, &sdk.Options{Logger: log})
}
