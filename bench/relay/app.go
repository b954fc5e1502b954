package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
)

// application has two services, which are this program.
const application = `app: bench
services:
  - {service: front, dir: ., run: %q, calls: [back]}
  - {service: back, dir: ., run: %q}
gateway: {listen: %q, access_log: %t, routes: [{path: /**, to: front}]}
telemetry:
  otlp: {grpc: "127.0.0.1:0", http: "127.0.0.1:0"}
`

// The arguments with which this program is a service, which answers a few bytes. The front asks the back before.
const (
	roleFront = "front"
	roleBack  = "back"
	hops      = 2
)

// serve is a service, until ctx ends.
func serve(ctx context.Context, role string) error {
	back := os.Getenv("BACK_URL")
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if role == roleFront {
			if err := get(r.Context(), client, back+"/stock/4711"); err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
		}
		_, _ = io.WriteString(w, "in stock\n") // who asked may be gone
	})
	srv := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: handler, ReadHeaderTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })() // it is to end
	if err := srv.ListenAndServe(); ctx.Err() == nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func get(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("ask: %s: %.200s", res.Status, body)
	}
	return nil
}

// load asks on so many connections for some time, each again when it is answered.
func load(ctx context.Context, url string, connections int, d time.Duration) (requests int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	transport := &http.Transport{MaxIdleConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	ends := time.Now().Add(d)
	var n atomic.Int64
	var wait sync.WaitGroup
	for range connections {
		wait.Go(func() {
			for time.Now().Before(ends) && ctx.Err() == nil {
				if err := get(ctx, client, url); err != nil {
					cancel(err)
					return
				}
				n.Add(1)
			}
		})
	}
	wait.Wait()
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	return n.Load(), nil
}

// app is a running application.
type app struct {
	program, dir, profiles, url string
	pid                         int
}

// startApp starts the application in a folder that does not exist yet.
func startApp(ctx context.Context, program, dir, profiles string, accessLog bool) (*app, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	a := &app{program: program, dir: dir, url: "http://" + address + "/orders/4711"}
	err = errors.Join(os.MkdirAll(dir, 0o750), os.MkdirAll(profiles, 0o750))
	if err == nil {
		a.profiles, err = os.MkdirTemp(profiles, filepath.Base(dir)+"-") // in which nothing of another run is
	}
	if err == nil {
		text := fmt.Appendf(nil, application, self+" "+roleFront, self+" "+roleBack, address, accessLog)
		err = os.WriteFile(filepath.Join(dir, "atoll.yaml"), text, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("write application: %w", err)
	}
	up := exec.CommandContext(ctx, program, "-C", dir, "up", "-d")
	up.Env = append(os.Environ(), "ATOLL_BENCH_PROFILES="+a.profiles)
	if out, err := up.CombinedOutput(); err != nil {
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
	a.pid = run.PID
	return a, nil
}

// down ends the application, whether ctx has ended or not.
func (a *app) down(ctx context.Context) error {
	if out, err := exec.CommandContext(context.WithoutCancel(ctx), a.program, "-C", a.dir, "down").CombinedOutput(); err != nil {
		return fmt.Errorf("atoll down: %w\n%s", err, out)
	}
	return nil
}

func build(ctx context.Context, program, source string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s (in the folder of Atoll's source?): %w\n%s", source, err, strings.TrimSpace(string(out)))
	}
	return nil
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

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
