//go:build linux

package process_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/replica"
	"github.com/atollhq/atoll/internal/replica/process"
	"github.com/atollhq/atoll/internal/replica/replicatest"
)

func open(t *testing.T, o *process.Options) *process.Driver {
	t.Helper()
	d, err := process.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestProcessesKeepWhatDriversPromise(t *testing.T) {
	t.Parallel()
	replicatest.Run(t, func(t *testing.T) replicatest.Harness {
		t.Helper()
		return replicatest.Harness{
			Driver: open(t, &process.Options{Dir: t.TempDir(), Guard: []string{os.Args[0], "helper", "guard"}}),
			Dir:    t.TempDir(),
			Command: func(b replicatest.Behaviour) string {
				if b == replicatest.Missing {
					return "bin/orders"
				}
				return self(string(b))
			},
		}
	})
}

// output keeps what a process writes.
type output struct {
	mu    sync.Mutex
	lines []string
}

func (o *output) take(l replica.Line) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, l.Text)
}

func (o *output) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.lines)
}

// number waits for a line "NAME N" and returns N.
func (o *output) number(t *testing.T, name string) int {
	t.Helper()
	n := 0
	eventually(t, "a line with "+name, func() bool {
		for _, l := range o.all() {
			if text, ok := strings.CutPrefix(l, name+" "); ok {
				n, _ = strconv.Atoi(text)
			}
		}
		return n != 0
	})
	return n
}

func start(t *testing.T, d *process.Driver, run string, change func(*replica.Spec)) (replica.Process, *output) {
	t.Helper()
	out := &output{}
	spec := replica.Spec{
		Service: "orders", Replica: "orders-1", Dir: t.TempDir(), Run: run, Ready: manifest.Readiness{Kind: manifest.ReadyTCP},
		Output: out.take,
	}
	if change != nil {
		change(&spec)
	}
	p, err := d.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		<-p.Done()
	})
	return p, out
}

func TestKillOfAProcessIsSeenAtOnceAndEndsItsGroup(t *testing.T) {
	t.Parallel()
	p, out := start(t, open(t, nil), self("family"), nil)
	child := out.number(t, "child")
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	<-p.Done()
	t.Logf("seen after %s", time.Since(began))
	if exit := p.Exit(); exit.Signal != "SIGKILL" {
		t.Errorf("exit %+v", exit)
	}
	eventually(t, "the child in the group is gone", func() bool { return !runs(child) })
}

func TestTheEnvironmentIsExactlyWhatWasGiven(t *testing.T) {
	t.Parallel()
	p, out := start(t, open(t, nil), self("env"), func(s *replica.Spec) {
		s.Env = []string{"A=1", "B=two words", "ATOLL_REPLICA=orders-1", "ATOLL_RUN=of an Atoll above this one"}
	})
	<-p.Done()
	_, port, _ := net.SplitHostPort(p.Addr())
	want := []string{"A=1", "ATOLL_REPLICA=orders-1", "B=two words", "PORT=" + port}
	marks := 0
	got := slices.DeleteFunc(out.all(), func(kv string) bool {
		mark := strings.HasPrefix(kv, "ATOLL_RUN=") && strings.HasSuffix(kv, "/orders-1")
		if mark {
			marks++
		}
		return mark
	})
	slices.Sort(got)
	if !slices.Equal(got, want) || marks != 1 {
		t.Errorf("environment %q, want %q and one mark", got, want)
	}
}

func TestAnEndOnATakenPortSaysSo(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, _ := start(t, open(t, nil), self("serve"), func(s *replica.Spec) { s.Port = l.Addr().(*net.TCPAddr).Port })
	<-p.Done()
	if exit := p.Exit(); !exit.PortTaken {
		t.Errorf("exit %+v", exit)
	}
}

func TestAServerOnIPv6LoopbackAloneIsReached(t *testing.T) {
	t.Parallel()
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("this machine has no IPv6 on loopback; runs where [::1] can be listened on")
	} else {
		l.Close()
	}
	p, _ := start(t, open(t, nil), self("six"), nil)
	replicatest.AwaitReady(t, p)
}

func TestReadinessByPathWantsA2xxAndFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	p, _ := start(t, d, self("http-health"), func(s *replica.Spec) {
		s.Ready = manifest.Readiness{Kind: manifest.ReadyHTTP, Path: "/healthz"}
	})
	var said []string
	eventually(t, "ready", func() bool {
		err := p.Probe(t.Context())
		if err != nil && !slices.Contains(said, err.Error()) {
			said = append(said, err.Error())
		}
		return err == nil
	})
	if !slices.Contains(said, "GET /healthz answered 503") {
		t.Errorf("the probes said %q", said)
	}
	q, _ := start(t, d, self("http-health"), func(s *replica.Spec) {
		s.Ready = manifest.Readiness{Kind: manifest.ReadyHTTP, Path: "/moved"}
	})
	eventually(t, "302 is not ready", func() bool {
		err := q.Probe(t.Context())
		return err != nil && err.Error() == "GET /moved answered 302"
	})
}

