package file_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/atollhq/atoll/internal/alert"
	"github.com/atollhq/atoll/internal/alert/alerttest"
	"github.com/atollhq/atoll/internal/alert/file"
)

func TestStoreKeepsWhatWasSaved(t *testing.T) {
	name := filepath.Join(t.TempDir(), "alerts.json")
	alerttest.Run(t, func() alert.Store { return file.New(name) })
}

func TestADamagedFileIsSetAsideAndNeverBelieved(t *testing.T) {
	name := filepath.Join(t.TempDir(), "alerts.json")
	if err := file.New(name).Save(t.Context(), alerttest.Snapshot()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := file.New(name).Load(t.Context()); !errors.Is(err, alert.ErrDamaged) || got != nil {
		t.Fatalf("half a file gives %+v (%v)", got, err)
	}
	if kept, err := os.ReadFile(name + ".bad"); err != nil || len(kept) != len(text)/2 {
		t.Errorf("it is not set aside: %v", err)
	}
	if got, err := file.New(name).Load(t.Context()); got != nil || err != nil {
		t.Errorf("it is loaded again: %+v (%v)", got, err)
	}
}

func TestAFileThatACrashHasLeftHalfWrittenIsNotTheState(t *testing.T) {
	name := filepath.Join(t.TempDir(), "alerts.json")
	if err := file.New(name).Save(t.Context(), alerttest.Snapshot()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name+".new", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := file.New(name).Load(t.Context())
	if err != nil || len(got.Alerts) != 1 {
		t.Fatalf("loaded %+v (%v)", got, err)
	}
	if err := file.New(name).Save(t.Context(), &alert.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v (%v)", info, err)
	}
}
