package cli

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// detached cuts a process off from the console, so that it outlives it.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP}
}
