package contract_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/contract"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

// app writes the files of an application, with what stands in extra in the place of those of the same name, and loads it.
func app(t *testing.T, extra string) *manifest.App {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/leads.txtar")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range append(archive.Files, txtar.Parse([]byte(extra)).Files...) {
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	loaded, faults := manifest.Load(dir, nil)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return loaded
}

func compile(t *testing.T) *contract.Contracts {
	t.Helper()
	c, err := contract.Compile(app(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func event(topic, dataType, data string) *bus.Event {
	return &bus.Event{Topic: topic, ID: "1", Source: "/s", Type: topic, DataType: dataType, Data: []byte(data)}
}

func TestAnEventThatKeepsItsContractPasses(t *testing.T) {
	c := compile(t)
	if !c.Has("lead.captured") || c.Has("lead.enriched") {
		t.Error("it is not known which topics have a contract")
	}
	const good = `{"id": "l-1", "size": 12, "address": {"city": "Linz", "lines": ["a"]}, "next": {"id": "l-2"}}`
	for _, e := range []*bus.Event{
		event("lead.captured", "application/json", good),
		event("lead.captured", "Application/JSON; charset=utf-8", good),
		event("lead.captured", "application/vnd.lead+json", good),
		event("lead.captured", "", good),
		event("lead.scored", "application/json", `[1, 2.5, 12345678901234567890]`),
		event("lead.enriched", "text/plain", "no contract here"),
		event("not.declared", "", ""),
	} {
		if err := c.Check(e); err != nil {
			t.Errorf("%s %s: %v", e.Topic, e.Data, err)
		}
	}
}

func TestABrokenContractIsToldByPlaceAndRule(t *testing.T) {
	c := compile(t)
	for _, x := range []struct {
		dataType, data string
		want           []string
	}{
		{"application/json", `{"id": 5, "size": -1}`, []string{"lead.captured", "at /id: got number, want string", "at /size: minimum: got -1, want 0"}},
		{"application/json", `{"size": 1.5}`, []string{"at the top: missing property 'id'", "at /size: got number, want integer"}},
		{"application/json", `{"id": "1", "address": {"city": 1, "lines": ["a", 2]}}`, []string{"at /address/city:", "at /address/lines/1:"}},
		{"application/json", `{"id": "1", "next": {"id": "2", "next": {}}}`, []string{"at /next/next: missing property 'id'"}},
		{"application/json", `{"id": "1", "a/b~c": "x"}`, []string{"at /a~1b~0c:"}},
		{"application/json", `{"id": "1", "address": {"lines": [1,2,3,4,5,6,7]}}`, []string{"at /address/lines/4:", "and 2 more"}},
		{"application/json", `{`, []string{"its data is not JSON"}},
		{"application/json", `{"id": "1"} {}`, []string{"its data is not JSON"}},
		{"application/json", ``, []string{"it has no data"}},
		{"", ``, []string{"it has no data"}},
		{"text/plain", `{"id": "1"}`, []string{"its data is text/plain"}},
	} {
		err := c.Check(event("lead.captured", x.dataType, x.data))
		if fault.CodeOf(err) != fault.CodeEventContract {
			t.Errorf("%s: got %v", x.data, err)
			continue
		}
		for _, want := range x.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q lacks %q", x.data, err, want)
			}
		}
		if strings.Contains(err.Error(), "file:") {
			t.Errorf("the publisher is shown a path of this machine: %v", err)
		}
	}
	long := `{"id": "1", "` + strings.Repeat("x", 10_000) + `~": 1, "a/b~c": "` + strings.Repeat("y", 10_000) + `"}`
	if err := c.Check(event("lead.captured", "", long)); err == nil || len(err.Error()) > 3000 {
		t.Errorf("the fault is as long as the data: %d", len(err.Error()))
	}
}

func TestASchemaThatIsNoneIsRefusedBeforeAnyEvent(t *testing.T) {
	for want, schema := range map[string]string{
		"at /type: ":                           `{"type": "objekt"}`,
		"it is not a file":                     `{"$ref": "https://example.com/x.json"}`,
		"http://example.com/x.json cannot be":  `{"$id": "http://example.com/y.json", "$ref": "x.json"}`,
		"services/leads/none.json cannot be":   `{"$ref": "none.json"}`,
		"outside of the application's folder":  `{"$ref": "../../../../../../../../../../etc/hostname"}`,
		"services/leads/text.txt cannot be re": `{"$ref": "text.txt"}`,
		"where nothing is":                     `{"$ref": "#/$defs/none"}`,
		"no anchor":                            `{"$ref": "#none"}`,
		"at /pattern: '(?=a)b' is not valid":   `{"pattern": "(?=a)b"}`,
		"is not a JSON Schema":                 `{"$schema": "https://example.com/draft"}`,
	} {
		_, err := contract.Compile(app(t, "-- services/leads/captured.json --\n"+schema+"\n-- services/leads/text.txt --\nx\n"))
		if list, ok := errors.AsType[fault.List](err); !ok || len(list) != 1 || list[0].Code != fault.CodeContractInvalid || !strings.Contains(list[0].Text, want) ||
			!strings.Contains(list[0].Text, "services/leads/captured.json, the schema of lead.captured") {
			t.Errorf("%s: %q is not in %v", schema, want, err)
		}
	}
}

func TestEveryBrokenSchemaIsTold(t *testing.T) {
	_, err := contract.Compile(app(t, "-- services/leads/captured.json --\n5\n-- services/scoring/scored.json --\n{\"type\": 1}\n"))
	if list, ok := errors.AsType[fault.List](err); !ok || len(list) != 2 {
		t.Errorf("got %v", err)
	}
}

func TestAsyncAPIIsWhatTheManifestsSay(t *testing.T) {
	got, err := contract.AsyncAPI(app(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/leads.asyncapi.yaml")
	if os.Getenv("ATOLL_UPDATE") != "" {
		err = os.WriteFile("testdata/leads.asyncapi.yaml", got, 0o644)
		want = got
	}
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("ATOLL_UPDATE=1 writes what is now:\n%s", got)
	}
}

// walk calls f for every mapping of a document.
func walk(v any, f func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		f(v)
		for _, child := range v {
			walk(child, f)
		}
	case []any:
		for _, child := range v {
			walk(child, f)
		}
	}
}

func TestEveryReferenceOfTheDocumentLeadsSomewhereInIt(t *testing.T) {
	out, err := contract.AsyncAPI(app(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(out, &doc); err != nil {
		t.Fatal(err)
	}
	unescape := strings.NewReplacer("~1", "/", "~0", "~", "%20", " ")
	var refs []string
	walk(doc, func(m map[string]any) {
		ref, ok := m["$ref"].(string)
		if !ok || ref == "no reference" {
			return
		}
		refs = append(refs, ref)
		at := any(doc)
		for step := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			next, _ := at.(map[string]any)
			at = next[unescape.Replace(step)]
		}
		if at == nil || !strings.HasPrefix(ref, "#/") {
			t.Errorf("%s leads nowhere", ref)
		}
	})
	for _, want := range []string{
		"#/components/schemas/services_leads_captured/schema", "#/components/schemas/services_leads_captured/schema/$defs/whole%20number",
		"#/components/schemas/shared_address/schema/$defs/line", "#/components/schemas/shared_address/schema",
		"#/components/schemas/services_leads_captured/schema/properties/default",
	} {
		if !slices.Contains(refs, want) {
			t.Errorf("no reference is %s: %q", want, refs)
		}
	}
	if strings.Contains(string(out), "$id") || strings.Contains(string(out), "$anchor") || strings.Contains(string(out), "file:") {
		t.Error("an identifier is left, which leads readers elsewhere")
	}
}

func TestSchemasOfTheDocumentSayWhatTheFilesSay(t *testing.T) {
	a := app(t, "")
	out, err := contract.AsyncAPI(a)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				SchemaFormat string `yaml:"schemaFormat"`
				Schema       any    `yaml:"schema"`
			} `yaml:"schemas"`
		} `yaml:"components"`
	}
	if err := yaml.Unmarshal(out, &doc); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(a.Dir, "services/scoring/scored.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want any
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	got := doc.Components.Schemas["services_scoring_scored"]
	asJSON, err := json.Marshal(got.Schema)
	if err != nil {
		t.Fatal(err)
	}
	var same any
	if err := json.Unmarshal(asJSON, &same); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(same, want) || got.SchemaFormat != "application/schema+json;version=draft-07" {
		t.Errorf("got %s of %s", asJSON, got.SchemaFormat)
	}
}

func TestAnAppWithoutEventsHasADocumentToo(t *testing.T) {
	out, err := contract.AsyncAPI(&manifest.App{Name: "none", Dir: t.TempDir()})
	if err != nil || !strings.HasPrefix(string(out), "asyncapi: 3.0.0\n") {
		t.Errorf("got %s, %v", out, err)
	}
}

func BenchmarkCheck(b *testing.B) {
	archive, err := txtar.ParseFile("testdata/leads.txtar")
	if err != nil {
		b.Fatal(err)
	}
	overlay := map[string][]byte{}
	dir := b.TempDir()
	for _, f := range archive.Files {
		overlay[f.Name] = f.Data
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f.Name)), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	loaded, _ := manifest.Load(dir, nil)
	c, err := contract.Compile(loaded)
	if err != nil {
		b.Fatal(err)
	}
	e := event("lead.captured", "application/json", `{"id": "l-1", "size": 12, "address": {"city": "Linz", "lines": ["a"]}}`)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Check(e); err != nil {
			b.Fatal(err)
		}
	}
}
