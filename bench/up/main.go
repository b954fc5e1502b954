// Command up measures what it costs to run an application: the time from the start of "atoll up" until every service
// is ready, the memory that Atoll takes for itself, the size of its program.
//
// There is no peer to measure beside: what starts processes alone (a Procfile runner) makes no gateway, no calls and
// no readiness, and what does more (Compose, a cluster) starts containers. So no figure has a baseline.
//
//	go run ./bench/up [--rounds 5] [--services 20] [--format text|json]
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/bench/internal/report"
	"github.com/atollhq/atoll/internal/control/api"
)

// service is the trivial service that is started many times over.
const service = `package main

import (
	"log"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	rounds := flags.Int("rounds", 5, "rounds, of which the median counts")
	services := flags.Int("services", 20, "services of the larger application")
	format := flags.String("format", "text", "text, or json: one object a line")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *rounds < 1 || *services < 1 || *services > 500 || *format != "text" && *format != "json" {
		return errors.New("choose at least one round, 1 to 500 services, and the format text or json")
	}
	b, err := prepare(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	results, err := b.measure(ctx, *rounds, *services)
	if err != nil {
		return err
	}
	return report.Write(out, *format, results)
}

// bench holds the programs that are measured.
type bench struct{ dir, atoll, service string }

// prepare builds Atoll as it is released, and the service.
func prepare(ctx context.Context) (*bench, error) {
	dir, err := os.MkdirTemp("", "bench-up")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	b := &bench{dir: dir, atoll: filepath.Join(dir, "atoll"), service: filepath.Join(dir, "service")}
	source := filepath.Join(dir, "main.go")
	err = os.WriteFile(source, []byte(service), 0o600)
	if err == nil {
		err = build(ctx, b.atoll, "./cmd/atoll")
	}
	if err == nil {
		err = build(ctx, b.service, source)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return b, nil
}

func build(ctx context.Context, program, source string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s (in the folder of Atoll's source?): %w\n%s", source, err, out)
	}
	return nil
}

// figure is a result without a goal, or with one: at most so much.
func figure(name, metric string, value float64, unit string, most float64) report.Result {
	r := report.Result{Case: name, Subject: "atoll", Metric: metric, Value: value, Unit: unit}
	if most > 0 {
		r = r.AtMost(most)
	}
	return r
}

const (
	mega       = 1 << 20
	goalReady  = 1.5 // s
	goalMemory = 80  // MB
	goalBinary = 40  // MB
	goalGone   = 2   // s
)

func (b *bench) measure(ctx context.Context, rounds, services int) ([]report.Result, error) {
	info, err := os.Stat(b.atoll)
	if err != nil {
		return nil, fmt.Errorf("look at program: %w", err)
	}
	one, many := b.application("one", 1), b.application("many", services)
	if err := errors.Join(one.write(b), many.write(b)); err != nil {
		return nil, err
	}
	for range rounds { // by turns, so that what else the machine does meets both
		if err := errors.Join(one.round(ctx, b), many.round(ctx, b)); err != nil {
			return nil, err
		}
	}
	name := fmt.Sprintf("up, %d built services", services)
	return []report.Result{
		figure(name, "start to all ready", report.Median(many.ready), "s", goalReady),
		figure(name, "resident memory, with guard", report.Median(many.memory), "MB", goalMemory),
		figure(name, "one service, start to ready", report.Median(many.each), "ms", 0),
		figure(name, "down", report.Median(many.down), "s", 0),
		figure(name, "kill -9 of Atoll to nothing left", report.Median(many.gone), "s", goalGone),
		figure("up, 1 built service", "start to all ready", report.Median(one.ready), "s", 0),
		figure("up, 1 built service", "resident memory, with guard", report.Median(one.memory), "MB", 0),
		figure("up, 1 built service", "one service, start to ready", report.Median(one.each), "ms", 0),
		figure("program", "stripped binary", float64(info.Size())/mega, "MB", goalBinary),
	}, nil
}

// application is an application that is measured, and what was found, by round.
type application struct {
	dir      string
	services int
	ready    []float64 // s
	down     []float64 // s
	gone     []float64 // s
	memory   []float64 // MB
	each     []float64 // ms: every replica
}

func (b *bench) application(name string, services int) *application {
	return &application{dir: filepath.Join(b.dir, name), services: services}
}

// write writes the manifests.
func (a *application) write(b *bench) error {
	var routes strings.Builder
	for i := range a.services {
		name := fmt.Sprintf("s%d", i+1)
		fmt.Fprintf(&routes, "    - {path: /%s/**, to: %s}\n", name, name)
		dir := filepath.Join(a.dir, "services", name)
		text := fmt.Sprintf("service: %s\nrun: %q\nready: /healthz\n", name, b.service)
		if err := errors.Join(os.MkdirAll(dir, 0o750), os.WriteFile(filepath.Join(dir, "service.yaml"), []byte(text), 0o600)); err != nil {
			return fmt.Errorf("write manifest: %w", err)
		}
	}
	text := "app: bench\nservices: [\"services/*\"]\ngateway:\n  listen: 127.0.0.1:0\n  routes:\n" + routes.String()
	if err := os.WriteFile(filepath.Join(a.dir, "atoll.yaml"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}

// round starts the application without any state of an earlier round, looks at it, and takes it down.
func (a *application) round(ctx context.Context, b *bench) error {
	if err := os.RemoveAll(filepath.Join(a.dir, ".atoll")); err != nil {
		return fmt.Errorf("remove state: %w", err)
	}
	began := time.Now()
	if _, err := b.command(ctx, a, "up", "-d"); err != nil {
		return err
	}
	a.ready = append(a.ready, time.Since(began).Seconds())
	err := a.look(ctx, b)
	began = time.Now()
	if _, downErr := b.command(context.WithoutCancel(ctx), a, "down"); downErr != nil {
		return errors.Join(err, downErr)
	}
	a.down = append(a.down, time.Since(began).Seconds())
	return errors.Join(err, a.kill(ctx, b))
}

// kill starts the application again, kills Atoll, and notes how long anything of it lives on.
func (a *application) kill(ctx context.Context, b *bench) error {
	if _, err := b.command(ctx, a, "up", "-d"); err != nil {
		return err
	}
	pid, replicas, err := a.running(ctx, b)
	if err != nil {
		return err
	}
	left := append(children(pid), pid)
	for _, r := range replicas {
		left = append(left, r.PID)
	}
	atoll, err := os.FindProcess(pid)
	if err != nil {
		return fmt.Errorf("find Atoll: %w", err)
	}
	if err := atoll.Kill(); err != nil {
		return fmt.Errorf("kill Atoll: %w", err)
	}
	began, limit := time.Now(), time.NewTimer(time.Minute)
	defer limit.Stop()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for slices.ContainsFunc(left, lives) {
		select {
		case <-ticker.C:
		case <-limit.C:
			return errors.New("a minute after kill -9 something of Atoll still runs")
		}
	}
	a.gone = append(a.gone, time.Since(began).Seconds())
	return nil
}

// lives tells whether a process runs; one that only waits to be noticed does not.
func lives(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" Z "))
}

// running is Atoll's process and its replicas.
func (a *application) running(ctx context.Context, b *bench) (pid int, replicas []api.Replica, err error) {
	out, err := b.command(ctx, a, "ps", "--format", "json")
	if err != nil {
		return 0, nil, err
	}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var r api.Replica
		if err := d.Decode(&r); err != nil {
			return 0, nil, fmt.Errorf("read ps: %w", err)
		}
		replicas = append(replicas, r)
	}
	text, err := os.ReadFile(filepath.Join(a.dir, ".atoll", api.RunFile))
	if err != nil {
		return 0, nil, fmt.Errorf("read run file: %w", err)
	}
	var run api.Run
	if err := json.Unmarshal(text, &run); err != nil {
		return 0, nil, fmt.Errorf("read run file: %w", err)
	}
	return run.PID, replicas, nil
}

// look notes the memory of Atoll and of its guard, and how long each replica took.
func (a *application) look(ctx context.Context, b *bench) error {
	pid, replicas, err := a.running(ctx, b)
	if err != nil {
		return err
	}
	for _, r := range replicas {
		a.each = append(a.each, float64(r.ReadyMS))
	}
	bytes, err := residentOf(pid, b.atoll)
	a.memory = append(a.memory, float64(bytes)/mega)
	return err
}

func (b *bench) command(ctx context.Context, a *application, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.atoll, append([]string{"-C", a.dir}, args...)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("atoll %s: %w\n%s%s", strings.Join(args, " "), err, out.Bytes(), said.Bytes())
	}
	return out.Bytes(), nil
}

// residentOf is the resident memory of a process and of those children that run the same program.
func residentOf(pid int, program string) (int64, error) {
	if runtime.GOOS != "linux" {
		return 0, errors.New("memory can be measured on Linux only")
	}
	total, err := resident(pid)
	if err != nil {
		return 0, err
	}
	for _, child := range children(pid) {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", child)); err != nil || exe != program {
			continue // a service, or one that has ended
		}
		more, err := resident(child)
		if err != nil {
			return 0, err
		}
		total += more
	}
	return total, nil
}

// children are the processes that a process has started; those of a thread that has ended meanwhile are left out.
func children(pid int) (found []int) {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		panic("bench: a pattern without brackets is refused: " + err.Error())
	}
	for _, name := range lists {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				found = append(found, child)
			}
		}
	}
	return found
}

// resident reads VmRSS of /proc/PID/status (proc_pid_status(5)).
func resident(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	var kilo int64
	if _, err := fmt.Sscan(rest, &kilo); err != nil {
		return 0, fmt.Errorf("read memory of process %d: %w", pid, err)
	}
	return kilo << 10, nil
}
