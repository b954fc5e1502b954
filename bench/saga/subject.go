package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // to ask how large a file is
)

// shape is how it is measured.
type shape struct {
	clients    int
	warm, each time.Duration
	pace       float64 // sagas a second at most; 0 means as many as there can be
}

// subject is something that runs sagas, under measurement.
type subject struct {
	name string
	run  func(ctx context.Context, s shape, mark func() error) (window, error)
	// cpu tells how much time the parts have had of the processors, by their names.
	cpu  map[string]func() (time.Duration, error)
	size func(ctx context.Context) (int64, error) // bytes that are kept; nil where nothing is
	stop func() error
	slow bool // so slow that it takes longer to measure

	rate, p50, p99, bytes []float64
	used                  map[string][]float64 // µs a saga, by part
}

// What a slow subject gets: more than one of its workflows takes, since those end in bursts at first.
const (
	slowWarm = 16 * time.Second
	slowEach = 16 * time.Second
)

// Parts whose time is told apart.
const (
	partEngine   = "engine"
	partPostgres = "Postgres"
	partService  = "service"
	partLoad     = "load"
)

func (s *subject) measure(ctx context.Context, sh shape) error {
	if s.slow {
		sh.warm, sh.each = max(sh.warm, slowWarm), max(sh.each, slowEach)
	}
	var before, after int64
	var err error
	if s.size != nil {
		if before, err = s.size(ctx); err != nil {
			return err
		}
	}
	var marks []map[string]time.Duration
	w, err := s.run(ctx, sh, func() error {
		now := map[string]time.Duration{}
		for part, f := range s.cpu {
			t, err := f()
			if err != nil {
				return err
			}
			now[part] = t
		}
		marks = append(marks, now)
		return nil
	})
	if err != nil {
		return err
	}
	s.rate, s.p50, s.p99 = append(s.rate, float64(w.Count)/w.Took), append(s.p50, w.P50), append(s.p99, w.P99)
	for part := range s.cpu {
		s.used[part] = append(s.used[part], float64((marks[1][part]-marks[0][part]).Microseconds())/float64(w.Count))
	}
	if s.size == nil {
		return nil
	}
	after, err = s.size(ctx)
	s.bytes = append(s.bytes, float64(after-before)/float64(w.All))
	return err
}

// overSagas measures an application of Atoll.
func overSagas(ctx context.Context, name string, a *app) *subject {
	var numbers atomic.Int64
	return &subject{
		name: name, stop: func() error { return a.down(ctx) },
		run: func(ctx context.Context, s shape, mark func() error) (window, error) {
			return closed(ctx, a.sagas, s, &numbers, mark)
		},
		cpu: map[string]func() (time.Duration, error){partEngine: timeOf(a.pid), partService: timeOf(a.work), partLoad: timeOf(os.Getpid())},
	}
}

func timeOf(pid int) func() (time.Duration, error) {
	return func() (time.Duration, error) { return cpuTime(pid) }
}

// fileSize is how many bytes a file of SQLite has, what is still in its log included.
func fileSize(path string) func(context.Context) (int64, error) {
	return func(ctx context.Context) (n int64, err error) {
		db, err := sql.Open("sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(10000)")
		if err != nil {
			return 0, fmt.Errorf("look at sagas: %w", err)
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		if err := db.QueryRowContext(ctx, "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size").Scan(&n); err != nil {
			return 0, fmt.Errorf("look at sagas: %w", err)
		}
		return n, nil
	}
}

// process is a program that was started here, and says in its first line where it listens.
type process struct {
	cmd  *exec.Cmd
	in   *os.File
	out  *bufio.Reader
	said string
}

func startProcess(program string, environ []string, args ...string) (*process, error) {
	cmd := exec.Command(program, args...) //nolint:noctx // ended by stop
	cmd.Env, cmd.Stderr = append(os.Environ(), environ...), os.Stderr
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	defer theirs.Close()
	cmd.Stdin = theirs
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", program, err), ours.Close())
	}
	p := &process{cmd: cmd, in: ours, out: bufio.NewReader(out)}
	if p.said, err = p.line(); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func (p *process) line() (string, error) {
	line, err := p.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%s ends: %w", filepath.Base(p.cmd.Path), err)
	}
	return strings.TrimSpace(line), nil
}

func (p *process) stop() error { return errors.Join(p.in.Close(), end(p.cmd, syscall.SIGTERM)) }

// startService runs the service by itself, for those that are no part of an application. It returns where it listens.
func startService(ctx context.Context, p programs) (cmd *exec.Cmd, addr string, err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", fmt.Errorf("find port: %w", err)
	}
	addr = ln.Addr().String()
	port := ln.Addr().(*net.TCPAddr).Port
	if err := ln.Close(); err != nil {
		return nil, "", fmt.Errorf("find port: %w", err)
	}
	cmd = exec.Command(p.service) //nolint:noctx // ended by its caller
	cmd.Env = append(os.Environ(), "PORT="+strconv.Itoa(port))
	if err := cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("start service: %w", err)
	}
	for limit := 100; ; limit-- {
		if _, err = about(ctx, "http://"+addr+"/about"); err == nil || limit == 0 {
			break
		}
		if err = pause(ctx, 20*time.Millisecond); err != nil {
			break
		}
	}
	if err != nil {
		return nil, "", errors.Join(err, end(cmd, syscall.SIGTERM))
	}
	return cmd, addr, nil
}

// onlyCalls measures the same calls without a saga: as many as there can be, and as many as the paced subject has made in the same round.
// A call costs more when fewer are made, since then each wakes its reader by itself.
func onlyCalls(p programs, service string, servicePID int, like *subject) (fast, paced *subject, err error) {
	c, err := startProcess(p.calls, nil, service)
	if err != nil {
		return nil, nil, err
	}
	var numbers atomic.Int64
	cpu := map[string]func() (time.Duration, error){partEngine: timeOf(c.cmd.Process.Pid), partService: timeOf(servicePID), partLoad: timeOf(os.Getpid())}
	fast = &subject{name: nameCalls, stop: c.stop, cpu: cpu, run: func(ctx context.Context, s shape, mark func() error) (window, error) {
		return closed(ctx, c.said, s, &numbers, mark)
	}}
	paced = &subject{name: nameCallsPaced, cpu: cpu, run: func(ctx context.Context, s shape, mark func() error) (window, error) {
		s.pace = like.rate[len(like.rate)-1]
		return closed(ctx, c.said, s, &numbers, mark)
	}}
	return fast, paced, nil
}
