package manifest_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

var update = flag.Bool("update", false, "write what was found into the want sections of testdata")

// The corpus is testdata/*.txtar: the files of an application, and a section want with its faults as a person
// reads them. The comment on top may choose "environment NAME" and set "env NAME=value".

func corpus(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) < 40 {
		t.Fatalf("the corpus has %d cases (%v)", len(names), err)
	}
	return names
}

// unpack writes the files of an archive into a folder of its own.
func unpack(t *testing.T, a *txtar.Archive) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range a.Files {
		if f.Name == "want" {
			continue
		}
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func optionsOf(a *txtar.Archive) *manifest.Options {
	o := &manifest.Options{}
	for line := range strings.Lines(string(a.Comment)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "environment "); ok {
			o.Environment = name
		}
		if entry, ok := strings.CutPrefix(line, "env "); ok {
			o.Environ = append(o.Environ, entry)
		}
	}
	return o
}

func TestEveryFaultOfTheCorpusIsFoundWithItsPlaceAndRemedy(t *testing.T) {
	for _, name := range corpus(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			_, faults := manifest.Load(unpack(t, a), optionsOf(a))
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
				if f.Remedy == "" || f.Line == 0 && f.Code != fault.CodeFileMissing {
					t.Errorf("no remedy or no place: %v", f)
				}
			}
		})
	}
}

// shapeCodes are the faults that a schema can see: those of one value, whatever else the application holds.
func shapeCodes() []fault.Code {
	return []fault.Code{
		fault.CodeUnknownKey, fault.CodeMissingKey, fault.CodeWrongType, fault.CodeBadDuration,
		fault.CodeBadSize, fault.CodeBadLimit,
	}
}

func compile(t *testing.T, file string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(manifest.Schema(file)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(file, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON reads YAML as editors do, for a schema.
func asJSON(data []byte) (any, bool) {
	var v any
	if yaml.Unmarshal(data, &v) != nil {
		return nil, false
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, false
	}
	v, err = jsonschema.UnmarshalJSON(bytes.NewReader(text))
	return v, err == nil
}

func TestSchemaAndParserAgreeOnTheCorpus(t *testing.T) {
	app, service, saga := compile(t, manifest.AppFile), compile(t, manifest.ServiceFile), compile(t, manifest.SagaFile)
	accepted, refused := 0, 0
	for _, name := range corpus(t) {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, faults := manifest.Load(unpack(t, a), optionsOf(a))
		for _, f := range a.Files {
			schema := service
			switch filepath.Base(f.Name) {
			case manifest.AppFile:
				schema = app
			case manifest.ServiceFile:
			default:
				if !strings.HasPrefix(f.Name, "sagas/") {
					continue
				}
				schema = saga
			}
			v, ok := asJSON(f.Data)
			if !ok {
				continue // not YAML, or a key twice: no schema sees it
			}
			verdict := schema.Validate(v)
			wrong := slices.ContainsFunc(faults, func(e *fault.Error) bool {
				return e.File == f.Name && slices.Contains(shapeCodes(), e.Code)
			})
			anyFault := slices.ContainsFunc(faults, func(e *fault.Error) bool { return e.File == f.Name })
			switch {
			case wrong && verdict == nil:
				t.Errorf("%s: the parser refuses the shape of %s, the schema accepts it", name, f.Name)
			case verdict != nil && !anyFault:
				t.Errorf("%s: the schema refuses %s, the parser accepts it: %v", name, f.Name, verdict)
			}
			if verdict == nil {
				accepted++
			} else {
				refused++
			}
		}
	}
	if accepted < 20 || refused < 10 {
		t.Errorf("the corpus proves little: %d files accepted, %d refused", accepted, refused)
	}
}
