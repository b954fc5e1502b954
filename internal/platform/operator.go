package platform

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// maxOperatorLog is how large the operator's log grows before it is moved to atoll.log.1, whose place it takes.
const maxOperatorLog = 8 << 20

// OperatorLog is the file atoll.log of a state folder: what operators see and users do not. It is safe for
// concurrent use and takes at most twice maxOperatorLog.
type OperatorLog struct {
	name string
	mu   sync.Mutex
	file *os.File // guarded by mu
	size int64    // guarded by mu
}

// OpenOperatorLog opens the log in a state folder, which it makes if need be.
func OpenOperatorLog(dir string) (*OperatorLog, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state folder: %w", err)
	}
	l := &OperatorLog{name: filepath.Join(dir, "atoll.log")}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

// open opens the file. The caller holds mu or is alone.
func (l *OperatorLog) open() error {
	file, err := os.OpenFile(l.name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open operator's log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return fmt.Errorf("look at operator's log: %w", err)
	}
	l.file, l.size = file, info.Size()
	return nil
}

// Write appends a line.
func (l *OperatorLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > maxOperatorLog {
		l.file.Close()
		if err := os.Rename(l.name, l.name+".1"); err != nil {
			return 0, fmt.Errorf("move operator's log: %w", err)
		}
		if err := l.open(); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(line)
	l.size += int64(n)
	return n, err
}

// Close closes the file.
func (l *OperatorLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
