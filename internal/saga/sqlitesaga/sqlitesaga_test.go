package sqlitesaga_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/sagatest"
	"github.com/atollhq/atoll/internal/saga/sqlitesaga"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(tb testing.TB, path string) *sqlitesaga.Store {
	tb.Helper()
	s, err := sqlitesaga.Open(tb.Context(), path, nil)
	if err != nil {
		tb.Fatal(err)
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

func instance(id string) *saga.Change {
	return &saga.Change{
		Row:    &saga.Row{ID: id, Saga: "order", Phase: saga.Running, Started: time.Unix(1, 0), Rev: 1, State: bytes.Repeat([]byte("s"), 3000)},
		Create: &saga.Origin{},
	}
}

func TestASecondEngineIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sagas.db")
	s := open(t, path)
	if second, err := sqlitesaga.Open(t.Context(), path, nil); err == nil {
		_ = second.Close()
		t.Error("two engines have the file")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, path).Close(); err != nil {
		t.Error(err)
	}
}

func TestAFullDiskIsLeftBehindWhenThereIsRoom(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "sagas.db"))
	defer func() { _ = s.Close() }()
	if err := s.LimitPages(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	n := 0
	var err error
	for ; err == nil; n++ {
		_, err = s.Commit(t.Context(), []*saga.Change{instance(fmt.Sprint(n, "a")), instance(fmt.Sprint(n, "b"))})
	}
	if errors.Is(err, saga.ErrBroken) || errors.Is(err, saga.ErrFenced) {
		t.Errorf("a full disk is told as %v", err)
	}
	if _, err := s.Commit(t.Context(), []*saga.Change{instance("x")}); err == nil {
		t.Error("changes are taken before Reset")
	}
	if err := s.Reset(t.Context()); err != nil { // the limit was the connection's
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), []*saga.Change{instance("x")}); err != nil {
		t.Error(err)
	}
	rows, err := s.Find(t.Context(), &saga.Query{Limit: 1000})
	if err != nil || len(rows) != 2*(n-1)+1 {
		t.Errorf("%d rows after %d commits and one that failed: %v", len(rows), n-1, err)
	}
}

func TestAnEventThatFoundTheDiskFullIsTakenWhenThereIsRoom(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "sagas.db"))
	defer func() { _ = s.Close() }()
	if err := s.LimitPages(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	mail := []saga.Mail{{Channel: "paid", Key: "1", ID: "1", At: time.Unix(2, 0), Event: bytes.Repeat([]byte("7"), 20_000)}}
	if _, err := s.Deliver(t.Context(), mail); err == nil {
		t.Fatal("the disk is not full")
	}
	if _, err := s.Deliver(t.Context(), mail); err != nil { // the limit was the connection's
		t.Errorf("nobody calls Reset, and nothing is taken: %v", err)
	}
}

func TestADamagedFileIsBrokenForGood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sagas.db")
	s := open(t, path)
	for i := range 50 {
		if _, err := s.Commit(t.Context(), []*saga.Change{instance(fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(text); i++ {
		text[i] = 0x55
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err = sqlitesaga.Open(t.Context(), path, nil); err == nil {
		defer func() { _ = s.Close() }()
		_, err = s.Commit(t.Context(), []*saga.Change{instance("x")})
		if again := s.Reset(t.Context()); !errors.Is(again, saga.ErrBroken) {
			t.Errorf("reset says %v", again)
		}
	}
	if !errors.Is(err, saga.ErrBroken) {
		t.Errorf("got %v", err)
	}
}

func TestTheLogIsBroughtIntoTheFileAndDoesNotGrowForEver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sagas.db")
	s, err := sqlitesaga.Open(t.Context(), path, &sqlitesaga.Options{Checkpoint: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	c := instance("1")
	for rev := int64(1); rev <= 3000; rev++ {
		c.Row.Rev = rev
		if _, err := s.Commit(t.Context(), []*saga.Change{c}); err != nil {
			t.Fatal(err)
		}
		c.Create = nil
	}
	info, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 8<<20 { // all that was written is at least 12 MB
		t.Errorf("the log has %d bytes", info.Size())
	}
}
