package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite"

	"github.com/atollhq/atoll/internal/fault"
)

// sqliteTable reads a file. SQLite has no lock to take by name, so it is a lock on an empty file beside.
type sqliteTable struct {
	sqlTable
	path    string
	opened  fs.FileInfo
	beside  *sql.DB
	version int64 // of the data at the last read
}

var _ table = (*sqliteTable)(nil)

func sqliteDialer(databaseURL string) (func(context.Context) (table, error), error) {
	u, err := url.Parse(databaseURL)
	if err != nil || u.Host != "" || !filepath.IsAbs(u.Path) {
		return nil, fault.New(fault.CodeOutboxURL, "the database's address names no SQLite file").
			Fix("write it as sqlite:///absolute/path.db").Because(err)
	}
	return func(ctx context.Context) (table, error) { return openSQLite(ctx, u.Path) }, nil
}

func openSQLite(ctx context.Context, path string) (table, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, errors.Join(errNoTables, err) // the service makes the file
	}
	// The wait for others' locks is short, since an end of the context does not interrupt it.
	db, err := sql.Open("sqlite", fileURL(path)+"?mode=rw&_txlock=immediate&_pragma=busy_timeout(500)")
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	inner, err := openTable(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	inner.query = query(func(column string) string { return "CAST(" + column + " AS TEXT)" })
	inner.count = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name IN ('atoll_outbox', 'atoll_outbox_refused')"
	inner.drop = dropByList
	return &sqliteTable{sqlTable: inner, path: path, opened: info}, nil
}

func fileURL(path string) string {
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}).String()
}

// lock takes an exclusive lock on a file beside the database, which ends with the process if not before.
func (t *sqliteTable) lock(ctx context.Context) (bool, error) {
	if t.beside == nil {
		beside, err := sql.Open("sqlite", fileURL(t.path+"-outbox-lock"))
		if err != nil {
			return false, fmt.Errorf("lock: %w", err)
		}
		beside.SetMaxOpenConns(1)
		t.beside = beside
	}
	_, err := t.beside.ExecContext(ctx, "BEGIN EXCLUSIVE")
	if busy(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock: %w", err)
	}
	return true, t.relax(ctx)
}

// relax lets deletes go without a sync where that endangers nothing but themselves: with a write-ahead log.
func (t *sqliteTable) relax(ctx context.Context) error {
	var mode string
	if err := t.conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return fmt.Errorf("ask for the journal's mode: %w", err)
	}
	if mode != "wal" {
		return nil
	}
	if _, err := t.conn.ExecContext(ctx, "PRAGMA synchronous = NORMAL"); err != nil {
		return fmt.Errorf("set how to sync: %w", err)
	}
	return nil
}

func (t *sqliteTable) read(ctx context.Context) ([]row, error) {
	for {
		rows, err := t.tryRead(ctx)
		if !busy(err) || !pause(ctx, pollSQLite) {
			return rows, err
		}
	}
}

func (t *sqliteTable) tryRead(ctx context.Context) ([]row, error) {
	version, err := t.dataVersion(ctx)
	if err != nil {
		return nil, err
	}
	t.version = version
	return t.sqlTable.read(ctx)
}

func (t *sqliteTable) settle(ctx context.Context, published []int64, refused []refused) error {
	err := t.sqlTable.settle(ctx, published, refused)
	if busy(err) {
		return errors.Join(errBusy, err)
	}
	return err
}

func dropByList(ctx context.Context, tx *sql.Tx, ids []int64) error {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = strconv.FormatInt(id, 10)
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM atoll_outbox WHERE id IN ("+strings.Join(list, ",")+")")
	return err
}

const pollSQLite = 10 * time.Millisecond

// wait looks at a counter in memory that changes with each commit of another connection, and whether the file is still
// the one that was opened: every 10 ms, and every 20 ms when nothing was found for a second. Once in a while it lets the
// table be read without that.
func (t *sqliteTable) wait(ctx context.Context, quiet int) error {
	ticker := time.NewTicker(pollSQLite * time.Duration(min(quiet, 2)))
	defer ticker.Stop()
	for range 100 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		if err := t.sameFile(); err != nil {
			return err
		}
		version, err := t.dataVersion(ctx)
		if err != nil && !busy(err) {
			return err
		}
		if err == nil && version != t.version {
			return nil
		}
	}
	return nil
}

// sameFile tells whether the file is still where it was. It may have been put away, and another made in its place.
func (t *sqliteTable) sameFile() error {
	now, err := os.Stat(t.path)
	if err != nil {
		return errors.Join(errNoTables, err)
	}
	if !os.SameFile(now, t.opened) {
		return errNoTables
	}
	return nil
}

func (t *sqliteTable) exists(ctx context.Context) (bool, error) {
	if err := t.sameFile(); err != nil {
		return false, err
	}
	yes, err := t.sqlTable.exists(ctx)
	if busy(err) {
		return false, nil
	}
	return yes, err
}

// dataVersion is https://www.sqlite.org/pragma.html#pragma_data_version of the one connection.
func (t *sqliteTable) dataVersion(ctx context.Context) (version int64, err error) {
	if err := t.conn.QueryRowContext(ctx, "PRAGMA data_version").Scan(&version); err != nil {
		return 0, fmt.Errorf("ask for the version of the data: %w", err)
	}
	return version, nil
}

// busy tells whether an error is that of a lock which others hold.
func busy(err error) bool {
	const sqliteBusy, primary = 5, 0xff // https://www.sqlite.org/rescode.html
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&primary == sqliteBusy
}

func (t *sqliteTable) close() {
	t.sqlTable.close()
	if t.beside != nil {
		_ = t.beside.Close() // nothing was written
	}
}
