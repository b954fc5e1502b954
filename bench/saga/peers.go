package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	peersFolder     = "bench/saga/peers"
	temporalVersion = "v1.5.1" // of github.com/temporalio/cli
	buildLimit      = 15 * time.Minute
)

// startPeers starts what others have made, each with a database of its own.
func (b *bench) startPeers(ctx context.Context, service string) {
	program := filepath.Join(b.dir, "peers")
	building, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	if err := build(building, program, ".", peersFolder); err != nil {
		for _, name := range []string{nameDBOS, nameRiver, nameTemporal} {
			b.lacks(name, err)
		}
		return
	}
	if b.server != nil {
		for name, kind := range map[string]string{nameDBOS: "dbos", nameRiver: "river"} {
			if err := b.startOnPostgres(ctx, program, name, kind, service); err != nil {
				b.lacks(name, err)
			}
		}
	}
	if err := b.startTemporal(building, program, service); err != nil {
		b.lacks(nameTemporal, err)
	}
	if err := b.startDTM(ctx, program, service); err != nil {
		b.lacks(nameDTM, err)
	}
}

// startOnPostgres starts a peer that is a library and keeps its state in PostgreSQL.
func (b *bench) startOnPostgres(ctx context.Context, program, name, kind, service string) error {
	url, err := b.server.database(ctx, kind)
	if err != nil {
		return err
	}
	p, err := startProcess(program, []string{"SERVICE=" + service, "DATABASE_URL=" + url}, kind)
	if err != nil {
		return err
	}
	s := b.peer(name, p)
	s.cpu[partPostgres], s.size = b.server.time, b.sizeOf(kind)
	return nil
}

// peer adds the subject that a process is.
func (b *bench) peer(name string, p *process) *subject {
	b.notes = append(b.notes, name+": "+p.said+".")
	s := &subject{name: name, run: p.measure, stop: p.stop, cpu: map[string]func() (time.Duration, error){
		partEngine: timeOf(p.cmd.Process.Pid), partService: timeOf(b.service.Process.Pid),
	}}
	b.add(s)
	return s
}

// measure asks a peer to run sagas.
func (p *process) measure(_ context.Context, s shape, mark func() error) (w window, err error) {
	if _, err := fmt.Fprintln(p.in, s.clients, s.warm.Milliseconds(), s.each.Milliseconds()); err != nil {
		return w, fmt.Errorf("ask peer: %w", err)
	}
	for _, want := range []string{"begin", "end"} {
		line, err := p.line()
		if err != nil {
			return w, err
		}
		if line != want {
			return w, fmt.Errorf("%s says %q, and not %s", filepath.Base(p.cmd.Path), line, want)
		}
		if err := mark(); err != nil {
			return w, err
		}
	}
	line, err := p.line()
	if err != nil {
		return w, err
	}
	if err := json.Unmarshal([]byte(line), &w); err != nil {
		return w, fmt.Errorf("read %q: %w", line, err)
	}
	return w, nil
}

// startTemporal starts Temporal's server for developers on a file of SQLite, by its command, which is built if it is not in PATH.
func (b *bench) startTemporal(ctx context.Context, program, service string) error {
	command, err := exec.LookPath("temporal")
	if err != nil {
		install := exec.CommandContext(ctx, "go", "install", "github.com/temporalio/cli/cmd/temporal@"+temporalVersion)
		install.Env = append(install.Environ(), "GOBIN="+b.dir, "GOFLAGS=")
		if out, err := install.CombinedOutput(); err != nil {
			return fmt.Errorf("build Temporal: %w: %.300s", err, out)
		}
		command = filepath.Join(b.dir, "temporal")
	}
	version, err := exec.CommandContext(ctx, command, "--version").Output()
	if err != nil {
		return fmt.Errorf("ask Temporal for its version: %w", err)
	}
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	server := exec.Command(command, "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", port, //nolint:noctx // ended by stop
		"--db-filename", filepath.Join(b.dir, "temporal.db"), "--log-level", "error")
	if err := server.Start(); err != nil {
		return fmt.Errorf("start Temporal: %w", err)
	}
	environ := []string{"SERVICE=" + service, "TARGET=127.0.0.1:" + port, "SERVER=CLI " + temporalVersion + ", " + strings.TrimSpace(string(version))}
	p, err := join(ctx, program, "temporal", "127.0.0.1:"+port, environ)
	if err != nil {
		return errors.Join(err, end(server, syscall.SIGTERM))
	}
	b.served(nameTemporal, p, server).slow = true
	return nil
}

// startDTM starts the server of DTM on its default store, boltdb. It is only found in PATH: see bench/README.md.
func (b *bench) startDTM(ctx context.Context, program, service string) error {
	command, err := exec.LookPath("dtm")
	if err != nil {
		return errors.New("there is no program dtm in PATH")
	}
	var ports [3]string
	for i := range ports {
		if ports[i], err = freePort(ctx); err != nil {
			return err
		}
	}
	dir := filepath.Join(b.dir, "dtm-data")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	server := exec.Command(command) //nolint:noctx // ended by stop
	server.Dir = dir
	server.Env = append(os.Environ(), "STORE_DRIVER=boltdb", "HTTP_PORT="+ports[0], "GRPC_PORT="+ports[1], "JSON_RPC_PORT="+ports[2], "LOG_LEVEL=error")
	if err := server.Start(); err != nil {
		return fmt.Errorf("start DTM: %w", err)
	}
	environ := []string{"SERVICE=" + service, "TARGET=127.0.0.1:" + ports[0], "SERVER=dtm v1.18.0 on boltdb, its default store"}
	p, err := join(ctx, program, "dtm", "127.0.0.1:"+ports[0], environ)
	if err != nil {
		return errors.Join(err, end(server, syscall.SIGTERM))
	}
	b.served(nameDTM, p, server)
	return nil
}

// served adds the subject that a client and a server are.
func (b *bench) served(name string, p *process, server *exec.Cmd) *subject {
	s := b.peer(name, p)
	s.stop = func() error { return errors.Join(p.stop(), end(server, syscall.SIGTERM)) }
	s.cpu[partEngine] = func() (time.Duration, error) {
		ours, err := cpuTime(p.cmd.Process.Pid)
		theirs, err2 := cpuTime(server.Process.Pid)
		return ours + theirs, errors.Join(err, err2)
	}
	return s
}

// join starts the client of a server once that takes connections.
func join(ctx context.Context, program, kind, target string, environ []string) (*process, error) {
	var d net.Dialer
	for limit := 300; ; limit-- {
		c, err := d.DialContext(ctx, "tcp", target)
		if err == nil {
			if err := c.Close(); err != nil {
				return nil, fmt.Errorf("connect to %s: %w", kind, err)
			}
			break
		}
		if limit == 0 {
			return nil, fmt.Errorf("connect to %s: %w", kind, err)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
	if err := pause(ctx, 2*time.Second); err != nil { // Temporal makes its namespace after it listens
		return nil, err
	}
	return startProcess(program, environ, kind)
}

func freePort(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find port: %w", err)
	}
	defer ln.Close()
	return ln.Addr().String()[strings.LastIndexByte(ln.Addr().String(), ':')+1:], nil
}
