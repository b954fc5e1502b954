package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/atollhq/atoll/internal/control/api"
)

// application is almost empty: one service, which is this program and only listens.
const application = `app: bench
services:
  - {service: idle, dir: ., run: %q}
gateway: {listen: "127.0.0.1:0", routes: [{path: /**, to: idle}]}
telemetry:
  otlp: {grpc: %q, http: %q}
  keep: {age: 720h, size: 100GB}
  limits: {spans: 10000000, logs: 10000000}
`

// idle is the argument with which this program is the service of the application.
const idle = "idle"

// serveIdle listens at PORT until ctx ends.
func serveIdle(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })() // it is to end
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		c.Close()
	}
}

// app is a running application.
type app struct {
	server

	program, dir, socket string
}

// startApp starts an application in a folder that does not exist yet.
func startApp(ctx context.Context, program, dir string) (*app, error) {
	a := &app{program: program, dir: dir, server: server{name: nameAtoll}}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	if a.grpc, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	if a.http, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	err = os.MkdirAll(dir, 0o750)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "atoll.yaml"), fmt.Appendf(nil, application, self+" "+idle, a.grpc, a.http), 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("write application: %w", err)
	}
	if out, err := exec.CommandContext(ctx, program, "-C", dir, "up", "-d").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("atoll up: %w\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, ".atoll", api.RunFile))
	var run api.Run
	if err == nil {
		err = json.Unmarshal(text, &run)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read run file: %w", err), a.down(ctx))
	}
	a.pid, a.socket = run.PID, run.Socket
	return a, nil
}

// down ends the application, whether ctx has ended or not.
func (a *app) down(ctx context.Context) error {
	if out, err := exec.CommandContext(context.WithoutCancel(ctx), a.program, "-C", a.dir, "down").CombinedOutput(); err != nil {
		return fmt.Errorf("atoll down: %w\n%s", err, out)
	}
	return nil
}

// kept is what lies on disk of one signal.
type kept struct {
	rows, bytes int64 // in blocks
	log         int64 // bytes in the write-ahead log, which are of rows that are not in blocks yet
}

// kept looks at the blocks of a signal; each says how many rows it has.
func (a *app) kept(signal string) (k kept, err error) {
	dir := filepath.Join(a.dir, ".atoll", "telemetry", signal)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !strings.HasSuffix(path, ".parquet") {
			k.log += info.Size()
			return nil
		}
		rows, err := rowsOf(path, info.Size())
		k.rows, k.bytes = k.rows+rows, k.bytes+info.Size()
		return err
	})
	if err != nil {
		return k, fmt.Errorf("look at blocks: %w", err)
	}
	return k, nil
}

// perSpan is how many bytes of blocks a span takes.
func (a *app) perSpan() (float64, error) {
	k, err := a.kept("spans")
	if err == nil && k.rows == 0 {
		err = errors.New("no span is in a block yet: load more")
	}
	return float64(k.bytes) / float64(k.rows), err
}

func rowsOf(path string, size int64) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	p, err := parquet.OpenFile(f, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	return p.NumRows(), nil
}

func freeAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find port: %w", err)
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}
