// Package file is the driver of alert.Store that keeps state in one file. A save writes another file beside it, syncs it, and puts it in the
// place of the old one, so that a crash leaves the one or the other.
package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/atollhq/atoll/internal/alert"
)

// maxFile is more than a full snapshot takes.
const maxFile = 256 << 20

// Store is a file.
type Store struct{ name string }

var _ alert.Store = (*Store)(nil)

// New keeps state in a file of this name, whose folder exists.
func New(name string) *Store { return &Store{name: name} }

// Load reads the file. One that cannot be understood is renamed to NAME.bad.
func (s *Store) Load(context.Context) (*alert.Snapshot, error) {
	info, err := os.Stat(s.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read file of alerts: %w", err)
	case info.Size() > maxFile:
		return nil, s.setAside(fmt.Errorf("%d bytes are too many", info.Size()))
	}
	text, err := os.ReadFile(s.name)
	if err != nil {
		return nil, fmt.Errorf("read file of alerts: %w", err)
	}
	out := &alert.Snapshot{}
	if err := json.Unmarshal(text, out); err != nil {
		return nil, s.setAside(err)
	}
	return out, nil
}

func (s *Store) setAside(why error) error {
	if err := os.Rename(s.name, s.name+".bad"); err != nil {
		return fmt.Errorf("set file of alerts aside: %w", err)
	}
	return fmt.Errorf("%w: %w", alert.ErrDamaged, why)
}

// Save replaces the file.
func (s *Store) Save(_ context.Context, snapshot *alert.Snapshot) error {
	text, err := json.Marshal(snapshot)
	if err != nil {
		return fmt.Errorf("encode snapshot of alerts: %w", err)
	}
	fresh := s.name + ".new"
	if err := write(fresh, text); err != nil {
		return fmt.Errorf("write file of alerts: %w", err)
	}
	if err := os.Rename(fresh, s.name); err != nil {
		return fmt.Errorf("replace file of alerts: %w", err)
	}
	if err := syncFolder(filepath.Dir(s.name)); err != nil {
		return fmt.Errorf("sync folder of alerts: %w", err)
	}
	return nil
}

// write writes a file and makes its content durable.
func write(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncFolder makes a rename durable. Windows cannot sync a folder.
func syncFolder(name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
