// Command routing decides who owns a lead.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"example.com/gtm/services/routing/internal/routing"
	"github.com/atollhq/atoll/sdk"
)

func main() { sdk.Main(run) }

func run(ctx context.Context, log *slog.Logger) (err error) {
	name := cmp.Or(os.Getenv("TEAM"), "team.json")
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read team: %w", err)
	}
	team, err := routing.Parse(text)
	if err != nil {
		return fmt.Errorf("team in %s: %w", name, err)
	}
	path, err := sdk.SQLitePath(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	desk, err := routing.Open(ctx, path, team)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, desk.Close()) }()
	return sdk.Serve(ctx, desk.Handler(), &sdk.Options{Logger: log, Ready: desk.Ping})
}
