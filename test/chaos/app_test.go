package chaos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/test/internal/rig"
)

var programs *rig.Programs

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if dir := os.Getenv(collectDir); dir != "" {
		fmt.Fprintln(os.Stderr, collect(dir))
		return 1
	}
	dir, err := os.MkdirTemp("", "ac")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	programs, err = rig.Build(context.Background(), dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// soak tells whether the long form is asked for.
func soak() bool { return os.Getenv("ATOLL_SOAK") != "" }

// app is a running application.
type app struct {
	dir     string
	gateway string
	pid     int
	killed  *exec.Cmd    // of the tests that run Atoll in the foreground: it
	control *http.Client // speaks to the control socket
}

// manifestOf is the atoll.yaml of the tests. A mark makes two of them differ.
func manifestOf(mark int) string {
	return fmt.Sprintf(`app: chaos
services: [web, api]
gateway:
  listen: 127.0.0.1:0
  access_log: false
  routes:
    - {path: /mark-%d/**, to: web}
    - {path: /**, to: web}
`, mark)
}

// start starts an application of the service web, which calls api, with so many replicas each. When they are told to
// end they do so at once, whatever is in flight: that nothing is, is for Atoll to see to.
func start(t *testing.T, replicas int) *app {
	t.Helper()
	dir, err := os.MkdirTemp("", "ac") //nolint:usetesting // a short name, for the socket
	if err != nil {
		t.Fatal(err)
	}
	a := &app{dir: dir}
	a.write(t, "atoll.yaml", manifestOf(0))
	for name, more := range map[string]string{"web": "calls: [api]\n", "api": ""} {
		a.write(t, name+"/service.yaml", fmt.Sprintf("service: %s\nrun: testsvc -drain 0s\nready: /healthz\nreplicas: %d\nwatch: {off: true}\n%s", name, replicas, more))
	}
	t.Cleanup(func() { a.finish(t) })
	a.atoll(t, "up", "-d", "--no-watch")
	run, err := rig.ReadRun(platform.StateDir(dir, ""))
	if err != nil {
		t.Fatal(err)
	}
	a.gateway, a.pid = run.App.Gateway, run.PID
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", run.Socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	a.control = &http.Client{Transport: transport}
	return a
}

// finish ends the application, whatever became of it, and fails the test for what is left.
func (a *app) finish(t *testing.T) {
	t.Helper()
	if out, err := a.command(context.Background(), "down").CombinedOutput(); err != nil && !strings.Contains(string(out), "(not-running)") {
		t.Errorf("atoll down: %v\n%s", err, out)
		_ = syscall.Kill(a.pid, syscall.SIGKILL) // it may have ended
	}
	left, err := rig.Services(a.dir)
	if err != nil {
		t.Error(err)
	}
	for _, p := range left {
		t.Errorf("process %s is left", p)
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	}
	races, _ := filepath.Glob(filepath.Join(a.dir, "race.*"))
	for _, name := range races {
		text, _ := os.ReadFile(name)
		t.Errorf("Atoll has a data race:\n%s", text)
	}
	if t.Failed() {
		text, _ := os.ReadFile(filepath.Join(a.dir, ".atoll", "atoll.log"))
		t.Logf("end of the operator's log:\n%s", text[max(0, len(text)-8000):])
	}
	if err := os.RemoveAll(a.dir); err != nil {
		t.Error(err)
	}
}

// command is a run of atoll on the application.
func (a *app) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, programs.Atoll, append([]string{"-C", a.dir}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+programs.Dir+":"+os.Getenv("PATH"),
		"GORACE=atexit_sleep_ms=0 log_path="+filepath.Join(a.dir, "race"))
	return cmd
}

// atoll runs a command that must succeed and returns what it writes.
func (a *app) atoll(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := a.command(ctx, args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("atoll %s: %v\n%s%s", strings.Join(args, " "), err, out.Bytes(), said.Bytes())
	}
	return out.String()
}

// write writes a file of the application, whole or not at all.
func (a *app) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// reload lets the application read its manifests again, which must not have an error.
func (a *app) reload(t *testing.T) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://atoll/v1/reload", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := a.control.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var found api.Findings
	if err := json.NewDecoder(resp.Body).Decode(&found); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("reload: status %d, %v", resp.StatusCode, err)
	}
	if found.Findings.HasErrors() {
		t.Fatalf("reload: %v", found.Findings)
	}
}

// replicas lists the replicas of a service as ps does.
func (a *app) replicas(t *testing.T, service string) []api.Replica {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://atoll/v1/replicas", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := a.control.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Replicas []api.Replica }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	var of []api.Replica
	for _, r := range answer.Replicas {
		if r.Service == service {
			of = append(of, r)
		}
	}
	return of
}

// await polls until a condition holds, and fails the test when it does not within the limit. It returns how long that
// took.
func await(t *testing.T, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		if time.Since(began) > limit {
			t.Fatalf("after %v still not: %s", limit, what)
		}
		<-ticker.C
	}
	return time.Since(began)
}
