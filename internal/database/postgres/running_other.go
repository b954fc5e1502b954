//go:build !linux

package postgres

import (
	"errors"
	"os"
	"syscall"
)

// running tells whether a process lives, whatever its program is.
func running(pid int, _ string) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, os.ErrPermission)
}
