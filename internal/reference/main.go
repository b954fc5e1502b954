// Command reference writes the generated parts of docs/reference: the manifest's keys, the command line, the
// error codes, the control API and the JSON Schemas, each from the source that the program itself reads.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/atollhq/atoll/internal/cli"
	"github.com/atollhq/atoll/internal/control"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: reference DIR")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(dir string) error {
	files := map[string]string{
		"manifest.md":         manifest.Reference(),
		"atoll.schema.json":   string(manifest.Schema(manifest.AppFile)),
		"service.schema.json": string(manifest.Schema(manifest.ServiceFile)),
		"saga.schema.json":    string(manifest.Schema(manifest.SagaFile)),
		"cli.md":              cli.Reference(),
		"control-api.yaml":    control.OpenAPI(),
		"errors/README.md":    errorIndex(),
	}
	for _, code := range fault.Codes() {
		page, _ := fault.PageOf(code)
		files["errors/"+string(code)+".md"] = fmt.Sprintf("# %s\n\nCode `%s`\n\n%s", page.Title, code, page.Body)
	}
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write reference: %w", err)
		}
	}
	return nil
}

func errorIndex() string {
	var b strings.Builder
	b.WriteString("# Error codes\n\n<!-- Generated from internal/fault/pages by `make generate`. -->\n\n" +
		"Every error that Atoll shows has one of these codes; `atoll explain CODE` prints its page. Over HTTP it is the member\n" +
		"`code` of a problem document (RFC 9457).\n\n| code | what it is |\n| --- | --- |\n")
	for _, code := range fault.Codes() {
		page, _ := fault.PageOf(code)
		fmt.Fprintf(&b, "| [`%s`](%s.md) | %s |\n", code, code, page.Title)
	}
	return b.String()
}
