package pgsaga_test

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/pgsaga"
	"github.com/atollhq/atoll/internal/saga/sagatest"
	"github.com/atollhq/atoll/test/databases"
)

var servers = databases.New()

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		servers.Close()
		os.Exit(code)
	}))
}

func open(tb testing.TB, db *databases.Database, opts *pgsaga.Options) *pgsaga.Store {
	tb.Helper()
	s, err := pgsaga.Open(tb.Context(), db.URL, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	sagatest.Run(t, func(t *testing.T) *sagatest.World {
		t.Helper()
		db := servers.Fresh(t, databases.Postgres)
		return &sagatest.World{
			Keeps: true,
			Open:  func(t *testing.T) saga.Store { t.Helper(); return open(t, db, &pgsaga.Options{Lease: time.Hour}) },
			Expire: func(t *testing.T) {
				t.Helper()
				if _, err := db.DB.ExecContext(t.Context(), "UPDATE atoll_sagas.shards SET until = clock_timestamp(); UPDATE atoll_sagas.engines SET seen = clock_timestamp() - interval '2 hours'"); err != nil {
					t.Error(err)
				}
			},
		}
	})
}
