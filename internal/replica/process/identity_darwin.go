package process

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// startTime is when a process started, in microseconds; false if there is no such process.
func startTime(pid int) (uint64, bool) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(info.Proc.P_pid) != pid || info.Proc.P_stat == 5 { // 5 is SZOMB
		return 0, false
	}
	t := info.Proc.P_starttime
	return uint64(t.Sec)*1e6 + uint64(t.Usec), true
}

// bootID names this boot of the system.
func bootID() string {
	t, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return ""
	}
	return strconv.FormatInt(t.Sec, 10)
}

// strays cannot be told apart here.
func strays(int, string) []int { return nil }
