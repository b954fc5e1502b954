// Package replicatest is the conformance suite of replica drivers: what a supervisor relies on, tried on a
// real driver. Every driver passes it.
package replicatest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/replica"
)

// Behaviour is a program, or a build, that the suite needs.
type Behaviour string

// The programs and builds.
const (
	// Serve becomes ready at once, accepts connections and answers each with "hello\n" after it got a line
	// (or, to an HTTP request, with 200); it ends with code 0 when it is asked to.
	Serve Behaviour = "serve"
	// Stubborn is like Serve but does not end when it is asked to.
	Stubborn Behaviour = "stubborn"
	// Fail prints "going down" to standard error and ends with code 3.
	Fail Behaviour = "fail"
	// Talk prints "line 0" to "line 99" to standard output, "é" repeated 100,000 times in one line, an
	// invalid byte sequence "\xff!", and ends with code 0.
	Talk Behaviour = "talk"
	// Idle runs and never becomes ready; it ends when it is asked to.
	Idle Behaviour = "idle"
	// Build prints "compiling" and succeeds; BuildFails prints "main.go:1: broken" and fails; BuildHangs
	// goes on until its context ends.
	Build      Behaviour = "build"
	BuildFails Behaviour = "build-fails"
	BuildHangs Behaviour = "build-hangs"
	// Missing is a program that is not there.
	Missing Behaviour = "missing"
)

// Harness is a driver and how to say to it which program to run.
type Harness struct {
	Driver  replica.Driver
	Dir     string
	Env     []string
	Command func(Behaviour) string
}

// patience bounds what should happen soon, on a machine that is busy.
const patience = 20 * time.Second

// Run runs the suite. Each test gets a harness of its own.
func Run(t *testing.T, open func(*testing.T) Harness) {
	t.Helper()
	tests := []struct {
		name string
		run  func(trial)
	}{
		{"a program that serves becomes ready, is dialled, and ends when asked", testServe},
		{"a stubborn program ends when killed, and says by what", testStubborn},
		{"an end by itself is seen, with its code and its last words", testFail},
		{"lines come whole, in order, valid and bounded", testTalk},
		{"a program that does not listen is not ready and says why", testIdle},
		{"a missing program is a permanent fault", testMissing},
		{"the environment is what was given, and PORT", testPort},
		{"a build tells its lines and whether it worked", testBuild},
		{"a build ends with its context", testBuildCancelled},
		{"a listener can be dialled and closed", testListen},
		{"signals after the end do nothing", testSignalsAfterEnd},
	}
	for _, test := range tests {
		t.Run(strings.ReplaceAll(test.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			test.run(trial{t: t, h: open(t)})
		})
	}
}

// trial is one test on one harness.
type trial struct {
	t *testing.T
	h Harness
}

// recorder keeps lines.
type recorder struct {
	mu    sync.Mutex
	lines []replica.Line
}

func (r *recorder) take(l replica.Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, l)
}

func (r *recorder) of(stream string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, l := range r.lines {
		if l.Stream == stream {
			out = append(out, l.Text)
		}
	}
	return out
}

func (h Harness) spec(b Behaviour, rec *recorder) replica.Spec {
	return replica.Spec{
		Service: "orders", Replica: "orders-1", Version: "v1", Dir: h.Dir, Run: h.Command(b),
		Env: append(slices.Clone(h.Env), "ATOLL_REPLICA=orders-1"), Protocol: manifest.ProtocolHTTP,
		Ready: manifest.Readiness{Kind: manifest.ReadyTCP}, Output: rec.take,
	}
}

// start starts a program that is killed at the end of the test.
func (h Harness) start(t *testing.T, b Behaviour, rec *recorder) replica.Process {
	t.Helper()
	p, err := h.Driver.Start(t.Context(), h.spec(b, rec))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		ended(t, p)
	})
	return p
}

func ended(t *testing.T, p replica.Process) replica.Exit {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Fatal("the process does not end")
	}
	return p.Exit()
}

// AwaitReady probes until the process is ready.
func AwaitReady(t *testing.T, p replica.Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := p.Probe(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-p.Done():
			t.Fatalf("the process ended: %v", p.Exit())
		case <-ctx.Done():
			t.Fatalf("the process is not ready: %v", err)
		}
	}
}

func testServe(s trial) {
	t, h := s.t, s.h
	p := h.start(t, Serve, &recorder{})
	AwaitReady(t, p)
	if p.Addr() == "" {
		t.Error("no address")
	}
	conn, err := p.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hi\n")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 6)
	if _, err := conn.Read(answer); err != nil || string(answer) != "hello\n" {
		t.Errorf("answer %q, %v", answer, err)
	}
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	if exit := ended(t, p); exit.Code != 0 || exit.Signal != "" || exit.At.IsZero() {
		t.Errorf("exit %+v", exit)
	}
	if _, err := p.Dial(t.Context()); err == nil {
		t.Error("an ended process can be dialled")
	}
}

