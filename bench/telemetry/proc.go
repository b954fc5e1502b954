package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	tick = 10 * time.Millisecond // of the kernel's account of CPU time (USER_HZ)
	mega = 1 << 20
	kilo = 1 << 10
)

// Fields of /proc/PID/stat after the name (proc_pid_stat(5)).
const (
	statUser   = 11
	statSystem = 12
)

// cpuTime is the time that a process has had of the processors.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var sum time.Duration
	for _, f := range []string{fields[statUser], fields[statSystem]} {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// memory is what /proc/PID/status says, in MB.
type memory struct{ resident, peak, anonymous float64 }

func memoryOf(pid int) (m memory, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, fmt.Errorf("read memory: %w", err)
	}
	into := map[string]*float64{"VmRSS:": &m.resident, "VmHWM:": &m.peak, "RssAnon:": &m.anonymous}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 || into[f[0]] == nil {
			continue
		}
		n, err := strconv.ParseFloat(f[1], 64)
		if err != nil {
			return m, fmt.Errorf("read memory: %w", err)
		}
		*into[f[0]] = n * kilo / mega
	}
	return m, nil
}

// watch looks at the memory of a process ten times a second until stop, which returns the most that it had meanwhile.
func watch(ctx context.Context, pid int) (stop func() memory) {
	ctx, cancel := context.WithCancel(ctx)
	var most memory
	var wait sync.WaitGroup
	look := func() {
		if m, err := memoryOf(pid); err == nil { // a process that is gone is noticed elsewhere
			most.resident, most.peak, most.anonymous = max(most.resident, m.resident), max(most.peak, m.peak), max(most.anonymous, m.anonymous)
		}
	}
	look()
	wait.Go(func() {
		for pause(ctx, 100*time.Millisecond) == nil {
			look()
		}
	})
	return func() memory {
		cancel()
		wait.Wait()
		look()
		return most
	}
}

// allocated is how many bytes of the disk the files below a folder take. Some are made larger than what is in them.
func allocated(dir string) (bytes int64, err error) {
	const unit = 512 // of st_blocks
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			bytes += s.Blocks * unit
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("look at files: %w", err)
	}
	return bytes, nil
}

const (
	idleShare  = 0.03 // of a processor
	idlePeriod = 500 * time.Millisecond
)

// settle waits until a process does next to nothing, as long as most.
func settle(ctx context.Context, pid int, most time.Duration) error {
	ends := time.Now().Add(most)
	for time.Now().Before(ends) {
		before, err := cpuTime(pid)
		if err != nil {
			return err
		}
		if err := pause(ctx, idlePeriod); err != nil {
			return err
		}
		after, err := cpuTime(pid)
		if err != nil {
			return err
		}
		if float64(after-before) <= idleShare*float64(idlePeriod) {
			return nil
		}
	}
	return nil
}

// build builds a program, as it is released, in a folder, or in this one.
func build(ctx context.Context, program, source, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, source)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s (in the folder of Atoll's source?): %w\n%.2000s", source, err, out)
	}
	return nil
}

// end ends a process that was started here.
func end(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", cmd.Path, err)
	}
	_ = cmd.Wait() // it says how it was ended
	return nil
}
