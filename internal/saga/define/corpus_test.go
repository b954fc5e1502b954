package define_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga/define"
)

var update = flag.Bool("update", false, "write what was found into the want sections of testdata")

// The corpus is testdata/*.txtar: the files of an application, and a section want with the faults of its sagas as a person reads them.

// loaded is the application of an archive, and what its sagas are held against.
func loaded(t *testing.T, a *txtar.Archive) (*manifest.App, define.Options) {
	t.Helper()
	files := map[string][]byte{}
	for _, f := range a.Files {
		if f.Name != "want" {
			files[f.Name] = f.Data
		}
	}
	app, faults := manifest.Load(t.TempDir(), &manifest.Options{Overlay: files})
	if faults.HasErrors() {
		t.Fatal(faults)
	}
	o := define.Options{Others: app.SagasByName()}
	o.Contract = func(service string) *define.Contract {
		if app.Service(service).API == "" {
			return nil
		}
		c, err := define.ReadContract(service, files[app.Service(service).API])
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	o.Topic = func(topic string) []byte {
		for _, known := range app.Topics() {
			if known.Name == topic && known.Schema != "" {
				return files[filepath.Base(known.Schema)]
			}
		}
		return nil
	}
	return app, o
}

func TestEveryFaultOfTheCorpusIsFoundWithItsPlaceAndRemedy(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) < 3 {
		t.Fatalf("the corpus has %d cases (%v)", len(names), err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			app, o := loaded(t, a)
			var faults fault.List
			for _, s := range app.Sagas {
				plan, found := define.Compile(s, o)
				if (plan == nil) != found.HasErrors() {
					t.Errorf("%s: a plan in spite of faults, or none without", s.Name)
				}
				faults = append(faults, found...)
			}
			var got bytes.Buffer
			if err := faults.Render(&got, false); err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == "want" })
			if at < 0 {
				a.Files = append(a.Files, txtar.File{Name: "want"})
				at = len(a.Files) - 1
			}
			if *update {
				a.Files[at].Data = got.Bytes()
				if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got.String() != string(a.Files[at].Data) {
				t.Errorf("got:\n%swant:\n%s", got.String(), a.Files[at].Data)
			}
			for _, f := range faults {
				if f.Remedy == "" || f.Line == 0 {
					t.Errorf("no remedy or no place: %v", f)
				}
			}
		})
	}
}
