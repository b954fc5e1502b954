//go:build linux

package powerfs_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/atollhq/atoll/test/internal/powerfs"
)

// mount shows a disk for the time of a test.
func mount(t *testing.T, d *powerfs.Disk) string {
	t.Helper()
	dir := t.TempDir()
	unmount, err := d.Mount(dir)
	if err != nil {
		t.Skipf("the power cannot be cut here: %v", err)
	}
	t.Cleanup(func() {
		if err := unmount(); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// put writes a file, and syncs it and its folder as it is told.
func put(t *testing.T, path, text string, syncFile, syncDir bool) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	must(t, err)
	_, err = f.WriteString(text)
	must(t, err)
	if syncFile {
		must(t, f.Sync())
	}
	must(t, f.Close())
	if syncDir {
		d, err := os.Open(filepath.Dir(path))
		must(t, err)
		must(t, d.Sync(), d.Close())
	}
}

func chance(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 1)) } //nolint:gosec // chance that can be repeated

func TestWhatIsSyncedSurvivesEveryCutAndWhatIsNotIsSometimesLost(t *testing.T) {
	lost := map[string]bool{}
	for seed := range 20 {
		d := powerfs.New(powerfs.Strict)
		dir := mount(t, d)
		put(t, filepath.Join(dir, "safe"), "safe", true, true)
		put(t, filepath.Join(dir, "nameless"), "nameless", true, false)
		put(t, filepath.Join(dir, "data"), "", true, true)
		put(t, filepath.Join(dir, "data"), "data", false, false)
		must(t, os.Rename(filepath.Join(dir, "nameless"), filepath.Join(dir, "renamed")))
		d.Cut()
		if err := os.WriteFile(filepath.Join(dir, "late"), nil, 0o600); !errors.Is(err, syscall.EIO) {
			t.Fatalf("writing without power: %v", err)
		}
		after, _ := d.After(chance(seed))
		dir = mount(t, after)
		if text, err := os.ReadFile(filepath.Join(dir, "safe")); err != nil || string(text) != "safe" {
			t.Fatalf("seed %d: what was synced is %q: %v", seed, text, err)
		}
		for _, name := range []string{"nameless", "renamed", "data"} {
			text, err := os.ReadFile(filepath.Join(dir, name))
			lost[name] = lost[name] || err != nil || len(text) == 0
			lost["not "+name] = lost["not "+name] || err == nil && len(text) > 0
		}
	}
	for name, ok := range map[string]bool{
		"nameless": lost["nameless"], "renamed": lost["renamed"], "data": lost["data"], "not renamed": lost["not renamed"], "not data": lost["not data"],
	} {
		if !ok {
			t.Errorf("in 20 cuts, %s was never lost", name)
		}
	}
}

func TestAJournalKeepsTheNameOfASyncedFile(t *testing.T) {
	for seed := range 10 {
		d := powerfs.New(powerfs.Journaled)
		dir := mount(t, d)
		must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
		put(t, filepath.Join(dir, "sub", "f"), "text", true, false)
		d.Cut()
		after, _ := d.After(chance(seed))
		if text, err := os.ReadFile(filepath.Join(mount(t, after), "sub", "f")); err != nil || string(text) != "text" {
			t.Fatalf("seed %d: %q: %v", seed, text, err)
		}
	}
}

func TestAWriteIsTornAtSectorsAndNowhereElse(t *testing.T) {
	const sectors = 16
	torn := false
	for seed := range 30 {
		d := powerfs.New(powerfs.Journaled)
		dir := mount(t, d)
		path := filepath.Join(dir, "f")
		put(t, path, string(bytes.Repeat([]byte("a"), 512*sectors)), true, true)
		put(t, path, string(bytes.Repeat([]byte("b"), 512*sectors)), false, false)
		d.Cut()
		after, loss := d.After(chance(seed))
		text, err := os.ReadFile(filepath.Join(mount(t, after), "f"))
		must(t, err)
		torn = torn || loss.Torn > 0
		for at := range sectors {
			part := text[at*512 : at*512+512]
			if n := bytes.Count(part, []byte("b")); n != 0 && n != 512 {
				t.Fatalf("seed %d: sector %d is torn", seed, at)
			}
		}
	}
	if !torn {
		t.Error("no write was torn")
	}
}

func TestThePowerGoesAtTheOperationThatWasChosen(t *testing.T) {
	d := powerfs.New(powerfs.Strict)
	dir := mount(t, d)
	before := d.Operations()
	d.CutAfter(5)
	for n := 0; ; n++ {
		if err := os.Mkdir(filepath.Join(dir, string(rune('a'+n))), 0o700); err != nil {
			break
		}
	}
	<-d.Gone()
	if n := d.Operations() - before; n != 5 {
		t.Errorf("the power went at operation %d", n)
	}
}
