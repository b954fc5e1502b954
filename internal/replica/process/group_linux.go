package process

import (
	"errors"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// prepare gives the process a group of its own, makes it die with the thread that forks it, and has it begin
// in its cgroup (version 2).
func prepare(cmd *exec.Cmd, limits *cgroup) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if fd, ok := limits.descriptor(); ok {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, fd
	}
}

// awaitEnd waits until the process has ended and leaves it to be reaped.
func awaitEnd(pid int) {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return // another error: cmd.Wait meets it too
		}
	}
}
