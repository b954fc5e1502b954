//go:build unix

package platform_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/database/postgres"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/replica"
	"github.com/atollhq/atoll/internal/replica/process"
	"github.com/atollhq/atoll/internal/telemetry"
)

// told is what databases told of.
type told struct {
	mu      sync.Mutex
	errors  []string // guarded by mu: texts of records that are errors
	notices []string // guarded by mu
}

func (l *told) record(r *telemetry.Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Level == telemetry.LevelError {
		l.errors = append(l.errors, r.Text)
	}
}

func (l *told) notice(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notices = append(l.notices, text)
}

// has tells whether both an error and a notice say so.
func (l *told) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	says := func(s string) bool { return strings.Contains(s, text) }
	return slices.ContainsFunc(l.errors, says) && slices.ContainsFunc(l.notices, says)
}

func (l *told) anyError() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.errors) > 0
}

// private is databases that run a server until the test ends, and an application that has one.
func private(t *testing.T) (*platform.Databases, *manifest.App, *told) {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) })
	driver, err := process.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := driver.Close(); err != nil {
			t.Error(err)
		}
	})
	dir, heard := t.TempDir(), &told{}
	t.Cleanup(func() {
		if err := postgres.Remove(filepath.Join(dir, "postgres")); err != nil {
			t.Error(err)
		}
	})
	d := platform.NewDatabases(dir, driver, heard.record, heard.notice)
	t.Cleanup(func() { platform.CloseDatabases(d) })
	return d, &manifest.App{Name: "shop", Services: []*manifest.Service{
		{Name: "orders", Database: manifest.Database{Kind: manifest.DatabasePostgres}},
	}}, heard
}

// postmaster is the number of the server's first process.
func postmaster(t *testing.T, d *platform.Databases) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(platform.PrivateDir(d), "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// ping logs in until it is let in, or ctx ends.
func ping(ctx context.Context, url string) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-ticker.C:
		}
	}
}

func TestAPrivateServerThatIsKilledComesBackAtTheSameURLAndIsToldOf(t *testing.T) {
	d, app, heard := private(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	urls, err := platform.Provision(ctx, d, app)
	if err != nil {
		t.Fatal(err)
	}
	if heard.anyError() {
		t.Error("a start logs errors")
	}
	for range 2 {
		pid := postmaster(t, d)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		again, err := platform.Provision(ctx, d, app)
		for err != nil && ctx.Err() == nil { // refused while the server is being killed
			again, err = platform.Provision(ctx, d, app)
		}
		if err != nil || again["orders"] != urls["orders"] {
			t.Fatalf("a reload is given %v, %v", again, err)
		}
		if err := ping(ctx, urls["orders"]); err != nil {
			t.Fatal(err)
		}
		if now := postmaster(t, d); now == pid {
			t.Error("the server was not killed")
		}
	}
	if !heard.has("has ended") {
		t.Error("nobody is told")
	}
}

// brokenDriver starts what ends at once.
type brokenDriver struct{ replica.Driver }

func (b brokenDriver) Start(ctx context.Context, spec replica.Spec) (replica.Process, error) {
	spec.Run = "false"
	return b.Driver.Start(ctx, spec)
}

func TestAPrivateServerThatDoesNotStartLeavesNothingAndIsTriedAgain(t *testing.T) {
	d, app, _ := private(t)
	working := platform.SwapDriver(d, nil)
	platform.SwapDriver(d, brokenDriver{working})
	if _, err := platform.Provision(t.Context(), d, app); err == nil {
		t.Fatal("a server that ends at once is taken for running")
	}
	platform.SwapDriver(d, working)
	urls, err := platform.Provision(t.Context(), d, app)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := ping(ctx, urls["orders"]); err != nil {
		t.Error(err)
	}
}
