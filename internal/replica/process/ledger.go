package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ledgerName is the file, in the driver's folder, that names the processes.
const ledgerName = "processes.jsonl"

// entry is one process, a line of the ledger.
type entry struct {
	PID     int    `json:"pid"`
	Start   uint64 `json:"start"` // start time in the system's unit
	Boot    string `json:"boot"`
	Service string `json:"service"`
	Replica string `json:"replica,omitempty"` // "" for a build

	Owner      int    `json:"owner"` // the Atoll that started it
	OwnerStart uint64 `json:"owner_start"`
}

// ledger is the file of the processes that run. The file is replaced whole at each change, so that it is
// never half a file after a kill -9. It is not synced: what it says means nothing after a reboot.
type ledger struct {
	path       string // "" keeps none
	boot       string
	owner      int
	ownerStart uint64

	mu      sync.Mutex // guards entries and the file
	entries []entry
}

// openLedger begins a ledger. What an earlier one says is lost with the first entry: CleanLeftovers comes
// before.
func openLedger(dir string) (*ledger, error) {
	if dir == "" {
		return &ledger{}, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the driver's folder: %w", err)
	}
	l := &ledger{path: filepath.Join(dir, ledgerName), boot: bootID(), owner: os.Getpid()}
	l.ownerStart, _ = startTime(l.owner)
	return l, nil
}

func (l *ledger) add(e entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Boot, e.Owner, e.OwnerStart = l.boot, l.owner, l.ownerStart
	l.entries = append(l.entries, e)
	return l.write()
}

func (l *ledger) remove(pid int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.entries[:0]
	for _, e := range l.entries {
		if e.PID != pid {
			kept = append(kept, e)
		}
	}
	l.entries = kept
	return l.write()
}

// close removes the file if nothing runs any more.
func (l *ledger) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.path == "" || len(l.entries) > 0 {
		return nil
	}
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the ledger: %w", err)
	}
	return nil
}

// write replaces the file; mu is held.
func (l *ledger) write() error {
	if l.path == "" {
		return nil
	}
	return writeLedger(l.path, l.entries)
}

func writeLedger(path string, entries []entry) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, e := range entries {
		if err := enc.Encode(e); err != nil {
			return fmt.Errorf("write the ledger: %w", err)
		}
	}
	if err := os.WriteFile(path+".new", b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("replace the ledger: %w", err)
	}
	return nil
}

func readLedger(path string) ([]entry, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	var entries []entry
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var e entry
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.PID > 1 { // a line that somebody damaged names nothing
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// CleanLeftovers ends what an earlier run with that folder left running, and returns the number of process
// groups, and of processes outside of them, that it ended. A process is recognised by pid, start time and
// boot; of a group whose first process is gone, the rest by the replica in its environment; on Linux, whatever
// else there is by the mark in its environment. What belongs to an Atoll that still runs is left
// alone. It is to be called before New, and returns when what it killed is gone or the context has ended.
func CleanLeftovers(ctx context.Context, dir string, logger *slog.Logger) (int, error) {
	folder, err := markFolder(dir)
	if err != nil {
		return 0, err
	}
	n, err := cleanLedger(ctx, filepath.Join(dir, ledgerName), logger)
	if strays := sweepLeftovers(ctx, ofTheDead(folder)); strays > 0 {
		n += strays
		if logger != nil {
			logger.Info("ended what an earlier run left outside of its groups", "processes", strays)
		}
	}
	return n, err
}

// cleanLedger ends what a ledger names.
func cleanLedger(ctx context.Context, path string, logger *slog.Logger) (int, error) {
	entries, err := readLedger(path)
	if err != nil || len(entries) == 0 {
		return 0, err
	}
	boot := bootID()
	n := 0
	var kept []entry
	for _, e := range entries {
		switch {
		case e.Boot != boot:
		case runs(e.Owner, e.OwnerStart):
			kept = append(kept, e)
		case endLeftover(ctx, e):
			n++
			if logger != nil {
				logger.Info("ended what an earlier run left", "service", e.Service, "replica", e.Replica, "pid", e.PID)
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return n, err // the file stays as it is, for the next time
	}
	if len(kept) > 0 {
		return n, writeLedger(path, kept)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return n, fmt.Errorf("remove the ledger: %w", err)
	}
	return n, nil
}

// runs tells whether a pid still stands for the process that started then.
func runs(pid int, start uint64) bool {
	now, ok := startTime(pid)
	return ok && start != 0 && now == start
}

// endLeftover kills what is left of an entry, waits until it is gone, and tells whether there was anything.
func endLeftover(ctx context.Context, e entry) bool {
	left := func() []int { return strays(e.PID, e.Replica) }
	if runs(e.PID, e.Start) {
		left = func() []int {
			if runs(e.PID, e.Start) {
				return []int{-e.PID}
			}
			return strays(e.PID, e.Replica)
		}
	} else if _, other := startTime(e.PID); other {
		return false // the pid was given to somebody else
	}
	pids := left()
	if len(pids) == 0 {
		return false
	}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for ; len(pids) > 0; pids = left() {
		for _, pid := range pids {
			killPID(pid)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return true
		}
	}
	return true
}
