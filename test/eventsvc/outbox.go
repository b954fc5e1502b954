package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"golang.org/x/sync/errgroup"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/atollhq/atoll/sdk"
)

var errUndone = errors.New("undone on purpose")

// outboxPublisher publishes by transactions of the service's own database, each of which writes rows with the ids of
// its events.
type outboxPublisher struct {
	db     *sql.DB
	outbox *sdk.Outbox
}

// publish commits ids, those of each key in a transaction of its own, all at once. What an earlier process has committed stays so.
func (p *outboxPublisher) publish(ctx context.Context, ids []string, acked func(string)) error {
	if err := p.open(ctx); err != nil {
		return err
	}
	lines := map[string][]string{}
	for _, id := range ids {
		key, _, _ := strings.Cut(id, "/")
		lines[key] = append(lines[key], id)
	}
	all, ctx := errgroup.WithContext(ctx)
	for _, line := range lines {
		all.Go(func() error {
			if isOneOfHundred(line[0]) {
				if err := p.commit(ctx, []string{"undone-" + line[0]}, errUndone); !errors.Is(err, errUndone) {
					return err
				}
			}
			if err := p.commit(ctx, line, nil); err != nil {
				return err
			}
			for _, id := range line {
				acked(id)
			}
			return nil
		})
	}
	return all.Wait()
}

// open opens the database of the service.
func (p *outboxPublisher) open(ctx context.Context) error {
	if p.db != nil {
		return nil
	}
	driver, source := "pgx", os.Getenv("DATABASE_URL")
	if path, ok := strings.CutPrefix(source, "sqlite://"); ok {
		driver = "sqlite"
		source = "file:" + path + "?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	if p.outbox, err = sdk.NewOutbox(nil); err != nil {
		return err
	}
	if err := p.outbox.Setup(ctx, db); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS orders (id VARCHAR(100) PRIMARY KEY)"); err != nil {
		return fmt.Errorf("make table: %w", err)
	}
	p.db = db
	return nil
}

// commit writes rows and their events, or nothing if there is a reason to undo it.
func (p *outboxPublisher) commit(ctx context.Context, ids []string, undo error) error {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	for _, id := range ids {
		if err := p.add(ctx, tx, id); err != nil {
			return err
		}
	}
	if undo != nil {
		return undo
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// add adds a row and its event to a transaction, if an earlier process has not committed them.
func (p *outboxPublisher) add(ctx context.Context, tx *sql.Tx, id string) error {
	done, err := tx.ExecContext(ctx, "INSERT INTO orders (id) VALUES ($1) ON CONFLICT DO NOTHING", id)
	if err != nil {
		return fmt.Errorf("insert: %w", err)
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return err
	}
	key, _, _ := strings.Cut(id, "/")
	return p.outbox.Add(ctx, tx, sdk.Event{Topic: topic, ID: id, Key: key, Data: []byte(id), DataType: "text/plain"})
}
