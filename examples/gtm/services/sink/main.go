// Command sink is a mail server for development.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"

	"example.com/gtm/services/sink/internal/smtpd"
	"github.com/atollhq/atoll/sdk"
)

func main() { sdk.Main(run) }

func run(ctx context.Context, log *slog.Logger) error {
	mailbox, err := sdk.Client("mailbox", nil)
	if err != nil {
		return err
	}
	defer mailbox.Close()
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return smtpd.New(smtpd.Mailbox(mailbox), log, nil).Serve(ctx, ln)
}
