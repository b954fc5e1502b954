package pgsaga_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/pgsaga"
	"github.com/atollhq/atoll/test/databases"
)

// waiting tells, again and again until it is so, whether so many sessions wait for locks.
func waiting(t *testing.T, db *sql.DB, want int, over <-chan struct{}) bool {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var n int
		err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()").Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		if n == want {
			return true
		}
		select {
		case <-over:
			return false
		case <-t.Context().Done():
			t.Fatal("it takes too long")
		case <-tick.C:
		}
	}
}

func instance(shard int) *saga.Change {
	return &saga.Change{
		Row:    &saga.Row{ID: "1", Saga: "order", Phase: saga.Running, Shard: shard, Started: time.Now(), Rev: 1, State: []byte("{}")},
		Create: &saga.Origin{},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A commit that has found its shard to be its own is held up until another engine wants the shard.
func TestWhoTakesAShardOverWaitsForTheCommitUnderWay(t *testing.T) {
	db := servers.Fresh(t, databases.Postgres)
	a, b := open(t, db, &pgsaga.Options{Lease: time.Hour}), open(t, db, &pgsaga.Options{Lease: time.Hour})
	defer func() { _ = a.Close() }()
	defer func() { _ = b.Close() }()
	claimed, err := a.Claim(t.Context())
	must(t, err)
	c := instance(claimed.Owned[0])
	_, err = a.Commit(t.Context(), []*saga.Change{c})
	must(t, err)

	held, err := db.DB.BeginTx(t.Context(), nil)
	must(t, err)
	_, err = held.ExecContext(t.Context(), "SELECT FROM atoll_sagas.instances FOR UPDATE")
	must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		row := *c.Row
		row.Rev = 2
		if _, err := a.Commit(context.WithoutCancel(t.Context()), []*saga.Change{{Row: &row}}); err != nil {
			t.Errorf("the commit that was under way: %v", err)
		}
	})
	waiting(t, db.DB, 1, nil)
	_, err = db.DB.ExecContext(t.Context(), "UPDATE atoll_sagas.shards SET until = clock_timestamp(); UPDATE atoll_sagas.engines SET seen = clock_timestamp() - interval '2 hours'")
	must(t, err)
	over := make(chan struct{})
	wg.Go(func() {
		defer close(over)
		if c, err := b.Claim(context.WithoutCancel(t.Context())); err != nil || len(c.Owned) != pgsaga.Shards {
			t.Errorf("taken over %d: %v", len(c.Owned), err)
		}
	})
	if !waiting(t, db.DB, 2, over) {
		t.Error("the shard was taken over while a commit was under way")
	}
	must(t, held.Rollback())
	wg.Wait()
	if r, err := b.Row(t.Context(), "1"); err != nil || r.Rev != 2 {
		t.Errorf("the row is %+v: %v", r, err)
	}
}

func TestEnginesThatStartTogetherMakeTheTablesOnce(t *testing.T) {
	db := servers.Fresh(t, databases.Postgres)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			s, err := pgsaga.Open(t.Context(), db.URL, &pgsaga.Options{Schema: "others"})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var n int
	must(t, db.DB.QueryRowContext(t.Context(), "SELECT count(*) FROM others.migrations").Scan(&n))
	if n != 1 {
		t.Errorf("%d migrations", n)
	}
}

func TestACommitWhoseConnectionIsCutIsAnErrorAndTheStoreGoesOn(t *testing.T) {
	db := servers.Fresh(t, databases.Postgres)
	a := open(t, db, &pgsaga.Options{Lease: time.Hour})
	defer func() { _ = a.Close() }()
	claimed, err := a.Claim(t.Context())
	must(t, err)
	_, err = a.Commit(t.Context(), []*saga.Change{instance(claimed.Owned[0])})
	must(t, err)
	held, err := db.DB.BeginTx(t.Context(), nil)
	must(t, err)
	_, err = held.ExecContext(t.Context(), "SELECT FROM atoll_sagas.instances FOR UPDATE")
	must(t, err)
	row := *instance(claimed.Owned[0]).Row
	row.Rev = 2
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := a.Commit(context.WithoutCancel(t.Context()), []*saga.Change{{Row: &row}})
		if err == nil || errors.Is(err, saga.ErrFenced) || errors.Is(err, saga.ErrBroken) {
			t.Errorf("the commit that was cut: %v", err)
		}
	})
	waiting(t, db.DB, 1, nil)
	_, err = db.DB.ExecContext(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
	must(t, err)
	wg.Wait()
	must(t, held.Rollback())
	must(t, a.Reset(t.Context()))
	_, err = a.Commit(t.Context(), []*saga.Change{{Row: &row}})
	must(t, err)
}

func TestASchemaOfAnotherNameMustBeAName(t *testing.T) {
	for _, name := range []string{"a b", `x"y`, "A", "1", "a;drop"} {
		if s, err := pgsaga.Open(t.Context(), "postgres://127.0.0.1:1/x", &pgsaga.Options{Schema: name}); err == nil {
			_ = s.Close()
			t.Errorf("%q is taken", name)
		}
	}
}

// The lease is an hour, so what the second engine gets it gets because the first one's connection is gone.
func TestAnEngineThatHasGoneIsNotWaitedFor(t *testing.T) {
	db := servers.Fresh(t, databases.Postgres)
	a, b := open(t, db, &pgsaga.Options{Lease: time.Hour}), open(t, db, &pgsaga.Options{Lease: time.Hour})
	defer func() { _ = a.Close() }()
	defer func() { _ = b.Close() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for { // until others know of its lifeline
		c, err := a.Claim(t.Context())
		must(t, err)
		if len(c.Owned) != pgsaga.Shards {
			t.Fatalf("alone it owns %d shards", len(c.Owned))
		}
		if c.Again > time.Second {
			break
		}
		<-tick.C
	}
	c, err := b.Claim(t.Context())
	must(t, err)
	if len(c.Owned) != 0 {
		t.Fatalf("%d shards went over from an engine that stands", len(c.Owned))
	}
	for tries := 0; len(c.Owned) == 0; tries++ { // an engine that is cut off comes back at once, and stands again: until it is seen without
		if tries == 1000 {
			t.Fatal("an engine that was cut off 1,000 times was waited for")
		}
		if _, err := db.DB.ExecContext(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"); err != nil {
			t.Fatal(err)
		}
		c, err = b.Claim(t.Context())
		must(t, err)
		<-tick.C
	}
	if _, err := a.Commit(t.Context(), []*saga.Change{instance(c.Owned[0])}); !errors.Is(err, saga.ErrFenced) {
		t.Errorf("a commit of the engine that was taken for gone: %v", err)
	}
}
