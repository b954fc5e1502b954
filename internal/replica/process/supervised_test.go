//go:build linux

package process_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/replica"
	"github.com/atollhq/atoll/internal/replica/process"
)

// endpoints keeps what the supervisor told of who serves.
type endpoints struct {
	mu    sync.Mutex
	ready map[string][]replica.Endpoint
}

func (e *endpoints) set(service string, ready []replica.Endpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ready[service] = ready
}

func (e *endpoints) of(service string) []replica.Endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ready[service]
}

func supervise(t *testing.T) (*replica.Supervisor, *endpoints) {
	t.Helper()
	d := open(t, &process.Options{Dir: t.TempDir(), Guard: []string{os.Args[0], "helper", "guard"}})
	e := &endpoints{ready: map[string][]replica.Endpoint{}}
	s := replica.NewSupervisor(d, &replica.Options{OnEndpoints: e.set})
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s, e
}

func service(name string) replica.Service {
	return replica.Service{
		Name: name, Version: "1", Dir: os.TempDir(), Run: self("serve"), Replicas: 1, Grace: 10 * time.Second,
		StartLimit: time.Minute, Ready: manifest.Readiness{Kind: manifest.ReadyTCP},
	}
}

func TestAServiceIsBackAfterItsProcessWasKilled(t *testing.T) {
	t.Parallel()
	s, e := supervise(t)
	s.Apply([]replica.Service{service("orders")})
	eventually(t, "ready", func() bool { return len(e.of("orders")) == 1 })
	pid := s.Status()[0].PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	eventually(t, "back with another process", func() bool {
		st := s.Status()[0]
		return st.State == replica.Ready && st.PID != pid && st.PID != 0
	})
	t.Logf("back after %s", time.Since(began))
	conn, err := e.of("orders")[0].Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestManyServicesStartSideBySide(t *testing.T) {
	t.Parallel()
	s, _ := supervise(t)
	var services []replica.Service
	for i := range 20 {
		services = append(services, service(fmt.Sprintf("s%02d", i)))
	}
	began := time.Now()
	s.Apply(services)
	eventually(t, "all ready", func() bool {
		n := 0
		for _, st := range s.Status() {
			if st.State == replica.Ready {
				n++
			}
		}
		return n == len(services)
	})
	t.Logf("20 services ready after %s", time.Since(began))
}

func TestStopLeavesNoProcess(t *testing.T) {
	t.Parallel()
	s, e := supervise(t)
	svc := service("orders")
	svc.Run = self("deaf") + " & " + self("serve") + "; true" // a shell, and two below it
	svc.Grace = 50 * time.Millisecond
	s.Apply([]replica.Service{svc})
	eventually(t, "ready", func() bool { return len(e.of("orders")) == 1 })
	pid := s.Status()[0].PID
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the group is empty", func() bool { return syscall.Kill(-pid, 0) == syscall.ESRCH })
}
