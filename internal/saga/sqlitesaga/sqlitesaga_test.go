package sqlitesaga_test

import (
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/sagatest"
	"github.com/atollhq/atoll/internal/saga/sqlitesaga"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, path string) *sqlitesaga.Store {
	t.Helper()
	s, err := sqlitesaga.Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	sagatest.Run(t, func(t *testing.T) *sagatest.World {
		t.Helper()
		path := filepath.Join(t.TempDir(), "sagas.db")
		return &sagatest.World{Keeps: true, Open: func(t *testing.T) saga.Store { t.Helper(); return open(t, path) }}
	})
}
