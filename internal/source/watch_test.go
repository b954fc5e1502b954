package source_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// field is a folder of sources under watch.
type field struct {
	t       *testing.T
	dir     string
	changes <-chan source.Change
}

// newField writes files and watches trees whose folders are relative to the field's.
func newField(t *testing.T, files map[string]string, o *source.Options, trees ...source.Tree) *field {
	t.Helper()
	f := &field{t: t, dir: t.TempDir()}
	for name, text := range files {
		f.write(name, text)
	}
	if o == nil {
		o = &source.Options{}
	}
	for i := range trees {
		trees[i].Dir = filepath.Join(f.dir, trees[i].Dir)
	}
	if o.App != "" {
		o.App = filepath.Join(f.dir, o.App)
	}
	for i := range o.Files {
		o.Files[i] = filepath.Join(f.dir, o.Files[i])
	}
	for i := range o.Globs {
		o.Globs[i] = filepath.Join(f.dir, o.Globs[i])
	}
	o.Quiet = 20 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	changes, err := source.Watch(ctx, trees, o)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	f.changes = changes
	t.Cleanup(func() {
		cancel()
		for range changes { // it is closed
		}
	})
	return f
}

func (f *field) path(name string) string { return filepath.Join(f.dir, filepath.FromSlash(name)) }

