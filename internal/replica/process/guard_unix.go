//go:build unix

package process

import (
	"os/signal"
	"syscall"
)

// detached puts a process into a session of its own, out of reach of the terminal.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func ignoreSignals() { signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE) }
