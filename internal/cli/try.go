package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/control/api"
)

// tryPath is a path that a GET without credentials should find an answer at: one that a contract documents, else
// the beginning of a route.
func tryPath(dir string, services []api.Service) string {
	fallback := ""
	for _, s := range services {
		for _, r := range s.Routes {
			if len(r.Auth) > 0 || r.Host != "" || len(r.Methods) > 0 && !slices.Contains(r.Methods, "GET") {
				continue
			}
			for _, path := range documentedPaths(dir, &s) {
				if routeTakes(r.Path, path) && r.Path != "/**" {
					return path
				}
			}
			if literal := strings.TrimSuffix(r.Path, "**"); !strings.Contains(literal, "*") && (fallback == "" || len(literal) < len(fallback)) {
				fallback = literal
			}
		}
	}
	return fallback
}

// documentedPaths are the paths of a service's OpenAPI document that a GET needs nothing more for.
func documentedPaths(dir string, s *api.Service) []string {
	if s.API == "" {
		return nil
	}
	name := filepath.FromSlash(s.API)
	if !filepath.IsAbs(name) {
		name = filepath.Join(s.Dir, name)
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	var contract struct {
		Paths yaml.Node `yaml:"paths"`
	}
	if yaml.Unmarshal(text, &contract) != nil || contract.Paths.Kind != yaml.MappingNode {
		return nil
	}
	var paths []string
	for i := 0; i+1 < len(contract.Paths.Content); i += 2 {
		path := contract.Paths.Content[i].Value
		var item map[string]yaml.Node
		if contract.Paths.Content[i+1].Decode(&item) != nil || strings.Contains(path, "{") {
			continue
		}
		if _, ok := item["get"]; ok {
			paths = append(paths, path)
		}
	}
	return paths
}

// routeTakes tells whether a route's pattern matches a path.
func routeTakes(pattern, path string) bool {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i, segment := range want {
		if segment == "**" {
			return true
		}
		if i >= len(have) || segment != "*" && segment != have[i] {
			return false
		}
	}
	return len(want) == len(have)
}
