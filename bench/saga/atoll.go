package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	control "github.com/atollhq/atoll/internal/control/client"
)

const application = `app: %[2]s
services:
  - {service: work, dir: ., run: %[1]q, ready: /about}
  - {service: stuck, dir: ., run: %[1]q, ready: /about}
  - {service: driver, dir: ., run: %[1]q, ready: /about, sagas: [five, hangs]}
gateway:
  listen: 127.0.0.1:0
  routes: [{path: /steps/**, to: work, strip: /steps}, {path: /driver/**, to: driver, strip: /driver}]
sagas: ["sagas/*.yaml"]
%[3]s`

// five is the saga that is measured. Each step can be undone, and takes its body from the input by an expression.
func five() string {
	var b strings.Builder
	b.WriteString(`saga: five
owner: bench
input:
  type: object
  required: [order, amount]
  properties: {order: {type: string}, amount: {type: integer}}
key: "${input.order}"
steps:
`)
	for i := 1; i <= steps; i++ {
		fmt.Fprintf(&b, `  - step: s%d
    do: {call: POST work/step, body: {order: "${input.order}", amount: "${input.amount}"}}
    undo: {call: POST work/undo, body: {order: "${input.order}"}}
`, i)
	}
	return b.String()
}

// hangs is a saga whose only step is never answered.
const hangs = `saga: hangs
owner: bench
steps:
  - {step: wait, do: POST stuck/hang, undo: none, timeout: 1h}
`

const (
	steps = 5
	saga5 = "five"
)

// programs are what is built and run.
type programs struct{ atoll, service, calls string }

func buildAll(ctx context.Context, dir string) (programs, error) {
	p := programs{filepath.Join(dir, "atoll"), filepath.Join(dir, "service"), filepath.Join(dir, "calls")}
	for program, source := range map[string]string{p.atoll: "./cmd/atoll", p.service: "./bench/saga/service", p.calls: "./bench/saga/calls"} {
		if err := build(ctx, program, source, ""); err != nil {
			return p, err
		}
	}
	return p, nil
}

// build builds a program, as it is released, in a folder, or in this one.
func build(ctx context.Context, program, source, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, source)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s (in the folder of Atoll's source?): %w\n%s", source, err, out)
	}
	return nil
}

// app is a running application.
type app struct {
	program, dir string
	pid, work    int    // of Atoll, and of the service that takes the steps
	sagas        string // host and port of SAGAS_URL
}

// startApp starts an application that keeps sagas in SQLite, or at the URL of a database in PostgreSQL.
func startApp(ctx context.Context, p programs, dir, database string) (*app, error) {
	a := &app{program: p.atoll, dir: dir}
	store := ""
	if database != "" {
		store = fmt.Sprintf("saga_store: {database: %q}\n", database)
	}
	text := fmt.Sprintf(application, p.service, filepath.Base(dir), store)
	folder := filepath.Join(dir, "sagas")
	err := os.MkdirAll(folder, 0o750)
	for name, text := range map[string]string{filepath.Join(dir, "atoll.yaml"): text, filepath.Join(folder, "five.yaml"): five(), filepath.Join(folder, "hangs.yaml"): hangs} {
		err = errors.Join(err, os.WriteFile(name, []byte(text), 0o600))
	}
	if err != nil {
		return nil, fmt.Errorf("write application: %w", err)
	}
	return a, a.up(ctx)
}

// up starts the application, for the first time or again.
func (a *app) up(ctx context.Context) error {
	if out, err := exec.CommandContext(ctx, a.program, "-C", a.dir, "up", "-d").CombinedOutput(); err != nil {
		return fmt.Errorf("atoll up: %w\n%s", err, out)
	}
	if err := a.look(ctx); err != nil {
		return errors.Join(err, a.down(ctx))
	}
	return nil
}

// down ends the application, whether ctx has ended or not.
func (a *app) down(ctx context.Context) error {
	if out, err := exec.CommandContext(context.WithoutCancel(ctx), a.program, "-C", a.dir, "down").CombinedOutput(); err != nil {
		return fmt.Errorf("atoll down: %w\n%s", err, out)
	}
	return nil
}

// look finds the addresses and processes of the running application.
func (a *app) look(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(a.dir, ".atoll", api.RunFile))
	if err != nil {
		return fmt.Errorf("read run file: %w", err)
	}
	var run api.Run
	if err := json.Unmarshal(text, &run); err != nil {
		return fmt.Errorf("read run file: %w", err)
	}
	a.pid = run.PID
	client, err := control.Dial(ctx, filepath.Join(a.dir, ".atoll"))
	if err != nil {
		return fmt.Errorf("ask Atoll: %w", err)
	}
	defer client.Close()
	info, err := client.App(ctx)
	if err != nil {
		return fmt.Errorf("ask Atoll: %w", err)
	}
	driver, err := about(ctx, info.Gateway+"/driver/about")
	if err != nil {
		return err
	}
	work, err := about(ctx, info.Gateway+"/steps/about")
	if err != nil {
		return err
	}
	u, err := url.Parse(driver.Sagas)
	if err != nil {
		return fmt.Errorf("read SAGAS_URL: %w", err)
	}
	a.sagas, a.work = u.Host, work.PID
	return nil
}

// file is where sagas are kept in SQLite.
func (a *app) file() string { return filepath.Join(a.dir, ".atoll", "sagas", "sagas.db") }

type aboutService struct {
	PID   int    `json:"pid"`
	Sagas string `json:"sagas"`
}

func about(ctx context.Context, url string) (out aboutService, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return out, err
	}
	res, err := new(http.Client).Do(req)
	if err != nil {
		return out, fmt.Errorf("ask service: %w", err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("ask service: %w", err)
	}
	return out, nil
}