func (f *field) write(name, text string) {
	f.t.Helper()
	if err := os.MkdirAll(filepath.Dir(f.path(name)), 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(f.path(name), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// expect receives changes until every one wanted has come, "service: file", and fails on any other.
func (f *field) expect(want ...string) {
	f.t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	left := slices.Clone(want)
	for len(left) > 0 {
		select {
		case c := <-f.changes:
			for _, file := range c.Files {
				told := c.Service + ": " + filepath.ToSlash(file)
				if c.Manifest {
					told = "manifest: " + filepath.Base(file)
				}
				if !slices.Contains(want, told) {
					f.t.Fatalf("told %q, want %q", told, want)
				}
				left = slices.DeleteFunc(left, func(s string) bool { return s == told })
			}
		case <-deadline.C:
			f.t.Fatalf("not told in 20 s: %q", left)
		}
	}
}

var orders = source.Tree{Service: "orders", Dir: "orders"}

func TestAChangeIsToldOfTheServiceItBelongsTo(t *testing.T) {
	t.Parallel()
	f := newField(t, map[string]string{"orders/main.go": "a", "stock/main.go": "a"}, nil,
		orders, source.Tree{Service: "stock", Dir: "stock"})
	f.write("stock/main.go", "b")
	f.expect("stock: main.go")
	f.write("orders/main.go", "b")
	f.write("orders/new.go", "b")
	f.expect("orders: main.go", "orders: new.go")
	if err := os.Remove(f.path("orders/new.go")); err != nil {
		t.Fatal(err)
	}
	f.expect("orders: new.go")
}

func TestATouchOrTheSameContentAgainIsNoChange(t *testing.T) {
	t.Parallel()
	f := newField(t, map[string]string{"orders/main.go": "a", "orders/other.go": "a"}, nil, orders)
	if err := os.Chtimes(f.path("orders/main.go"), time.Now(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	f.write("orders/main.go", "a")
	f.write("orders/other.go", "b") // what comes after a silent one shows that it was silent
	f.expect("orders: other.go")
}

func TestEditorsThatReplaceAFileAreUnderstood(t *testing.T) {
	t.Parallel()
	f := newField(t, map[string]string{"orders/main.go": "a"}, nil, orders)
	for _, temp := range []string{"main.go~", ".main.go.swp", "4913", "#main.go#", ".#main.go"} {
		f.write("orders/"+temp, "x")
	}
	f.write("orders/main.go.swx", "b")
	if err := os.Rename(f.path("orders/main.go.swx"), f.path("orders/main.go")); err != nil {
		t.Fatal(err)
	}
	f.expect("orders: main.go")
}

func TestNewFoldersAreWatchedAndMovedOnesFollowed(t *testing.T) {
	t.Parallel()
	f := newField(t, map[string]string{"orders/main.go": "a", "elsewhere/deep/er/x.go": "a"}, nil, orders)
	f.write("orders/a/b/c.go", "a")
	f.expect("orders: a/b/c.go")
	f.write("orders/a/b/c.go", "b")
	f.expect("orders: a/b/c.go")
	if err := os.Rename(f.path("elsewhere/deep"), f.path("orders/deep")); err != nil {
		t.Fatal(err)
	}
	f.expect("orders: deep/er/x.go")
	f.write("orders/deep/er/x.go", "b")
	f.expect("orders: deep/er/x.go")
	if err := os.RemoveAll(f.path("orders/a")); err != nil {
		t.Fatal(err)
	}
	f.expect("orders: a/b/c.go")
}

func TestWhatGitIgnoresDoesNotMatter(t *testing.T) {
	t.Parallel()
	f := newField(t, map[string]string{
		".git/HEAD": "x", ".gitignore": "bin/\n", "orders/.gitignore": "*.log\n!keep.log\n", "orders/sub/.gitignore": "/gen.go\n",
		"orders/main.go": "a", "orders/sub/x.go": "a",
	}, nil, source.Tree{Service: "orders", Dir: "orders", Exclude: []string{"testdata/"}})
	f.write("orders/bin/orders", "binary")
	f.write("orders/x.log", "x")
	f.write("orders/sub/gen.go", "x")
	f.write("orders/testdata/x", "x")
	f.write("orders/node_modules/p/index.js", "x")
	f.write("orders/.atoll/state", "x")
	f.write("orders/keep.log", "x")
	f.expect("orders: keep.log")
	f.write("orders/.gitignore", "")
	f.write("orders/main.go", "b")
	f.expect("orders: main.go")
	f.write("orders/x.log", "y") // matters now
	f.expect("orders: x.log")
}

func TestWithoutARepositoryTheApplicationsGitignoreCounts(t *testing.T) {
	t.Parallel()
	f := newField(t, map[string]string{".gitignore": "bin/\n", "orders/main.go": "a"}, &source.Options{App: "."}, orders)
	f.write("orders/bin/orders", "binary")
	f.write("orders/main.go", "b")
	f.expect("orders: main.go")
}

func TestAServiceWithinTheFolderOfAnotherIsItsOwn(t *testing.T) {
	t.Parallel()
	f := newField(t, map[string]string{"main.go": "a", "inner/main.go": "a", "lib/x.go": "a"}, nil,
		source.Tree{Service: "outer", Dir: ""}, source.Tree{Service: "inner", Dir: "inner", Also: []string{"../lib"}})
	f.write("inner/main.go", "b")
	f.expect("inner: main.go")
	f.write("lib/x.go", "b")
	f.expect("outer: lib/x.go", "inner: "+filepath.ToSlash(f.path("lib/x.go")))
}

func TestFilesOfTheManifestAreToldApart(t *testing.T) {
	t.Parallel()
	f := newField(t, map[string]string{"atoll.yaml": "a", "orders/service.yaml": "a", "orders/main.go": "a", "other.txt": "a"},
		&source.Options{Files: []string{"atoll.yaml", "orders/service.yaml", ".env"}}, orders)
	f.write("other.txt", "b")
	f.write("orders/service.yaml", "b")
	f.expect("manifest: service.yaml")
	f.write(".env", "A=1")
	f.expect("manifest: .env")
}

func TestFilesThatAPatternOfTheManifestMatchesAreToldAlsoWhenTheyAreNew(t *testing.T) {
	t.Parallel()
	f := newField(t, map[string]string{"atoll.yaml": "a", "sagas/a.yaml": "a"}, &source.Options{Globs: []string{"sagas/*.yaml"}}, source.Tree{}, orders)
	f.write("sagas/a.yaml", "b")
	f.expect("manifest: a.yaml")
	f.write("sagas/b.txt", "a")
	f.write("sagas/b.yaml", "a")
	f.expect("manifest: b.yaml")
}

func TestOfTheApplicationsFolderOnlyManifestsAreTold(t *testing.T) {
	t.Parallel()
	f := newField(t, map[string]string{"atoll.yaml": "a", "README.md": "a", "orders/main.go": "a"},
		&source.Options{Files: []string{"atoll.yaml"}}, source.Tree{}, orders)
	f.write("README.md", "b")
	f.write("docs/notes.txt", "b")
	f.settle()
	f.write("orders/main.go", "b")
	f.expect("orders: main.go") // and nothing of the folder before it
	f.write("stock/main.go", "a")
	f.write("stock/service.yaml", "a")
	f.expect("manifest: service.yaml")
	f.write("README.md", "c")
	f.settle()
	f.write("atoll.yaml", "b")
	f.expect("manifest: atoll.yaml")
}

func TestThatNotEveryFolderCanBeWatchedIsToldOnce(t *testing.T) {
	t.Parallel()
	var told []*fault.Error
	o := &source.Options{Warn: func(f *fault.Error) { told = append(told, f) }}
	// A folder below a file is one that the system refuses to watch, whatever the limit.
	newField(t, map[string]string{"file": "a"}, o, source.Tree{Service: "a", Dir: "file/a"}, source.Tree{Service: "b", Dir: "file/b"})
	if len(told) != 1 || told[0].Code != fault.CodeSourceWatchLimit || told[0].Remedy == "" {
		t.Errorf("told %v", told)
	}
}

func TestChangesThatNobodyTakesAreJoined(t *testing.T) {
	t.Parallel()
	f := newField(t, map[string]string{"orders/0.go": "a"}, nil, orders)
	var want []string
	for i := range 20 {
		f.write(fmt.Sprintf("orders/%d.go", i), "b")
		want = append(want, fmt.Sprintf("orders: %d.go", i))
		if i%5 == 0 {
			f.settle()
		}
	}
	f.expect(want...)
}

// settle gives the watch the time to see what was written.
func (f *field) settle() {
	timer := time.NewTimer(40 * time.Millisecond)
	<-timer.C
}
