// Package docs_test holds what is written here to what is there.
package docs_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are all documents written for people, by path from this folder.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	add := func(path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found[path] = string(text)
	}
	for _, name := range []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"} {
		add(filepath.Join("..", name))
	}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(d.Name(), ".md") {
			add(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestNoLinkLeadsNowhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	checked := 0
	for page, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			checked++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			}
		}
	}
	if checked < 50 {
		t.Errorf("found only %d links", checked)
	}
}

func TestTheTutorialShowsItsCodeAsItIs(t *testing.T) {
	tutorial, err := os.ReadFile("tutorial/first-application.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"words/main.go", "words/service.yaml", "hello/main.go", "hello/service.yaml"} {
		code, err := os.ReadFile(filepath.Join("tutorial/code", name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(tutorial), "\n"+string(code)+"```\n") {
			t.Errorf("the tutorial shows another %s than tutorial/code has", name)
		}
	}
}

func TestTheTutorialsCodeCompiles(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "vet", "./...")
	cmd.Dir = "tutorial/code"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestEachDecisionIsListed(t *testing.T) {
	index, err := os.ReadFile("adr/README.md")
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := filepath.Glob("adr/0*.md")
	if err != nil || len(decisions) == 0 {
		t.Fatalf("%d decisions, %v", len(decisions), err)
	}
	for _, d := range decisions {
		if !strings.Contains(string(index), "("+filepath.Base(d)+")") {
			t.Errorf("%s is not listed in adr/README.md", d)
		}
	}
}
