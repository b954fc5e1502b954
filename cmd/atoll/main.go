// Command atoll builds, runs, connects and watches an application made of small services.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/atollhq/atoll/internal/cli"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends Atoll at once; its guard ends what is left
	code := cli.Run(ctx, cli.OS(version), os.Args[1:])
	stop()
	os.Exit(code)
}