func TestReadinessByGRPCHealth(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	for health, want := range map[string]string{
		"serving":       "",
		"not-serving":   "the gRPC health check does not say SERVING",
		"unimplemented": "the program does not have the gRPC health service (grpc.health.v1.Health)",
	} {
		p, _ := start(t, d, self("grpc-health", health), func(s *replica.Spec) {
			s.Protocol, s.Ready = manifest.ProtocolGRPC, manifest.Readiness{Kind: manifest.ReadyGRPC}
		})
		eventually(t, health, func() bool {
			err := p.Probe(t.Context())
			return err == nil && want == "" || err != nil && err.Error() == want
		})
	}
}

func TestUsageSumsUpTheGroup(t *testing.T) {
	t.Parallel()
	p, out := start(t, open(t, nil), self("family"), nil)
	out.number(t, "child")
	eventually(t, "two processes' memory", func() bool { return p.Usage().MemoryBytes > 2<<20 })
}

func TestWhatCannotStartIsAPermanentFaultWithARemedy(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "plain"), []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, dir, run string
		code           fault.Code
	}{
		{"no file", dir, "bin/orders", fault.CodeReplicaProgramMissing},
		{"not in PATH", dir, "no-such-program --now", fault.CodeReplicaProgramMissing},
		{"not in PATH, for a shell", dir, "no-such-program --port $PORT", fault.CodeReplicaProgramMissing},
		{"no file, for a shell", dir, "./no-such --port $PORT | cat", fault.CodeReplicaProgramMissing},
		{"not executable", dir, "./plain", fault.CodeReplicaProgramMissing},
		{"no folder", filepath.Join(dir, "gone"), "true", fault.CodeReplicaFolderMissing},
		{"open quote", dir, "echo 'x", fault.CodeReplicaCommand},
		{"empty", dir, "  ", fault.CodeReplicaCommand},
	} {
		_, err := d.Start(t.Context(), replica.Spec{
			Service: "orders", Replica: "orders-1", Dir: test.dir, Run: test.run, Env: []string{"PATH=/usr/bin:/bin"}, Output: func(replica.Line) {},
		})
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Code != test.code || f.Remedy == "" {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestACommandRunsAsAShellWouldRunIt(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	for run, want := range map[string]string{
		`printf '%s|' a 'b c' "d e" f\ g`: "a|b c|d e|f g|",
		`printf "%s" "a\"b\\c\d"`:         `a"b\c\d`,
		`X=1; echo "$X$Y" | tr 1 2`:       "2why",
		`Y=now sh -c 'echo $Y'`:           "now",
		`echo one && echo two >&2`:        "one two",
		`printf %s ''`:                    "",
	} {
		p, out := start(t, d, run, func(s *replica.Spec) { s.Env = []string{"PATH=/usr/bin:/bin", "Y=why"} })
		<-p.Done()
		got := out.all()
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", run, got, want)
		}
	}
}

// supervised runs the helper "atoll" with a family below it.
func supervised(t *testing.T, dir, mode string, family ...string) (atoll *exec.Cmd, parent, child int) {
	t.Helper()
	args := append([]string{"helper", "atoll", dir, mode}, family...)
	atoll = exec.CommandContext(context.Background(), os.Args[0], args...)
	pipe, err := atoll.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := atoll.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(pipe)
	for (parent == 0 || child == 0) && lines.Scan() {
		name, number, _ := strings.Cut(lines.Text(), " ")
		n, _ := strconv.Atoi(number)
		switch name {
		case "parent":
			parent = n
		case "child":
			child = n
		}
	}
	if parent == 0 || child == 0 {
		t.Fatal("the helper did not start its family")
	}
	return atoll, parent, child
}

func killHard(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
}

func TestNothingSurvivesAKillOfAtoll(t *testing.T) {
	t.Parallel()
	atoll, parent, child := supervised(t, t.TempDir(), "guard")
	killHard(t, atoll)
	began := time.Now()
	eventually(t, "parent and grandchild are gone", func() bool { return !runs(parent) && !runs(child) })
	t.Logf("gone after %s", time.Since(began))
}

// guardOf finds the guard of a helper "atoll" by the folder among its arguments.
func guardOf(t *testing.T, dir string) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(text), "\x00helper\x00guard\x00"+dir+"\x00") {
			pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
			return pid
		}
	}
	return 0
}

func TestAGuardThatDiesIsReplacedByOneThatKnowsAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	atoll, parent, child := supervised(t, dir, "guard")
	first := 0
	eventually(t, "a guard", func() bool { first = guardOf(t, dir); return first != 0 })
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another guard", func() bool { g := guardOf(t, dir); return g != 0 && g != first })
	killHard(t, atoll)
	eventually(t, "parent and grandchild are gone", func() bool { return !runs(parent) && !runs(child) })
	eventually(t, "the guard is gone", func() bool { return guardOf(t, dir) == 0 })
}

