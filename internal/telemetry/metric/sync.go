package metric

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
)

// syncer brings what was written to the database's logs onto stable storage. The database itself syncs a segment only
// when it begins the next one. Those who wait at once share a sync.
type syncer struct {
	dirs []string

	mu      sync.Mutex
	running *round            // guarded by mu; the sync that goes on, or nil
	next    *round            // guarded by mu; the one that those wait for who came since it began
	synced  map[string]string // by folder: the newest segment of the last sync; only the runner of a round uses it
}

type round struct {
	done chan struct{}
	err  error // set before done is closed
}

func newSyncer(dirs ...string) *syncer {
	return &syncer{dirs: dirs, synced: map[string]string{}}
}

// wait returns when all that was written before the call is synced. When ctx ends sooner the sync goes on without it.
func (s *syncer) wait(ctx context.Context) error {
	s.mu.Lock()
	mine := s.next
	lead := mine == nil
	if lead {
		mine = &round{done: make(chan struct{})}
		s.next = mine
	}
	before := s.running
	s.mu.Unlock()
	if !lead {
		select {
		case <-mine.done:
			return mine.err
		case <-ctx.Done():
			return fmt.Errorf("wait for metrics to be synced: %w", context.Cause(ctx))
		}
	}
	if before != nil {
		<-before.done
	}
	s.mu.Lock()
	s.running, s.next = mine, nil
	s.mu.Unlock()
	mine.err = s.syncAll()
	s.mu.Lock()
	s.running = nil
	s.mu.Unlock()
	close(mine.done)
	return mine.err
}

func (s *syncer) syncAll() error {
	for _, dir := range s.dirs {
		if err := s.syncFolder(dir); err != nil {
			return fmt.Errorf("sync log of metrics: %w", err)
		}
	}
	return nil
}

// syncFolder syncs the segments from the newest of the last time on; those before do not change any more.
func (s *syncer) syncFolder(dir string) error {
	entries, err := os.ReadDir(dir) // sorted; the names of segments are numbers of 8 digits
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	newest := ""
	for _, e := range entries {
		if e.IsDir() || len(e.Name()) != 8 || e.Name() < s.synced[dir] {
			continue
		}
		if err := syncFile(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
		newest = e.Name()
	}
	if newest == s.synced[dir] {
		return nil
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	s.synced[dir] = newest
	return nil
}

// syncDir makes names in a folder durable. Windows cannot sync a folder.
func syncDir(name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	return syncOpened(name, os.O_RDONLY)
}

// syncFile syncs a file. Windows syncs only what was opened to be written.
func syncFile(name string) error { return syncOpened(name, os.O_RDWR) }

// syncOpened syncs a file or a folder; one that the database has removed meanwhile needs none.
func syncOpened(name string, mode int) error {
	f, err := os.OpenFile(name, mode, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
