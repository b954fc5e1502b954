package fault_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/fault"
)

// declaredCodes reads the constants of type Code from this package's source.
func declaredCodes(t *testing.T) []fault.Code {
	t.Helper()
	files, err := filepath.Glob("codes*.go")
	if err != nil {
		t.Fatal(err)
	}
	var codes []fault.Code
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for _, v := range spec.Values {
				if lit, ok := v.(*ast.BasicLit); ok {
					text, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					codes = append(codes, fault.Code(text))
				}
			}
			return false
		})
	}
	slices.Sort(codes)
	return codes
}

func TestEveryCodeHasAPageAndEveryPageACode(t *testing.T) {
	declared, paged := declaredCodes(t), fault.Codes()
	for _, c := range declared {
		if !slices.Contains(paged, c) {
			t.Errorf("code %q has no page: write internal/fault/pages/%s.md", c, c)
		}
	}
	for _, c := range paged {
		if !slices.Contains(declared, c) {
			t.Errorf("pages/%s.md explains a code that no codes*.go declares", c)
		}
	}
	if slices.ContainsFunc(declared, func(c fault.Code) bool { return c != fault.Code(strings.ToLower(string(c))) }) {
		t.Error("codes are kebab-case")
	}
}

func TestEveryPageSaysWhatWhyAndWhatToDo(t *testing.T) {
	for _, c := range fault.Codes() {
		page, _ := fault.PageOf(c)
		if page.Title == "" || strings.Contains(page.Title, "#") {
			t.Errorf("%s: the first line is not a title", c)
		}
		if !strings.Contains(page.Body, "## What to do") {
			t.Errorf("%s: no section \"What to do\"", c)
		}
	}
}
