// Command outreach writes to leads, step by step.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"os"
	"time"

	"example.com/gtm/services/outreach/internal/outreach"
	"github.com/atollhq/atoll/sdk"
)

// patience is how long the mail server may take for one mail; less than the time-out of the subscription.
const patience = 30 * time.Second

func main() { sdk.Main(run) }

func run(ctx context.Context, log *slog.Logger) (err error) {
	config, err := configure(os.Getenv)
	if err != nil {
		return err
	}
	config.Logger = log
	desk, err := outreach.Open(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, desk.Close()) }()
	return sdk.Serve(ctx, desk.Handler(), &sdk.Options{Logger: log, Ready: desk.Ping})
}

func configure(getenv func(string) string) (c outreach.Config, err error) {
	day, err := time.ParseDuration(cmp.Or(getenv("OUTREACH_DAY"), "24h"))
	if err != nil || day <= 0 {
		return c, fmt.Errorf("OUTREACH_DAY is %q and should be a time span such as 24h", getenv("OUTREACH_DAY"))
	}
	if c.Sequence, err = outreach.Load(os.DirFS(cmp.Or(getenv("SEQUENCE"), "sequence")), day); err != nil {
		return c, err
	}
	if c.Mailer, err = outreach.NewRelay(getenv("SMTP_URL"), patience); err != nil {
		return c, err
	}
	if c.Signer, err = outreach.NewSigner(getenv("UNSUBSCRIBE_KEY")); err != nil {
		return c, err
	}
	from, err := mail.ParseAddress(getenv("MAIL_FROM"))
	if err != nil {
		return c, fmt.Errorf("MAIL_FROM is %q and should be an address: %w", getenv("MAIL_FROM"), err)
	}
	c.From, c.Public = *from, getenv("PUBLIC_URL")
	c.Path, err = sdk.SQLitePath(getenv("DATABASE_URL"))
	return c, err
}
