// Package rig builds the programs that the suites test and finds the processes that an application has, so that
// tests can prove that none is left.
package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/atollhq/atoll/internal/control/api"
)

// Programs are the programs under test.
type Programs struct {
	Dir     string // holds them, to be put into PATH
	Atoll   string
	Service string // testsvc
}

// Build builds atoll, with the race detector, and testsvc into dir.
func Build(ctx context.Context, dir string) (*Programs, error) {
	p := &Programs{Dir: dir, Atoll: filepath.Join(dir, "atoll"), Service: filepath.Join(dir, "testsvc")}
	for _, args := range [][]string{
		{"-race", "-ldflags", "-X main.version=v0-test", "-o", p.Atoll, "github.com/atollhq/atoll/cmd/atoll"},
		{"-o", p.Service, "github.com/atollhq/atoll/test/testsvc"},
	} {
		cmd := exec.CommandContext(ctx, "go", append([]string{"build"}, args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", args[len(args)-1], err, out)
		}
	}
	return p, nil
}

// ReadRun reads how the application whose state folder is given is reached.
func ReadRun(state string) (*api.Run, error) {
	text, err := os.ReadFile(filepath.Join(state, api.RunFile))
	if err != nil {
		return nil, err
	}
	var run api.Run
	if err := json.Unmarshal(text, &run); err != nil {
		return nil, fmt.Errorf("read run file: %w", err)
	}
	return &run, nil
}

// Process is a process as the system tells it apart from a later one with the same pid.
type Process struct {
	PID     int
	Parent  int
	Start   uint64 // in ticks of the system's clock
	Command string
}

// Alive tells whether the process still runs. One that has ended and was not yet asked for its code does not.
func (p Process) Alive() bool {
	now, state, err := stat(p.PID)
	return err == nil && now.Start == p.Start && state != "Z" && state != "X"
}

// Kill kills the process, if it still runs.
func (p Process) Kill() error {
	if !p.Alive() {
		return nil
	}
	return syscall.Kill(p.PID, syscall.SIGKILL)
}

func (p Process) String() string { return fmt.Sprintf("%d (%s)", p.PID, p.Command) }

// Processes lists all running processes for which keep holds.
func Processes(keep func(Process) bool) ([]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var found []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p, state, err := stat(pid)
		if err == nil && state != "Z" && keep(p) { // one that has ended meanwhile is none
			found = append(found, p)
		}
	}
	return found, nil
}

// Family lists a process and all that descend from it.
func Family(pid int) ([]Process, error) {
	all, err := Processes(func(Process) bool { return true })
	if err != nil {
		return nil, err
	}
	in := map[int]bool{pid: true}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if in[p.Parent] && !in[p.PID] {
				in[p.PID], grown = true, true
			}
		}
	}
	var family []Process
	for _, p := range all {
		if in[p.PID] {
			family = append(family, p)
		}
	}
	return family, nil
}

// Services lists the processes that run as a service of an application below dir: those with ATOLL_SERVICE in their
// environment and a working folder there.
func Services(dir string) ([]Process, error) {
	return Processes(func(p Process) bool {
		proc := filepath.Join("/proc", strconv.Itoa(p.PID))
		cwd, err := os.Readlink(filepath.Join(proc, "cwd"))
		if err != nil || cwd != dir && !strings.HasPrefix(cwd, dir+"/") {
			return false
		}
		env, err := os.ReadFile(filepath.Join(proc, "environ"))
		return err == nil && strings.Contains("\x00"+string(env), "\x00ATOLL_SERVICE=")
	})
}

// stat reads a process from /proc/PID/stat (proc_pid_stat(5)).
func stat(pid int) (p Process, state string, err error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return p, "", err
	}
	open, end := strings.IndexByte(string(text), '('), strings.LastIndexByte(string(text), ')')
	fields := strings.Fields(string(text[end+1:]))
	if open < 0 || end < open || len(fields) < 20 {
		return p, "", fmt.Errorf("read process %d: its stat has another form", pid)
	}
	p = Process{PID: pid, Command: string(text[open+1 : end])}
	if p.Parent, err = strconv.Atoi(fields[1]); err != nil {
		return p, "", fmt.Errorf("read parent of process %d: %w", pid, err)
	}
	p.Start, err = strconv.ParseUint(fields[19], 10, 64)
	return p, fields[0], err
}
