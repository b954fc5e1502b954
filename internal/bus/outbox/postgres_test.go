package outbox_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/atollhq/atoll/test/databases"
)

// listen returns a connection that gets the notifications of the outbox.
func listen(t *testing.T, db *database) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), "LISTEN atoll_outbox"); err != nil {
		t.Fatal(err)
	}
	return conn
}

func nextNotification(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	n, err := conn.WaitForNotification(ctx)
	if err != nil {
		t.Fatalf("nobody was notified: %v", err)
	}
	return n.Payload
}

func TestOnlyAForwarderThatSleepsIsNotified(t *testing.T) {
	db := fresh(t, databases.Postgres)
	conn := listen(t, db)
	if err := db.insert(t.Context(), db.DB, "1", "k"); err != nil {
		t.Fatal(err)
	}
	if got := nextNotification(t, conn); got != "" {
		t.Errorf("the row notified %q", got)
	}
	const awake = "(1635020652::bigint << 32) | 'atoll_outbox'::regclass::oid::bigint"
	if _, err := conn.Exec(t.Context(), "SELECT pg_advisory_lock("+awake+")"); err != nil {
		t.Fatal(err)
	}
	if err := db.insert(t.Context(), db.DB, "2", "k"); err != nil {
		t.Fatal(err)
	}
	db.exec(t, db.DB, "NOTIFY atoll_outbox, 'after the second row'")
	if got := nextNotification(t, conn); got != "after the second row" {
		t.Errorf("the second row notified %q though the forwarder is awake", got)
	}
}

func TestAForwarderGoesToSleepAfterABurst(t *testing.T) {
	db := fresh(t, databases.Postgres)
	l := newLedger()
	db.start(t, l.publish, nil)
	tx, err := db.DB.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5000 { // five batches, so that it is awake by the second
		if err := db.insert(t.Context(), tx, fmt.Sprint(i), "k"); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	l.await(t, "the burst", atLeast(5000))
	for i := range 3 { // it wakes and sleeps again
		deadline, stop := context.WithTimeout(t.Context(), 20*time.Second)
		for db.advisoryLocks(deadline, t) != 1 { // that of the one who works
			if deadline.Err() != nil {
				t.Fatal("it stays awake")
			}
		}
		stop()
		if err := db.insert(t.Context(), db.DB, fmt.Sprint("after", i), "k"); err != nil {
			t.Fatal(err)
		}
		l.await(t, "one more", atLeast(5001+i))
	}
}

func (db *database) advisoryLocks(ctx context.Context, t *testing.T) (n int) {
	t.Helper()
	err := db.DB.QueryRowContext(ctx, `SELECT count(*) FROM pg_locks
		WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