func TestTheNextRunEndsWhatAKilledOneLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	atoll, parent, child := supervised(t, dir, "alone")
	if n, err := process.CleanLeftovers(t.Context(), dir, nil); n != 0 || err != nil {
		t.Fatalf("cleaned %d under an Atoll that runs, %v", n, err)
	}
	if !runs(parent) || !runs(child) {
		t.Fatal("what belongs to an Atoll that runs was ended")
	}
	killHard(t, atoll)
	eventually(t, "the kernel ended the direct child", func() bool { return !runs(parent) })
	if !runs(child) {
		t.Fatal("the test is void: the grandchild ended by itself")
	}
	// The helper "family" passes its environment on, so the grandchild is known by it.
	n, err := process.CleanLeftovers(t.Context(), dir, nil)
	if n != 1 || err != nil {
		t.Errorf("cleaned %d, %v", n, err)
	}
	if runs(child) {
		t.Error("the grandchild runs on")
	}
	if n, err := process.CleanLeftovers(t.Context(), dir, nil); n != 0 || err != nil {
		t.Errorf("cleaned %d more, %v", n, err)
	}
}

// writeLedger names one process as an earlier run, which is gone, would have.
func writeLedger(t *testing.T, dir string, pid int, start uint64, boot string) {
	t.Helper()
	line, err := json.Marshal(map[string]any{"pid": pid, "start": start, "boot": boot, "service": "s", "replica": "s-1", "owner": 1 << 22, "owner_start": 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "processes.jsonl"), append(line, "\n{damaged"...), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLeftoversAreRecognisedByPidStartTimeAndBoot(t *testing.T) {
	t.Parallel()
	bystander := exec.CommandContext(context.Background(), os.Args[0], "helper", "hang")
	bystander.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	pid := bystander.Process.Pid
	ended := make(chan struct{})
	go func() {
		_ = bystander.Wait() // it is killed
		close(ended)
	}()
	defer func() { <-ended }()
	defer func() { _ = bystander.Process.Kill() }() // may have ended
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), ") ")
	startTime, err := strconv.ParseUint(strings.Fields(after)[19], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	boot := strings.TrimSpace(string(id))
	for _, test := range []struct {
		name  string
		start uint64
		boot  string
		want  int
	}{
		{"recycled pid", startTime - 1, boot, 0},
		{"another boot", startTime, "another", 0},
		{"the same process", startTime, boot, 1},
	} {
		dir := t.TempDir()
		writeLedger(t, dir, pid, test.start, test.boot)
		n, err := process.CleanLeftovers(t.Context(), dir, nil)
		if n != test.want || err != nil {
			t.Errorf("%s: cleaned %d, %v", test.name, n, err)
		}
		if runs(pid) != (test.want == 0) {
			t.Errorf("%s: runs: %t", test.name, runs(pid))
		}
	}
}

func TestTheLedgerNamesWhatRunsAndIsGoneInTheEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, &process.Options{Dir: dir})
	p, _ := start(t, d, self("hang"), nil)
	text, err := os.ReadFile(filepath.Join(dir, "processes.jsonl"))
	if err != nil || !strings.Contains(string(text), fmt.Sprintf(`"pid":%d,`, p.PID())) {
		t.Errorf("ledger %s, %v", text, err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("left: %v, %v", files, err)
	}
}

func TestLimitsAreEnforcedOrSaidNotToBe(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	d := open(t, &process.Options{Logger: log.logger()})
	p, _ := start(t, d, self("spin"), func(s *replica.Spec) { s.Limits.CPU = 0.1 })
	if strings.Contains(log.String(), string(fault.CodeReplicaLimitsOff)) {
		t.Skip("no cgroup can be made here, and the driver says so; runs as root, or in a unit with Delegate=yes")
	}
	self, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.PID()))
	if err != nil || !strings.Contains(string(self), fmt.Sprintf("/atoll-%d/orders-1", os.Getpid())) {
		t.Errorf("the process is in %s, %v", self, err)
	}
}

func TestThatLimitsAreNotEnforcedIsToldOnce(t *testing.T) {
	t.Parallel()
	var told []*fault.Error
	d := open(t, &process.Options{Warn: func(f *fault.Error) { told = append(told, f) }})
	for range 2 {
		start(t, d, self("idle"), func(s *replica.Spec) {
			s.Replica, s.Limits.CPU = "no-folder/orders-1", 0.1 // a name that no cgroup can have
		})
	}
	if len(told) != 1 || told[0].Code != fault.CodeReplicaLimitsOff || told[0].Remedy == "" {
		t.Errorf("told %v, want one warning", told)
	}
}

// A memory limit makes cgroups below the one that the tests run in, which belongs to whoever runs them: only
// where they say so.
func TestUsingMoreThanTheMemoryLimitIsSaidAsSuch(t *testing.T) {
	t.Parallel()
	if os.Getenv("ATOLL_TEST_MEMORY_LIMIT") == "" {
		t.Skip("ends a program by its memory limit: run with ATOLL_TEST_MEMORY_LIMIT=1 where the tests may make memory cgroups")
	}
	p, _ := start(t, open(t, nil), self("hog"), func(s *replica.Spec) { s.Limits.Memory = 64 << 20 })
	<-p.Done()
	if exit := p.Exit(); !exit.OutOfMemory {
		t.Errorf("exit %+v", exit)
	}
}
