package outbox_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/sdk"
	"github.com/atollhq/atoll/test/databases"
)

// The code of docs/howto/outbox-and-inbox.md.

type Order struct {
	ID     string `json:"id"`
	Amount int    `json:"amount"`
}

// openDatabase opens the service's SQLite file, which the service does once.
func openDatabase() (*sql.DB, error) {
	dsn, err := sdk.SQLiteDSN(os.Getenv("DATABASE_URL"))
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn) // the driver: import _ "modernc.org/sqlite"
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // SQLite has one writer at a time: the others queue here, in turn
	return db, nil
}

// placeOrder keeps an order and publishes order.placed: both, or neither.
func placeOrder(ctx context.Context, db *sql.DB, outbox *sdk.Outbox, order Order) error {
	placed, err := sdk.NewEvent("order.placed", order)
	if err != nil {
		return err
	}
	placed.Key = order.ID // events of one order stay in order
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	_, err = tx.ExecContext(ctx, "INSERT INTO orders (id, amount) VALUES ($1, $2)", order.ID, order.Amount)
	if err != nil {
		return err
	}
	if err := outbox.Add(ctx, tx, placed); err != nil {
		return err
	}
	return tx.Commit()
}

// writeInvoice makes one invoice of an order.placed, however often that is delivered.
func writeInvoice(db *sql.DB, inbox *sdk.Inbox) http.Handler {
	return sdk.OnEvent(func(ctx context.Context, e sdk.Event) error {
		var order Order
		if err := e.Decode(&order); err != nil {
			return sdk.Reject(err) // it would be no better the next time
		}
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		first, err := inbox.Once(ctx, tx, e)
		if err != nil || !first {
			return err // nil: its invoice is written already
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO invoices (order_id, amount) VALUES ($1, $2)", order.ID, order.Amount)
		if err != nil {
			return err
		}
		return tx.Commit()
	})
}

func TestTheOrdersOfTheHowToEachHaveOneInvoice(t *testing.T) {
	for _, kind := range []string{databases.Postgres, databases.SQLite} {
		t.Run(kind, func(t *testing.T) {
			db := servers.Fresh(t, kind)
			opts := &sdk.TableOptions{Getenv: func(string) string { return db.URL }}
			outbox, err := sdk.NewOutbox(opts)
			inbox, err2 := sdk.NewInbox(opts)
			if err := errors.Join(err, err2); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(outbox.Setup(t.Context(), db.DB), inbox.Setup(t.Context(), db.DB)); err != nil {
				t.Fatal(err)
			}
			mustExec(t, db.DB, "CREATE TABLE orders (id VARCHAR(100) PRIMARY KEY, amount INT)")
			mustExec(t, db.DB, "CREATE TABLE invoices (order_id VARCHAR(100), amount INT)")
			for _, id := range []string{"o-1", "o-2", "o-1"} { // the third is refused by its key, and so is its event
				err := placeOrder(t.Context(), db.DB, outbox, Order{ID: id, Amount: 7})
				if (err != nil) != (id == "o-1" && count(t, db.DB, "orders") == 2) {
					t.Fatal(err)
				}
			}
			billing := writeInvoice(db.DB, inbox)
			for _, e := range forward(t, db.URL, 2) {
				for range 3 {
					if status := deliverTo(billing, e); status != http.StatusNoContent {
						t.Errorf("got %d", status)
					}
				}
			}
			if n := count(t, db.DB, "invoices"); n != 2 {
				t.Errorf("there are %d invoices", n)
			}
		})
	}
}

func TestOrdersThatComeAtOnceFindTheDatabaseOfTheHowToUnlocked(t *testing.T) {
	t.Setenv("DATABASE_URL", servers.Fresh(t, databases.SQLite).URL)
	db, err := openDatabase()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	outbox, err := sdk.NewOutbox(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := outbox.Setup(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	mustExec(t, db, "CREATE TABLE orders (id VARCHAR(100) PRIMARY KEY, amount INT)")
	other, err := openDatabase() // another replica
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	var orders sync.WaitGroup
	for i := range 40 {
		orders.Go(func() {
			on := []*sql.DB{db, other}[i%2]
			if err := placeOrder(t.Context(), on, outbox, Order{ID: fmt.Sprint("o-", i)}); err != nil {
				t.Errorf("order %d: %v", i, err)
			}
		})
	}
	orders.Wait()
	if n := len(forward(t, os.Getenv("DATABASE_URL"), 40)); n != 40 || count(t, db, "orders") != 40 {
		t.Errorf("%d orders, %d events", count(t, db, "orders"), n)
	}
}

func TestAFileOfAnyNameIsOpenedWithTheWriteAheadLog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a b?c#d%41&e.db")
	t.Setenv("DATABASE_URL", (&url.URL{Scheme: "sqlite", Path: file}).String())
	db, err := openDatabase()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	mustExec(t, db, "CREATE TABLE t (n INT)")
	var mode string
	var wait int
	err = db.QueryRowContext(t.Context(), "SELECT journal_mode, timeout FROM pragma_journal_mode, pragma_busy_timeout").Scan(&mode, &wait)
	if err != nil || mode != "wal" || wait != 5000 {
		t.Errorf("journal_mode %s, busy_timeout %d, %v", mode, wait, err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// deliverTo delivers an event in binary mode and returns the answer's status.
func deliverTo(h http.Handler, e *bus.Event) int {
	r := httptest.NewRequest(http.MethodPost, "/events/order-placed", bytes.NewReader(e.Data))
	r.Header.Set("Ce-Specversion", "1.0")
	r.Header.Set("Ce-Id", e.ID)
	r.Header.Set("Ce-Source", e.Source)
	r.Header.Set("Ce-Type", e.Type)
	r.Header.Set("Content-Type", e.DataType)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

func count(t *testing.T, db *sql.DB, table string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), fmt.Sprintf("SELECT COUNT(*) FROM %s", table)).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
