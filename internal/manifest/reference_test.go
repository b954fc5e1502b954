package manifest_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/manifest"
)

// undocumented lists the paths of properties without a description.
func undocumented(path string, schema any) (found []string) {
	switch s := schema.(type) {
	case map[string]any:
		properties, _ := s["properties"].(map[string]any)
		for name, p := range properties {
			if text, _ := p.(map[string]any)["description"].(string); len(text) < 10 || !strings.HasSuffix(text, ".") {
				found = append(found, path+"."+name)
			}
		}
		for name, child := range s {
			found = append(found, undocumented(path+"/"+name, child)...)
		}
	case []any:
		for _, child := range s {
			found = append(found, undocumented(path, child)...)
		}
	}
	return found
}

func TestEveryKeyIsDocumented(t *testing.T) {
	for _, file := range []string{manifest.AppFile, manifest.ServiceFile, manifest.SagaFile} {
		var schema any
		if err := json.NewDecoder(bytes.NewReader(manifest.Schema(file))).Decode(&schema); err != nil {
			t.Fatal(err)
		}
		for _, key := range undocumented(file, schema) {
			t.Errorf("%s has no documentation", key)
		}
	}
	reference := manifest.Reference()
	for _, key := range []string{"trusted_proxies", "start_limit", "try_timeout", "issuer", "origins", "also", "saga_store", "pivot", "at_once", "otlp", "objective", "repeat"} {
		if !strings.Contains(reference, "`"+key+"`") {
			t.Errorf("the reference lacks %s", key)
		}
	}
}
