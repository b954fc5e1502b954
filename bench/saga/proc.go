package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	tick       = 10 * time.Millisecond // of the kernel's account of CPU time (USER_HZ)
	microPerMS = 1000
)

// Fields of /proc/PID/stat after the name (proc_pid_stat(5)).
const (
	statParent = 1
	statUser   = 11
	statSystem = 12
	statEnded  = 13 // user and system time of children that have ended, this one and the next
)

func stat(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, fmt.Errorf("read CPU time: %w", err)
	}
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])), nil
}

func ticks(fields ...string) (time.Duration, error) {
	var sum time.Duration
	for _, f := range fields {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// cpuTime is the time that a process has had of the processors.
func cpuTime(pid int) (time.Duration, error) {
	f, err := stat(pid)
	if err != nil {
		return 0, err
	}
	return ticks(f[statUser], f[statSystem])
}

// familyTime is the time of a process and its children, those included that have ended.
func familyTime(pid int) (time.Duration, error) {
	f, err := stat(pid)
	if err != nil {
		return 0, err
	}
	sum, err := ticks(f[statUser], f[statSystem], f[statEnded], f[statEnded+1])
	if err != nil {
		return 0, err
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	for _, path := range all {
		child, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			continue
		}
		f, err := stat(child)
		if err != nil || f[statParent] != strconv.Itoa(pid) {
			continue // another's, or gone meanwhile
		}
		t, err := ticks(f[statUser], f[statSystem])
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// end ends a process that was started here.
func end(cmd *exec.Cmd, signal syscall.Signal) error {
	if err := cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", cmd.Path, err)
	}
	_ = cmd.Wait() // it says how it was ended
	return nil
}
