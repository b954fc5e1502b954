package cli

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/fault"
)

// Templates hold an application in each language: their files end in .tmpl, so that no tool takes them for
// source of Atoll, and APP stands for the application's name.
//
//go:embed all:templates
var templates embed.FS

func (a *app) initCommand() *cobra.Command {
	var language string
	cmd := &cobra.Command{
		Use:   "init [NAME]",
		Short: "Begin a small application that runs at once: two services, one route",
		Long: "Writes a new application into the folder NAME, or into this folder: two services of which one calls the other,\n" +
			"and a route from outside. In Go where that is installed, else in JavaScript for Node.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := a.dir
			if len(args) == 1 {
				dir = filepath.Join(dir, args[0])
			}
			return a.initialise(dir, language)
		},
	}
	cmd.Flags().StringVar(&language, "language", "", "go or node (default: what is installed)")
	return cmd
}

func (a *app) initialise(dir, language string) error {
	if language == "" {
		language = installedLanguage()
	}
	root := "templates/" + language
	if _, err := fs.Stat(templates, root); err != nil || (language != "go" && language != "node") {
		return fault.New(fault.CodeUsage, "there is no template for %q", language).Fix("write --language go or --language node")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("find folder: %w", err)
	}
	name := appName(filepath.Base(abs))
	files, err := templateFiles(root, name)
	if err != nil {
		return err
	}
	for path := range files {
		if _, err := os.Lstat(filepath.Join(abs, path)); err == nil {
			return fault.New(fault.CodeFolderNotEmpty, "%s is there already", filepath.Join(dir, path)).
				Fix("choose another folder: atoll init NAME")
		}
	}
	for path, text := range files {
		full := filepath.Join(abs, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, text, 0o644)); err != nil {
			return fmt.Errorf("write application: %w", err)
		}
	}
	fmt.Fprintf(a.Out, "%s is in %s: two services, one route\n\n", name, abs)
	if dir != "." {
		fmt.Fprintf(a.Out, "  cd %s\n", dir)
	}
	fmt.Fprintln(a.Out, "  atoll up")
	return nil
}

// installedLanguage is go or node, whichever is there.
func installedLanguage() string {
	if _, err := exec.LookPath("go"); err != nil {
		if _, err := exec.LookPath("node"); err == nil {
			return "node"
		}
	}
	return "go"
}

// appName makes a name for an application of that of a folder.
func appName(folder string) string {
	name := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, folder), "-")
	name = strings.TrimLeft(name, "-0123456789")
	if name == "" {
		return "app"
	}
	return strings.Trim(name[:min(len(name), 40)], "-")
}

// templateFiles reads a template, by path in the new application.
func templateFiles(root, name string) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := fs.WalkDir(templates, root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := templates.ReadFile(path)
		rel := strings.TrimSuffix(strings.TrimPrefix(path, root+"/"), ".tmpl")
		files[filepath.FromSlash(rel)] = []byte(strings.ReplaceAll(string(text), "APP", name))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read template: %w", err)
	}
	return files, nil
}
