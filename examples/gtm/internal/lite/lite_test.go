package lite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"example.com/gtm/internal/lite"
)

var schema = []string{"CREATE TABLE t (n INTEGER PRIMARY KEY)"}

func open(t *testing.T, path string) *lite.DB {
	t.Helper()
	db, err := lite.Open(t.Context(), path, schema, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func insert(n int) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO t VALUES (?)", n)
		return err
	}
}

func count(t *testing.T, db *lite.DB) (n int) {
	t.Helper()
	if err := db.Read().QueryRowContext(t.Context(), "SELECT count(*) FROM t").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOneThatFailsDoesNotTakeItsNeighboursWithIt(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "a b?c.db"))
	failed := errors.New("no")
	var wg sync.WaitGroup
	for n := range 200 {
		wg.Go(func() {
			err := db.Write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				if err := insert(n)(ctx, tx); err != nil || n%2 == 0 {
					return errors.Join(err, failed)
				}
				return nil
			})
			if (n%2 == 0) != errors.Is(err, failed) {
				t.Errorf("%d: %v", n, err)
			}
		})
	}
	wg.Wait()
	if n := count(t, db); n != 100 {
		t.Errorf("%d rows, want 100", n)
	}
}

func TestWhatWasWrittenIsThereAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.db")
	db, err := lite.Open(t.Context(), path, schema, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), insert(1)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), insert(2)); !errors.Is(err, lite.ErrClosed) {
		t.Errorf("a write after Close: %v", err)
	}
	if n := count(t, open(t, path)); n != 1 {
		t.Errorf("%d rows", n)
	}
}

func TestACallerThatIsGoneWritesNothing(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "t.db"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Write(ctx, insert(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := db.Write(t.Context(), insert(2)); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db); n != 1 {
		t.Errorf("%d rows, want the second only", n)
	}
}

func TestAFileOfANewerProgramIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.db")
	db, err := lite.Open(t.Context(), path, append(schema, "CREATE TABLE u (n)"), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	if db, err := lite.Open(t.Context(), path, schema, nil); err == nil {
		_ = db.Close()
		t.Error("an older program opened it")
	}
}

func TestTwoProcessesShareAFileWithoutErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.db")
	dbs := []*lite.DB{open(t, path), open(t, path)}
	var wg sync.WaitGroup
	for n := range 100 {
		wg.Go(func() {
			if err := dbs[n%2].Write(t.Context(), insert(n)); err != nil {
				t.Error(fmt.Errorf("%d: %w", n, err))
			}
		})
	}
	wg.Wait()
	if n := count(t, dbs[0]); n != 100 {
		t.Errorf("%d rows", n)
	}
}
