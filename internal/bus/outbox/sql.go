package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// sqlTable is what MySQL and SQLite have in common: one connection of database/sql.
type sqlTable struct {
	db    *sql.DB
	conn  *sql.Conn
	query string
	count string // asks how many of the two tables there are
	drop  func(ctx context.Context, tx *sql.Tx, ids []int64) error

	isolation sql.IsolationLevel // of the transactions that delete
}

func openTable(ctx context.Context, db *sql.DB) (sqlTable, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return sqlTable{}, errors.Join(err, db.Close())
	}
	return sqlTable{db: db, conn: conn}, nil
}

func (t *sqlTable) exists(ctx context.Context) (bool, error) {
	var n int
	if err := t.conn.QueryRowContext(ctx, t.count).Scan(&n); err != nil {
		return false, fmt.Errorf("look for tables: %w", err)
	}
	return n == 2, nil
}

func (t *sqlTable) read(ctx context.Context) (rows []row, err error) {
	found, err := t.conn.QueryContext(ctx, t.query)
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	for found.Next() {
		var r row
		if err := found.Scan(r.fields()...); err != nil {
			return nil, fmt.Errorf("read rows: %w", err)
		}
		rows = append(rows, r)
	}
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	return rows, nil
}

func (t *sqlTable) settle(ctx context.Context, published []int64, refused []refused) error {
	tx, err := t.conn.BeginTx(ctx, &sql.TxOptions{Isolation: t.isolation})
	if err != nil {
		return fmt.Errorf("begin to delete rows: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	for _, r := range refused {
		_, err := tx.ExecContext(ctx, "INSERT INTO atoll_outbox_refused ("+copied+", code, reason) SELECT "+copied+
			", ?, ? FROM atoll_outbox WHERE id = ?", string(r.fault.Code), r.fault.Text, r.row.id)
		if err != nil {
			return fmt.Errorf("move a refused row: %w", err)
		}
		published = append(published, r.row.id)
	}
	if err := t.drop(ctx, tx, published); err != nil {
		return fmt.Errorf("delete rows: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("delete rows: %w", err)
	}
	return nil
}

func (t *sqlTable) close() {
	_ = t.conn.Close() // either may be broken, and then is closed already
	_ = t.db.Close()
}
