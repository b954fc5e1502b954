// Package sqlite gives each service a SQLite file of its own, in a folder that only Atoll's user can enter.
package sqlite

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/atollhq/atoll/internal/database"
)

// Files makes SQLite databases.
type Files struct{ dir string }

var _ database.Provisioner = (*Files)(nil)

// New keeps the files below dir.
func New(dir string) *Files { return &Files{dir: dir} }

// Provision returns sqlite:///path of the service's file. The program that opens it first makes it.
func (f *Files) Provision(_ context.Context, service string) (string, error) {
	dir := filepath.Join(f.dir, service)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make database folder: %w", err)
	}
	abs, err := filepath.Abs(filepath.Join(dir, service+".db"))
	if err != nil {
		return "", fmt.Errorf("find database folder: %w", err)
	}
	u := url.URL{Scheme: "sqlite", Path: filepath.ToSlash(abs)}
	return u.String(), nil
}
