// Command qualification judges leads.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"

	"example.com/gtm/services/qualification/internal/qualification"
	"github.com/atollhq/atoll/sdk"
)

func main() { sdk.Main(run) }

func run(ctx context.Context, log *slog.Logger) error {
	name := cmp.Or(os.Getenv("RULES"), "rules.json")
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read rules: %w", err)
	}
	rules, err := qualification.Parse(text)
	if err != nil {
		return fmt.Errorf("rules in %s: %w", name, err)
	}
	leads, err := sdk.Client("leads", nil)
	if err != nil {
		return err
	}
	defer leads.Close()
	bus, err := sdk.NewPublisher(nil)
	if err != nil {
		return err
	}
	defer bus.Close()
	return sdk.Serve(ctx, qualification.Handler(rules, leads, bus), &sdk.Options{Logger: log})
}
