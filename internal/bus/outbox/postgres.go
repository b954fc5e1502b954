package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/atollhq/atoll/internal/fault"
)

// pgTable works over one connection, which holds the lock too: when it has lost that, it can delete nothing more.
type pgTable struct {
	conn  *pgx.Conn
	query string

	// Transactions that notify commit one after the other, which is slow when there are many. Then, when one read after the
	// other finds rows, this session holds a lock that tells them not to.
	awakeKey int64
	awake    bool
	found    bool          // the last read found rows
	patience time.Duration // how long to wait for a notification
}

var _ table = (*pgTable)(nil)

func postgresDialer(databaseURL string) (func(context.Context) (table, error), error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, fault.New(fault.CodeOutboxURL, "the database's address is none of PostgreSQL").
			Fix("write it as postgres://user:password@host:5432/name").Because(err)
	}
	config.RuntimeParams["application_name"] = "atoll outbox"
	config.RuntimeParams["timezone"] = "UTC"
	config.RuntimeParams["datestyle"] = "ISO"
	// A delete that the server forgets in a crash leads to a duplicate, which a crash may always do; waiting for the disk
	// here would cost each batch a sync.
	config.RuntimeParams["synchronous_commit"] = "off"
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 10 * time.Second
	}
	q := query(func(column string) string { return column + "::text" })
	return func(ctx context.Context) (table, error) {
		conn, err := pgx.ConnectConfig(ctx, config.Copy())
		if err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		if _, err := conn.Exec(ctx, "LISTEN atoll_outbox"); err != nil {
			return nil, fmt.Errorf("listen: %w", errors.Join(err, conn.Close(ctx)))
		}
		return &pgTable{conn: conn, query: q, patience: longPatience}, nil
	}, nil
}

const (
	shortPatience = 5 * time.Millisecond // for those that committed while they were told not to notify
	longPatience  = time.Second          // for a table without its trigger
)

func (t *pgTable) lock(ctx context.Context) (yes bool, err error) {
	err = t.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtextextended('atoll_outbox.' || current_schema(), 0))").Scan(&yes)
	if err != nil {
		return false, fmt.Errorf("lock: %w", err)
	}
	return yes, nil
}

func (t *pgTable) exists(ctx context.Context) (yes bool, err error) {
	// The key is the one that the trigger has.
	const text = `SELECT to_regclass('atoll_outbox') IS NOT NULL AND to_regclass('atoll_outbox_refused') IS NOT NULL,
		(1635020652::bigint << 32) | coalesce(to_regclass('atoll_outbox')::oid::bigint, 0)`
	if err := t.conn.QueryRow(ctx, text).Scan(&yes, &t.awakeKey); err != nil {
		return false, fmt.Errorf("look for tables: %w", err)
	}
	return yes, nil
}

func (t *pgTable) read(ctx context.Context) ([]row, error) {
	found, err := t.conn.Query(ctx, t.query)
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	rows, err := pgx.CollectRows(found, func(found pgx.CollectableRow) (r row, err error) {
		return r, found.Scan(r.fields()...)
	})
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	if t.found && len(rows) > 0 && !t.awake {
		if err := t.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", t.awakeKey).Scan(&t.awake); err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
	}
	t.found = len(rows) > 0
	return rows, nil
}

func (t *pgTable) settle(ctx context.Context, published []int64, refused []refused) error {
	err := pgx.BeginFunc(ctx, t.conn, func(tx pgx.Tx) error {
		for _, r := range refused {
			_, err := tx.Exec(ctx, "INSERT INTO atoll_outbox_refused ("+copied+", code, reason) SELECT "+copied+
				", $2, $3 FROM atoll_outbox WHERE id = $1", r.row.id, string(r.fault.Code), r.fault.Text)
			if err != nil {
				return err
			}
			published = append(published, r.row.id)
		}
		_, err := tx.Exec(ctx, "DELETE FROM atoll_outbox WHERE id = ANY($1)", published)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete rows: %w", err)
	}
	return nil
}

// wait waits for a notification. One that came since LISTEN and was not waited for is returned at once. After a time in
// which nobody notified, the table is read again soon, and then less and less soon.
func (t *pgTable) wait(ctx context.Context, _ int) error {
	if t.awake {
		t.awake, t.patience = false, shortPatience
		if _, err := t.conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", t.awakeKey); err != nil {
			return fmt.Errorf("unlock: %w", err)
		}
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, t.patience)
	defer cancel()
	t.patience = min(4*t.patience, longPatience)
	_, err := t.conn.WaitForNotification(limited)
	if err == nil || pgconn.Timeout(err) && ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("wait for rows: %w", err)
}

func (t *pgTable) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = t.conn.Close(ctx) // it may be broken, and then is closed already
}
