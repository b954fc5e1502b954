package platform

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/atollhq/atoll/internal/bus/contract"
	"github.com/atollhq/atoll/internal/bus/outbox"
	"github.com/atollhq/atoll/internal/database/postgres"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/replica/process"
)

// What commands do with the state folder of an application that does not run.

// CleanUp ends what a run that was killed has left. It does nothing to one that runs.
func CleanUp(ctx context.Context, dir string) (ended int, err error) {
	if _, err := os.Stat(dir); err != nil {
		return 0, nil //nolint:nilerr // without a state folder nothing was left
	}
	s, err := takeState(dir)
	if err != nil {
		return 0, err
	}
	ended, err = process.CleanLeftovers(ctx, dir, slog.New(slog.DiscardHandler))
	if releaseErr := s.release(); err == nil {
		err = releaseErr
	}
	return ended, err
}

// AwaitEnd returns when the application whose state folder is dir has ended, or with ctx's error.
func AwaitEnd(ctx context.Context, dir string) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("open lock: %w", err)
		}
		err = lockFile(file)
		file.Close() // gives the lock up too
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// Remove removes what the application whose state folder is dir has kept: logs and databases. It must have ended.
// The state of isolated copies is their own and stays.
func Remove(dir string) error {
	s, err := takeState(dir)
	if err != nil {
		return err
	}
	if err := postgres.Remove(filepath.Join(dir, "postgres")); err != nil {
		return errors.Join(err, s.release())
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Name() != "copies" {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err := errors.Join(err, s.release()); err != nil {
		return fmt.Errorf("remove state: %w", err)
	}
	_ = os.Remove(dir) // it stays where it holds copies
	return nil
}

// OwnLog tells whether a name that is no service's has log records: those of Atoll's own parts.
func OwnLog(name string) bool { return name == gatewayName || name == postgresServer }

// FindPostgres tells, for people, where the databases of PostgreSQL would be.
func FindPostgres(app *manifest.App) (string, error) {
	switch {
	case app.Postgres != "":
		return "on the server that atoll.yaml names", nil
	case app.Env["ATOLL_POSTGRES"] != "":
		return "on the server that ATOLL_POSTGRES names", nil
	}
	bin, err := postgres.Find()
	if err != nil {
		return "", err
	}
	return "on a private server, from " + bin, nil
}

// Capability is what this machine can do for services. Fix is empty where nothing is missing.
type Capability struct{ Name, Text, Fix string }

// OutboxSchema is the SQL that makes the tables of an outbox and an inbox in a database of some kind; "" for one that is
// not of OutboxDialects.
func OutboxSchema(dialect string) string { return outbox.Schema(outbox.Dialect(dialect)) }

// OutboxDialects lists the kinds of databases that there is such SQL for.
func OutboxDialects() []string {
	var out []string
	for _, d := range outbox.Dialects() {
		out = append(out, string(d))
	}
	return out
}

// AsyncAPI describes the events of an application, as YAML.
func AsyncAPI(app *manifest.App) ([]byte, error) { return contract.AsyncAPI(app) }
