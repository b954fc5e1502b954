package natsbus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// The server syncs the files that it writes, but not the folder in which it begins a new one. A file system without a journal,
// and POSIX at its word, may then forget the name of a file whose content is on disk. So Atoll syncs the folder itself, before it
// takes an acknowledgement for one.

// coarse is how far apart two changes of a folder may be that have one time.
const coarse = 20 * time.Millisecond

// writtenBack is after how long every system has written by itself what it was given.
const writtenBack = 10 * time.Minute

// folder is a folder whose names are to be durable. Its zero value is none.
type folder struct {
	path    string
	changed time.Time // of the folder, when it was synced last
	sure    bool      // a later change has another time
}

// settle makes the names in the folder durable, if any have changed since it did so last. It must not be called twice at once.
func (f *folder) settle() error {
	if f.path == "" {
		return nil
	}
	info, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("look at folder of blocks: %w", err)
	}
	changed := info.ModTime()
	if f.sure && changed.Equal(f.changed) {
		return nil
	}
	sure := time.Since(changed) > coarse
	if err := syncFolder(f.path); err != nil {
		return err
	}
	f.changed, f.sure = changed, sure
	return nil
}

// syncTree makes what a killed server has left durable, before anything is built on it: the names in a folder, in all those below
// it and in the one above, and the content of the files that were written lately.
func syncTree(dir string) error {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return ignoreGone(err)
		case e.IsDir():
			return syncFolder(path)
		}
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) < writtenBack {
			err = syncFile(path)
		}
		return ignoreGone(err)
	})
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return syncFolder(filepath.Dir(dir))
}

// ignoreGone forgives that the server has taken a file away meanwhile.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func syncFolder(path string) error {
	if runtime.GOOS == "windows" { // which has no such sync
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