func testStubborn(s trial) {
	t, h := s.t, s.h
	p := h.start(t, Stubborn, &recorder{})
	AwaitReady(t, p)
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	if err := p.Probe(t.Context()); err != nil {
		t.Errorf("it ended: %v", err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if exit := ended(t, p); exit.Signal != "SIGKILL" || exit.Code != -1 {
		t.Errorf("exit %+v", exit)
	}
}

func testFail(s trial) {
	t, h := s.t, s.h
	rec := &recorder{}
	exit := ended(t, h.start(t, Fail, rec))
	if exit.Code != 3 || exit.Signal != "" || exit.OutOfMemory || exit.PortTaken {
		t.Errorf("exit %+v", exit)
	}
	if got := rec.of(replica.StreamStderr); !slices.Equal(got, []string{"going down"}) {
		t.Errorf("last words %q", got)
	}
}

func testTalk(s trial) {
	t, h := s.t, s.h
	rec := &recorder{}
	ended(t, h.start(t, Talk, rec))
	lines := rec.of(replica.StreamStdout)
	if len(lines) < 102 || lines[0] != "line 0" || lines[99] != "line 99" {
		t.Fatalf("%d lines, which begin %.100q", len(lines), lines)
	}
	long := lines[100 : len(lines)-1]
	if strings.Join(long, "") != strings.Repeat("é", 100_000) {
		t.Error("the long line was not kept whole")
	}
	for _, l := range long {
		if len(l) > replica.MaxLine {
			t.Errorf("a line of %d bytes", len(l))
		}
	}
	if last := lines[len(lines)-1]; last != "\uFFFD!" {
		t.Errorf("last line %q", last)
	}
	for _, l := range rec.lines {
		if l.Service != "orders" || l.Replica != "orders-1" || l.Time.IsZero() {
			t.Fatalf("line %+v", l)
		}
	}
}

func testIdle(s trial) {
	t, h := s.t, s.h
	p := h.start(t, Idle, &recorder{})
	if err := p.Probe(t.Context()); err == nil || err.Error() == "" {
		t.Errorf("probe: %v", err)
	}
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	ended(t, p)
}

func testMissing(s trial) {
	t, h := s.t, s.h
	_, err := h.Driver.Start(t.Context(), h.spec(Missing, &recorder{}))
	if fault.CodeOf(err) != fault.CodeReplicaProgramMissing {
		t.Errorf("start: %v", err)
	}
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Remedy == "" {
		t.Errorf("no remedy: %v", err)
	}
}

func testPort(s trial) {
	t, h := s.t, s.h
	p := h.start(t, Serve, &recorder{})
	q := h.start(t, Serve, &recorder{})
	AwaitReady(t, p)
	AwaitReady(t, q)
	if p.Addr() == q.Addr() {
		t.Errorf("two processes listen on %s", p.Addr())
	}
}

func testBuild(s trial) {
	t, h := s.t, s.h
	rec := &recorder{}
	spec := replica.BuildSpec{Service: "orders", Dir: h.Dir, Command: h.Command(Build), Env: h.Env, Output: rec.take}
	if err := h.Driver.Build(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	spec.Command = h.Command(BuildFails)
	if err := h.Driver.Build(t.Context(), spec); fault.CodeOf(err) != fault.CodeReplicaBuildFailed {
		t.Errorf("a build that fails: %v", err)
	}
	if got := rec.of(replica.StreamBuild); !slices.Equal(got, []string{"compiling", "main.go:1: broken"}) {
		t.Errorf("lines %q", got)
	}
	spec.Command = h.Command(Missing)
	if err := h.Driver.Build(t.Context(), spec); fault.CodeOf(err) != fault.CodeReplicaProgramMissing {
		t.Errorf("a build that is not there: %v", err)
	}
}

func testBuildCancelled(s trial) {
	t, h := s.t, s.h
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	spec := replica.BuildSpec{Service: "orders", Dir: h.Dir, Command: h.Command(BuildHangs), Env: h.Env, Output: func(replica.Line) {}}
	if err := h.Driver.Build(ctx, spec); err == nil {
		t.Error("a build that was cancelled succeeded")
	}
}

func testListen(s trial) {
	t, h := s.t, s.h
	l, err := h.Driver.Listen(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	if l.Addr().String() == "" {
		t.Error("no address")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func testSignalsAfterEnd(s trial) {
	t, h := s.t, s.h
	p := h.start(t, Fail, &recorder{})
	ended(t, p)
	if err := errors.Join(p.Terminate(), p.Kill()); err != nil {
		t.Error(err)
	}
	if err := p.Probe(t.Context()); err == nil {
		t.Error("an ended process is ready")
	}
}
