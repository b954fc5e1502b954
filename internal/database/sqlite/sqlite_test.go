package sqlite_test

import (
	"database/sql"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // the driver by which the test opens what is provisioned

	"github.com/atollhq/atoll/internal/database"
	"github.com/atollhq/atoll/internal/database/databasetest"
	"github.com/atollhq/atoll/internal/database/sqlite"
)

func TestConformance(t *testing.T) {
	dir := t.TempDir()
	databasetest.Suite{
		New: func(*testing.T) database.Provisioner { return sqlite.New(dir) },
		Write: func(t *testing.T, url, text string) error {
			t.Helper()
			return query(t, url, func(db *sql.DB) error {
				_, err := db.ExecContext(t.Context(), "CREATE TABLE IF NOT EXISTS t (x TEXT); INSERT INTO t VALUES (?)", text)
				return err
			})
		},
		Read: func(t *testing.T, url string) (text string, err error) {
			t.Helper()
			err = query(t, url, func(db *sql.DB) error {
				return db.QueryRowContext(t.Context(), "SELECT x FROM t").Scan(&text)
			})
			return text, err
		},
	}.Run(t)
}

func query(t *testing.T, url string, f func(*sql.DB) error) error {
	t.Helper()
	db, err := sql.Open("sqlite", strings.TrimPrefix(url, "sqlite://"))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return f(db)
}
