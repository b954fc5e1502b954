// Package outbox_test holds the SDK's outbox and inbox to real databases and to the forwarder. It stands apart from the SDK so
// that services which use that need not know of database drivers.
package outbox_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/outbox"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/sdk"
	"github.com/atollhq/atoll/test/databases"
)

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

var servers = databases.New()

func TestMain(m *testing.M) {
	code := m.Run()
	servers.Close()
	os.Exit(code)
}

func onEach(t *testing.T, test func(t *testing.T, db *databases.Database, opts *sdk.TableOptions)) {
	t.Helper()
	for _, kind := range databases.Kinds() {
		t.Run(kind, func(t *testing.T) {
			db := servers.Fresh(t, kind)
			test(t, db, &sdk.TableOptions{Getenv: func(name string) string {
				return map[string]string{"DATABASE_URL": db.URL, "ATOLL_SERVICE": "orders"}[name]
			}})
		})
	}
}

func inTx(t *testing.T, db *sql.DB, f func(*sql.Tx) error) error {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func TestTheSchemasAreThoseThatAtollReads(t *testing.T) {
	files, err := filepath.Glob("../../sdk/schema/*box_*.sql")
	if err != nil || len(files) != 6 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, name := range files {
		ours, err := os.ReadFile(name)
		theirs, err2 := os.ReadFile(filepath.Join("../../internal/bus/outbox/schema", filepath.Base(name)))
		if err := errors.Join(err, err2); err != nil || !bytes.Equal(ours, theirs) {
			t.Errorf("%s is not the same as in internal/bus/outbox: %v", name, err)
		}
	}
}

func TestADatabaseOfAnUnknownKindIsTold(t *testing.T) {
	opts := &sdk.TableOptions{Getenv: func(string) string { return "oracle://x" }}
	_, err := sdk.NewOutbox(opts)
	_, err2 := sdk.NewInbox(opts)
	if fault.CodeOf(err) != sdk.CodeNoDialect || fault.CodeOf(err2) != sdk.CodeNoDialect {
		t.Errorf("got %v, %v", err, err2)
	}
}

func TestReplicasSetUpTheSameTablesAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, db *databases.Database, opts *sdk.TableOptions) {
		t.Helper()
		out, err := sdk.NewOutbox(opts)
		in, err2 := sdk.NewInbox(opts)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		for range 4 { // more wait for one another longer than SQLite lets them, on a busy disk
			group.Go(func() {
				if err := errors.Join(out.Setup(t.Context(), db.DB), in.Setup(t.Context(), db.DB)); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	})
}

func TestWhatATransactionAddsIsPublishedIfItCommits(t *testing.T) {
	onEach(t, func(t *testing.T, db *databases.Database, opts *sdk.TableOptions) {
		t.Helper()
		box, err := sdk.NewOutbox(opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := box.Setup(t.Context(), db.DB); err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 11, 23, 1, 2, 3, 456e6, time.UTC)
		full := sdk.Event{
			Topic: "order.placed", ID: "1", Source: "/shop", Type: "com.example.placed", Subject: "s", Time: at, DataType: "image/png",
			Data: []byte{0, 255}, Key: "k", DeliverAt: at.Add(time.Hour), Extensions: map[string]string{"n": "7"},
		}
		plain, err := sdk.NewEvent("order.placed", map[string]string{"text": "a \\ \n ü"})
		if err != nil {
			t.Fatal(err)
		}
		undone := errors.New("undone")
		err = inTx(t, db.DB, func(tx *sql.Tx) error {
			return errors.Join(box.Add(t.Context(), tx, sdk.Event{Topic: "order.placed", ID: "never"}), undone)
		})
		if !errors.Is(err, undone) {
			t.Fatal(err)
		}
		ctx := sdk.WithTrace(t.Context(), trace)
		if err := inTx(t, db.DB, func(tx *sql.Tx) error { return box.Add(ctx, tx, full, plain) }); err != nil {
			t.Fatal(err)
		}
		got := forward(t, db.URL, 2)
		if e := got[0]; e.ID != "1" || e.Source != "/shop" || e.Type != "com.example.placed" || e.Subject != "s" || !e.Time.Equal(at) ||
			e.DataType != "image/png" || !bytes.Equal(e.Data, full.Data) || e.Key() != "k" || e.Extension("n") != "7" ||
			e.Extension(bus.AttributeDeliverAt) != "2026-11-23T02:02:03.456Z" || e.Extension(bus.AttributeTrace) != trace {
			t.Errorf("got %+v", e)
		}
		if e := got[1]; e.ID != plain.ID || e.Source != "/services/orders" || e.Type != "order.placed" || e.DataType != "application/json" ||
			!bytes.Equal(e.Data, plain.Data) || e.Key() != "" || e.Extension(bus.AttributeTrace) != trace {
			t.Errorf("got %+v", e)
		}
	})
}

// forward runs a forwarder until it has published some events.
func forward(t *testing.T, url string, n int) (published []*bus.Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	f, err := outbox.New(url, func(_ context.Context, events []*bus.Event) error {
		if published = append(published, events...); len(published) >= n {
			cancel()
		}
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if len(published) != n {
		t.Fatalf("%d events were published, want %d", len(published), n)
	}
	return published
}

func TestAnEventWithoutATopicIsNotAdded(t *testing.T) {
	box, err := sdk.NewOutbox(&sdk.TableOptions{Dialect: sdk.SQLite})
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Add(t.Context(), nil, sdk.Event{}); err == nil {
		t.Error("it was added")
	}
}

func TestAnEventThatComesOftenAndAtOnceHasOneEffect(t *testing.T) {
	onEach(t, func(t *testing.T, db *databases.Database, opts *sdk.TableOptions) {
		t.Helper()
		box, err := sdk.NewInbox(opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := box.Setup(t.Context(), db.DB); err != nil {
			t.Fatal(err)
		}
		mustExec(t, db.DB, "CREATE TABLE effects (event VARCHAR(100))")
		events := []sdk.Event{
			{Source: "/s", ID: "a"},
			{Source: "/s", ID: "A"},
			{Source: "/S", ID: "a"},
			{Source: "/s", ID: "a "},
			{Source: "/s", ID: "ä"},
			{Source: "/s", ID: strings.Repeat("x", 4000)},
			{Source: "/s", ID: strings.Repeat("x", 4001)},
		}
		var group sync.WaitGroup
		for i, e := range events {
			for n := range 8 {
				group.Go(func() { consume(t, db.DB, box, e, fmt.Sprint(i), n) })
			}
		}
		group.Wait()
		var got []string
		rows, err := db.DB.QueryContext(t.Context(), "SELECT event FROM effects ORDER BY event")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			got = append(got, s)
		}
		if want := []string{"0", "1", "2", "3", "4", "5", "6"}; rows.Err() != nil || !slices.Equal(got, want) {
			t.Errorf("the effects are %v, want %v (%v)", got, want, rows.Err())
		}
	})
}

// consume makes the effect of an event as a service would, and again, as the bus would, after an error. Every other first
// try is rolled back.
func consume(t *testing.T, db *sql.DB, box *sdk.Inbox, e sdk.Event, effect string, n int) {
	t.Helper()
	for try := 0; ; try++ {
		err := inTx(t, db, func(tx *sql.Tx) error {
			first, err := box.Once(t.Context(), tx, e)
			if err != nil || !first {
				return err
			}
			if _, err := tx.ExecContext(t.Context(), "INSERT INTO effects VALUES ('"+effect+"')"); err != nil {
				return err
			}
			if try == 0 && n%2 == 0 {
				return errors.New("the service fails after the effect")
			}
			return nil
		})
		if err == nil {
			return
		}
		if try > 100 {
			t.Errorf("it never succeeds: %v", err)
			return
		}
	}
}

func TestAnEventWithoutANameIsNotNoted(t *testing.T) {
	box, err := sdk.NewInbox(&sdk.TableOptions{Dialect: sdk.SQLite})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := box.Once(t.Context(), nil, sdk.Event{ID: "1"}); err == nil {
		t.Error("it was noted")
	}
}

func TestOnlyOldNotesArePurged(t *testing.T) {
	onEach(t, func(t *testing.T, db *databases.Database, opts *sdk.TableOptions) {
		t.Helper()
		box, err := sdk.NewInbox(opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := box.Setup(t.Context(), db.DB); err != nil {
			t.Fatal(err)
		}
		err = inTx(t, db.DB, func(tx *sql.Tx) error {
			for i := range 2100 {
				if _, err := tx.ExecContext(t.Context(), fmt.Sprintf("INSERT INTO atoll_inbox VALUES ('/s', 'old-%d', '2026-01-01 00:00:00')", i)); err != nil {
					return err
				}
			}
			_, err := box.Once(t.Context(), tx, sdk.Event{Source: "/s", ID: "new"})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := box.Purge(t.Context(), db.DB, time.Hour); err != nil || n != 2100 {
			t.Errorf("removed %d, %v", n, err)
		}
		var left int
		if err := db.DB.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM atoll_inbox").Scan(&left); err != nil || left != 1 {
			t.Errorf("%d are left, %v", left, err)
		}
	})
}

func mustExec(t *testing.T, db *sql.DB, text string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), text); err != nil {
		t.Fatal(err)
	}
}
