package platform

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
)

// stateFolder is what a running application keeps: logs, databases, how to reach it. It is ".atoll" beside
// atoll.yaml, and ".atoll/copies/NAME" of an isolated copy.
const stateFolder = ".atoll"

// StateDir is the state folder of the application in dir, or of a copy of it.
func StateDir(dir, copyName string) string {
	if copyName != "" {
		return filepath.Join(dir, stateFolder, "copies", copyName)
	}
	return filepath.Join(dir, stateFolder)
}

// Copies lists the isolated copies that have a state folder.
func Copies(dir string) []string {
	entries, err := os.ReadDir(filepath.Join(dir, stateFolder, "copies"))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names
}

// state is a state folder that this process holds.
type state struct {
	dir  string
	lock *os.File
}

// takeState makes the folder and holds it; a fault with the code already-running says that another does.
func takeState(dir string) (*state, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state folder: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("*\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write state folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := takeLock(lock); err != nil {
		lock.Close()
		return nil, fault.New(fault.CodeAlreadyRunning, "the application runs already").
			Fix("use the one that runs (atoll ps), end it with atoll down, or start a copy beside it with atoll up --isolated").
			Because(err)
	}
	return &state{dir: dir, lock: lock}, nil
}

// takeLock takes the lock. Of an Atoll that was killed while it started a process, that process has the lock for a moment more, until its program
// is loaded; so one that is taken is tried again for half a second.
func takeLock(lock *os.File) (err error) {
	for range 10 {
		if err = lockFile(lock); err == nil {
			return nil
		}
		<-time.After(50 * time.Millisecond)
	}
	return err
}

func (s *state) path(name string) string { return filepath.Join(s.dir, name) }

// release gives the folder up.
func (s *state) release() error {
	return errors.Join(removeIfThere(s.path(api.RunFile)), s.lock.Close())
}

func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// writeRun tells how the application is reached: whole or not at all, since others read it at any time.
func (s *state) writeRun(run *api.Run) error {
	text, err := json.MarshalIndent(run, "", "  ")
	if err != nil {
		return fmt.Errorf("encode run file: %w", err)
	}
	temp := s.path(api.RunFile + ".new")
	if err := os.WriteFile(temp, text, 0o600); err != nil {
		return fmt.Errorf("write run file: %w", err)
	}
	if err := os.Rename(temp, s.path(api.RunFile)); err != nil {
		return fmt.Errorf("put run file in place: %w", err)
	}
	return nil
}

// socketPath is where the control socket is made: in the state folder, unless that is too deep for the address of a
// unix socket, which holds about a hundred bytes.
func (s *state) socketPath() string {
	const limit = 100
	path := s.path("control.sock")
	if len(path) <= limit {
		return path
	}
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(os.TempDir(), "atoll-"+hex.EncodeToString(sum[:8])+".sock")
}
