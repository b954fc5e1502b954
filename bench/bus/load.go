package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	payload     = 256 // bytes of an event's data
	connections = 8   // that publishers over NATS and AMQP share
	warmUp      = 200 * time.Millisecond
	tick        = 10 * time.Millisecond // of the kernel's account of CPU time (USER_HZ)
)

// measure lets n publishers publish for a while and notes how many events a second, and what each cost.
func (s *subject) measure(ctx context.Context, n int, each time.Duration) error {
	publishers, end, err := s.open(ctx, n)
	if err != nil {
		return err
	}
	defer end()
	var count atomic.Int64
	var stopped atomic.Bool
	failed := make(chan error, n)
	var wait sync.WaitGroup
	for _, publish := range publishers {
		wait.Go(func() {
			for !stopped.Load() {
				if err := publish(); err != nil {
					failed <- err
					return
				}
				count.Add(1)
			}
		})
	}
	if err := pause(ctx, warmUp); err != nil {
		return err
	}
	cpu, err := cpuTime(s.pid())
	if err != nil {
		return err
	}
	from, began := count.Load(), time.Now()
	err = pause(ctx, each)
	events, took := float64(count.Load()-from), time.Since(began)
	used, cpuErr := cpuTime(s.pid())
	stopped.Store(true)
	wait.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	if err := errors.Join(err, cpuErr); err != nil {
		return err
	}
	s.rate[n] = append(s.rate[n], events/took.Seconds())
	s.cpu[n] = append(s.cpu[n], float64((used-cpu).Microseconds())/events)
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// cpuTime is the time that a process has had of the processors (proc_pid_stat(5), utime and stime).
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// syncTime is what the disk takes to make a small write durable, in ms.
func syncTime(dir string) (float64, error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return 0, fmt.Errorf("measure disk: %w", err)
	}
	defer f.Close()
	const times = 200
	began := time.Now()
	for range times {
		if _, err := f.Write(make([]byte, payload)); err != nil {
			return 0, fmt.Errorf("measure disk: %w", err)
		}
		if err := f.Sync(); err != nil {
			return 0, fmt.Errorf("measure disk: %w", err)
		}
	}
	return float64(time.Since(began).Microseconds()) / times / microPerMS, nil
}
