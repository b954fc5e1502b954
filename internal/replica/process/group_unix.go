//go:build unix

package process

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/replica"
)

func terminateGroup(g *group) error { return signalGroup(g.pid, unix.SIGTERM) }
func killGroup(g *group) error      { return signalGroup(g.pid, unix.SIGKILL) }

// signalGroup sends a signal to every process of a group; a group that is empty is nothing to complain of.
func signalGroup(pgid int, sig unix.Signal) error {
	err := unix.Kill(-pgid, sig)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EPERM) && !alive(pgid) { // darwin says EPERM of zombies
		return nil
	}
	return os.NewSyscallError("kill", err)
}

func alive(pid int) bool { return unix.Kill(pid, 0) == nil }

// exitOf reads a process's end.
func exitOf(state *os.ProcessState) replica.Exit {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return replica.Exit{Code: -1, Signal: unix.SignalName(ws.Signal())}
	}
	return replica.Exit{Code: state.ExitCode()}
}

// enclosure is what holds a group together where process groups do not.
type enclosure struct{}

func enclose(int) (enclosure, error) { return enclosure{}, nil }
func (enclosure) close()             {}
