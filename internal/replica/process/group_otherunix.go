//go:build unix && !linux

package process

import (
	"os/exec"
	"syscall"
)

// prepare gives the process a group of its own.
func prepare(cmd *exec.Cmd, _ *cgroup) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
