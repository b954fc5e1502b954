package replica_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/replica"
	"github.com/atollhq/atoll/internal/replica/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a supervisor over programs in memory, with what it told.
type stage struct {
	*replica.Supervisor
	d *memory.Driver

	mu      sync.Mutex // guards what follows
	changes []replica.Change
	ready   map[string][]string // service -> IDs
	log     []string            // endpoints, drains, in order
	drain   func(ctx context.Context, service, id string) error
}

func newStage(t *testing.T, d *memory.Driver, o replica.Options) *stage {
	t.Helper()
	s := &stage{d: d, ready: map[string][]string{}}
	o.OnChange = func(c replica.Change) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.changes = append(s.changes, c)
	}
	o.OnEndpoints = func(service string, ready []replica.Endpoint) {
		s.mu.Lock()
		defer s.mu.Unlock()
		var ids []string
		for _, e := range ready {
			ids = append(ids, e.ID)
		}
		s.ready[service] = ids
		s.log = append(s.log, fmt.Sprintf("ready %v", ids))
	}
	o.Drain = func(ctx context.Context, service, id string) error {
		s.mu.Lock()
		s.log = append(s.log, "drain "+id)
		drain := s.drain
		s.mu.Unlock()
		if drain != nil {
			return drain(ctx, service, id)
		}
		return nil
	}
	if o.Jitter == nil {
		o.Jitter = func() float64 { return 0.5 }
	}
	s.Supervisor = replica.NewSupervisor(d, &o)
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if left := d.Running(); len(left) > 0 {
			t.Errorf("%d copies outlive Stop", len(left))
		}
	})
	return s
}

func (s *stage) onDrain(f func(ctx context.Context, service, id string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drain = f
}

func (s *stage) logged() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

func (s *stage) serving(service string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ready[service])
}

func (s *stage) told(to replica.State) []replica.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []replica.Change
	for _, c := range s.changes {
		if c.To == to {
			out = append(out, c)
		}
	}
	return out
}

func (s *stage) states() []string {
	var out []string
	for _, st := range s.Status() {
		out = append(out, st.Replica+" "+st.State.String())
	}
	return out
}

func orders(run string) replica.Service {
	return replica.Service{
		Name: "orders", Version: "1", Run: run, Replicas: 1, Grace: 10 * time.Second, StartLimit: time.Minute,
		Protocol: manifest.ProtocolHTTP, Ready: manifest.Readiness{Kind: manifest.ReadyHTTP, Path: "/healthz"},
	}
}

func driver() *memory.Driver {
	return &memory.Driver{
		Programs: map[string]memory.Program{
			"serve": memory.Serve,
			"die": func(_ context.Context, c *memory.Copy) int {
				c.PrintErr("cannot open the database")
				return 1
			},
			"idle": func(ctx context.Context, c *memory.Copy) int {
				select {
				case <-c.Terminated():
				case <-ctx.Done():
				}
				return 0
			},
			"stubborn": func(ctx context.Context, c *memory.Copy) int {
				c.Ready(nil)
				<-ctx.Done()
				return 0
			},
		},
		Builds: map[string]memory.Build{
			"compile": func(ctx context.Context, _ replica.BuildSpec) error {
				select {
				case <-time.After(3 * time.Second):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			},
			"break": func(_ context.Context, spec replica.BuildSpec) error {
				spec.Output(replica.Line{Service: spec.Service, Stream: replica.StreamBuild, Text: "main.go:7: undefined: x"})
				return errors.New("exit code 1")
			},
		},
	}
}

// pass lets time pass and everything settle.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the clock of a synctest bubble
	synctest.Wait()
}

func TestACrashIsRestartedWithin100MsAndWithdrawnBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, driver(), replica.Options{Jitter: func() float64 { return 0.999 }})
		s.Apply([]replica.Service{orders("serve")})
		pass(time.Second)
		if got := s.serving("orders"); !slices.Equal(got, []string{"orders-1"}) {
			t.Fatalf("serving %v", got)
		}
		s.d.Running()[0].Crash(replica.Exit{Code: -1, Signal: "SIGKILL"})
		synctest.Wait()
		if got := s.serving("orders"); len(got) != 0 {
			t.Fatalf("a dead replica is served: %v", got)
		}
		pass(120 * time.Millisecond)
		if got := s.serving("orders"); len(got) != 1 {
			t.Fatalf("not back after 120 ms: %v", s.states())
		}
		crash := s.told(replica.Crashed)
		if len(crash) != 1 || crash[0].Exit.Signal != "SIGKILL" || crash[0].Fault.Code != fault.CodeReplicaCrashed {
			t.Errorf("told %+v", crash)
		}
		if st := s.Status()[0]; st.Restarts != 1 || st.State != replica.Ready {
			t.Errorf("status %+v", st)
		}
	})
}

func TestBackoffDoublesIsBoundedAndIsForgottenWhenStable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, driver(), replica.Options{})
		s.Apply([]replica.Service{orders("die")})
		pass(2 * time.Minute)
		var delays []time.Duration
		for _, c := range s.told(replica.BackingOff) {
			delays = append(delays, c.RetryIn)
		}
		want := []time.Duration{50, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 15000, 15000}
		for i, w := range want {
			if delays[i] != w*time.Millisecond {
				t.Fatalf("delays %v", delays)
			}
		}
		s.Apply([]replica.Service{orders("serve")})
		pass(31 * time.Second)
		s.d.Running()[0].Crash(replica.Exit{Code: 1})
		synctest.Wait()
		if c := s.told(replica.BackingOff); c[len(c)-1].RetryIn != 50*time.Millisecond {
			t.Errorf("a stable replica backs off for %s", c[len(c)-1].RetryIn)
		}
	})
}

func TestACrashLoopIsSaidOnceWithTheLastLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, driver(), replica.Options{})
		s.Apply([]replica.Service{orders("die")})
		pass(3 * time.Minute)
		var loops []replica.Change
		for _, c := range s.told(replica.Crashed) {
			if c.Loop {
				loops = append(loops, c)
			}
		}
		if len(loops) != 1 || loops[0].Fault.Code != fault.CodeReplicaCrashLoop {
			t.Fatalf("%d loops told", len(loops))
		}
		// It is said once, and lasts until the replica is stable.
		if list := s.Status(); len(list) != 1 || !list[0].Looping {
			t.Errorf("it does not loop any more: %+v", list)
		}
		s.Apply([]replica.Service{orders("serve")})
		pass(5 * time.Second)
		for range 5 {
			s.d.Running()[0].Crash(replica.Exit{Code: 1})
			pass(5 * time.Second)
		}
		if list := s.Status(); len(list) != 1 || list[0].State != replica.Ready || !list[0].Looping {
			t.Errorf("it was not stable, and does not loop: %+v", list)
		}
		pass(30 * time.Second)
		if list := s.Status(); len(list) != 1 || list[0].Looping {
			t.Errorf("it is stable, and loops: %+v", list)
		}
		s.d.Running()[0].Ready(errors.New("GET /healthz answered 503"))
		pass(time.Minute)
		if list := s.Status(); len(list) != 1 || list[0].State != replica.Unready || list[0].Looping {
			t.Errorf("it was stable, and loops since its probe fails: %+v", list)
		}
		if tail := loops[0].Tail; len(tail) != 1 || tail[0].Text != "cannot open the database" {
			t.Errorf("tail %+v", tail)
		}
	})
}

func TestARollDrainsTheOldOnlyWhenTheNewIsReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, driver(), replica.Options{})
		s.Apply([]replica.Service{orders("serve")})
		pass(time.Second)
		s.onDrain(func(context.Context, string, string) error {
			pass(2 * time.Second)
			return nil
		})
		changed := orders("serve")
		changed.Version, changed.Env = "2", []string{"A=1"}
		s.Apply([]replica.Service{changed})
		pass(time.Second)
		want := []string{"ready [orders-1]", "ready [orders-2]", "drain orders-1"}
		if !slices.Equal(s.logged(), want) {
			t.Fatalf("told %q", s.logged())
		}
		old := s.d.Copies()[0]
		select {
		case <-old.Terminated():
			t.Fatal("terminated before it was drained")
		default:
		}
		pass(2 * time.Second)
		if got := s.states(); !slices.Equal(got, []string{"orders-2 ready"}) {
			t.Errorf("states %v", got)
		}
	})
}

func TestARollReplacesOneReplicaAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, driver(), replica.Options{})
		svc := orders("serve")
		svc.Replicas = 3
		s.Apply([]replica.Service{svc})
		pass(time.Second)
		s.mu.Lock()
		s.log = nil
		s.mu.Unlock()
		if err := s.Restart(t.Context(), "orders"); err != nil {
			t.Fatal(err)
		}
		if got := s.serving("orders"); len(got) != 3 {
			t.Errorf("serving %v after Restart", got)
		}
		if started := len(s.d.Copies()); started != 6 {
			t.Errorf("%d copies were started", started)
		}
		for _, line := range s.logged() {
			if n := len(line); line[0] == 'r' && n != len("ready [orders-1 orders-2 orders-3]") {
				t.Errorf("not three are serving: %q", line)
			}
		}
	})
}

func TestWhenTheNewOneCrashesTheOldOneGoesOnAndRestartSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, driver(), replica.Options{})
		s.Apply([]replica.Service{orders("serve")})
		pass(time.Second)
		s.d.Install("serve", driver().Programs["die"], nil)
		if err := s.Restart(t.Context(), "orders"); fault.CodeOf(err) != fault.CodeReplicaCrashed {
			t.Errorf("Restart: %v", err)
		}
		pass(time.Minute)
		if got := s.serving("orders"); !slices.Equal(got, []string{"orders-1"}) {
			t.Fatalf("serving %v", got)
		}
		c := s.told(replica.Crashed)[0]
		if want := "orders-2 ended before it was ready: exit code 1; orders-1 goes on serving"; c.Reason != want {
			t.Errorf("reason %q", c.Reason)
		}
		// The old one crashes meanwhile: it comes back too.
		s.d.Install("serve", memory.Serve, nil)
		s.d.Running()[0].Crash(replica.Exit{Code: 1})
		pass(time.Minute)
		if got := s.serving("orders"); len(got) != 1 {
			t.Errorf("serving %v", got)
		}
	})
}

func TestAFixedPortIsFreedBeforeItIsTakenAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, driver(), replica.Options{})
		svc := orders("serve")
		svc.Port, svc.Replicas = 3550, 2
		s.Apply([]replica.Service{svc})
		pass(time.Second)
		if n := len(s.d.Running()); n != 1 {
			t.Fatalf("%d copies on one port", n)
		}
		if err := s.Scale(t.Context(), "orders", 2); fault.CodeOf(err) != fault.CodeReplicaFixedPort {
			t.Errorf("Scale: %v", err)
		}
		if err := s.Restart(t.Context(), "orders"); err != nil {
			t.Fatal(err)
		}
		if len(s.d.Running()) != 1 || len(s.d.Copies()) != 2 {
			t.Errorf("%d run of %d", len(s.d.Running()), len(s.d.Copies()))
		}
		if want := []string{"ready [orders-1]", "ready []", "drain orders-1", "ready [orders-2]"}; !slices.Equal(s.logged(), want) {
			t.Errorf("told %q", s.logged())
		}
	})
}

func TestWhatIsNotReadyInTimeIsKilledAndCountsAsCrashed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, driver(), replica.Options{})
		s.Apply([]replica.Service{orders("idle")})
		pass(59 * time.Second)
		if got := s.states(); got[0] != "orders-1 starting" {
			t.Fatalf("states %v", got)
		}
		if st := s.Status()[0]; st.Reason != "it does not listen" {
			t.Errorf("reason %q", st.Reason)
		}
		if n := s.d.Copies()[0].Probes(); n < 60 || n > 90 { // 12 below a second, then one each second
			t.Errorf("%d probes in 59 s", n)
		}
		pass(time.Second)
		crash := s.told(replica.Crashed)
		if len(crash) != 1 || crash[0].Fault.Code != fault.CodeReplicaNotReady {
			t.Fatalf("told %+v", crash)
		}
		pass(time.Second)
		if exit := s.d.Copies()[0].Exit(); exit.Signal != "SIGKILL" || len(s.d.Copies()) != 2 {
			t.Errorf("exit %v, %d copies", exit, len(s.d.Copies()))
		}
	})
}

func TestThreeFailedProbesMakeUnreadyOneGoodOneReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, driver(), replica.Options{})
		s.Apply([]replica.Service{orders("serve")})
		pass(time.Second)
		s.d.Running()[0].Ready(errors.New("GET /healthz answered 503"))
		pass(2 * time.Second)
		if got := s.serving("orders"); len(got) != 1 {
			t.Fatalf("withdrawn after two failed probes")
		}
		pass(time.Second)
		if got := s.states(); got[0] != "orders-1 unready" || len(s.serving("orders")) != 0 {
			t.Fatalf("states %v, serving %v", got, s.serving("orders"))
		}
		s.d.Running()[0].Ready(nil)
		pass(time.Second)
		if got := s.serving("orders"); len(got) != 1 {
			t.Errorf("states %v", s.states())
		}
	})
}

func TestAFailedBuildLeavesTheOldOneRunningAndShowsItsLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, driver(), replica.Options{})
		svc := orders("serve")
		svc.Build = "compile"
		s.Apply([]replica.Service{svc})
		pass(time.Second)
		if got := s.states(); !slices.Equal(got, []string{"orders-1 building"}) {
			t.Fatalf("states %v", got)
		}
		pass(3 * time.Second)
		s.d.Install("compile", nil, driver().Builds["break"])
		s.Rebuild("orders")
		pass(time.Minute)
		if got := s.states(); !slices.Equal(got, []string{"orders-1 ready", "orders-2 crashed"}) {
			t.Fatalf("states %v", got)
		}
		c := s.told(replica.Crashed)
		if len(c) != 1 || !c[0].Final || c[0].Fault.Code != fault.CodeReplicaBuildFailed || len(c[0].Tail) != 1 {
			t.Fatalf("told %+v", c)
		}
		s.d.Install("compile", nil, driver().Builds["compile"])
		s.Rebuild("orders")
		pass(time.Minute)
		if got := s.states(); !slices.Equal(got, []string{"orders-2 ready"}) {
			t.Errorf("states %v", got)
		}
	})
}

func TestRebuildsDuringABuildBecomeOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := driver()
		builds := 0
		compile := d.Builds["compile"]
		d.Builds["compile"] = func(ctx context.Context, spec replica.BuildSpec) error {
			builds++
			return compile(ctx, spec)
		}
		s := newStage(t, d, replica.Options{})
		svc := orders("serve")
		svc.Build = "compile"
		s.Apply([]replica.Service{svc})
		pass(time.Second)
		for range 10 {
			s.Rebuild("orders")
			pass(time.Millisecond)
		}
		pass(time.Minute)
		if builds != 2 || len(s.d.Copies()) != 1 {
			t.Errorf("%d builds, %d starts", builds, len(s.d.Copies()))
		}
	})
}

// hang is a build that ends only when it is cancelled.
func hang(ctx context.Context, _ replica.BuildSpec) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestAnotherBuildEndsOneThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := driver()
		d.Builds["hang"] = hang
		s := newStage(t, d, replica.Options{Builds: 1})
		svc := orders("serve")
		svc.Build = "hang"
		s.Apply([]replica.Service{svc})
		pass(time.Minute)
		if got := s.states(); !slices.Equal(got, []string{"orders-1 building"}) {
			t.Fatalf("states %v", got)
		}
		svc.Build = "compile"
		s.Apply([]replica.Service{svc})
		pass(time.Minute)
		if got := s.states(); !slices.Equal(got, []string{"orders-1 ready"}) {
			t.Errorf("states %v", got)
		}
		if told := s.told(replica.Crashed); len(told) > 0 {
			t.Errorf("the cancelled build is told as failed: %+v", told)
		}
	})
}

func TestStopEndsABuildThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := driver()
		d.Builds["hang"] = hang
		s := newStage(t, d, replica.Options{})
		svc := orders("serve")
		svc.Build = "hang"
		s.Apply([]replica.Service{svc})
		pass(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestNoMoreBuildsAtATimeThanAllowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := driver()
		var mu sync.Mutex
		now, most := 0, 0
		compile := d.Builds["compile"]
		d.Builds["compile"] = func(ctx context.Context, spec replica.BuildSpec) error {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				now--
			}()
			return compile(ctx, spec)
		}
		s := newStage(t, d, replica.Options{Builds: 2})
		var services []replica.Service
		for i := range 5 {
			svc := orders("serve")
			svc.Name, svc.Build = fmt.Sprintf("s%d", i), "compile"
			services = append(services, svc)
		}
		s.Apply(services)
		pass(time.Second)
		mu.Lock()
		defer mu.Unlock()
		if most != 2 {
			t.Errorf("%d builds at a time", most)
		}
		mu.Unlock()
		pass(10 * time.Second)
		mu.Lock()
		if n := len(s.d.Running()); n != 5 {
			t.Errorf("%d of 5 run", n)
		}
	})
}

func TestAMissingProgramIsFinalUntilSomethingChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, driver(), replica.Options{})
		s.Apply([]replica.Service{orders("bin/orders")})
		pass(time.Hour)
		c := s.told(replica.Crashed)
		if len(c) != 1 || !c[0].Final || c[0].Fault.Code != fault.CodeReplicaProgramMissing {
			t.Fatalf("told %+v", c)
		}
		s.d.Install("bin/orders", memory.Serve, nil)
		s.Apply([]replica.Service{orders("bin/orders")}) // unchanged: crashed replicas are tried again
		pass(time.Second)
		if got := s.states(); !slices.Equal(got, []string{"orders-1 ready"}) {
			t.Errorf("states %v", got)
		}
	})
}

func TestScalingInDrains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, driver(), replica.Options{})
		svc := orders("serve")
		s.Apply([]replica.Service{svc})
		if err := s.Scale(t.Context(), "orders", 3); err != nil {
			t.Fatal(err)
		}
		if got := s.serving("orders"); len(got) != 3 {
			t.Fatalf("serving %v", got)
		}
		s.Apply([]replica.Service{svc}) // the manifest's number did not change: the scale holds
		pass(time.Second)
		if got := s.serving("orders"); len(got) != 3 {
			t.Fatalf("serving %v after a reload", got)
		}
		if err := s.Scale(t.Context(), "orders", 1); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if !slices.Contains(s.logged(), "drain orders-3") || !slices.Contains(s.logged(), "drain orders-2") {
			t.Errorf("told %q", s.logged())
		}
		if got := s.states(); !slices.Equal(got, []string{"orders-1 ready"}) {
			t.Errorf("states %v", got)
		}
		if err := s.Scale(t.Context(), "nobody", 1); fault.CodeOf(err) != fault.CodeReplicaUnknown {
			t.Errorf("Scale of nobody: %v", err)
		}
	})
}

func TestADrainThatDoesNotEndIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, driver(), replica.Options{DrainLimit: 5 * time.Second})
		s.Apply([]replica.Service{orders("serve")})
		pass(time.Second)
		s.onDrain(func(ctx context.Context, _, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		})
		s.Apply(nil)
		pass(4 * time.Second)
		if got := s.states(); !slices.Equal(got, []string{"orders-1 draining"}) {
			t.Fatalf("states %v", got)
		}
		pass(2 * time.Second)
		if got := s.states(); len(got) != 0 {
			t.Errorf("states %v", got)
		}
	})
}

func TestAStubbornProgramIsKilledAfterItsGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, driver(), replica.Options{})
		s.Apply([]replica.Service{orders("stubborn")})
		pass(time.Second)
		s.Apply(nil)
		pass(9 * time.Second)
		if len(s.d.Running()) != 1 {
			t.Fatal("killed within its grace")
		}
		pass(time.Second)
		if len(s.d.Running()) != 0 || len(s.states()) != 0 {
			t.Errorf("states %v", s.states())
		}
	})
}

func TestStopIsBoundedByItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, driver(), replica.Options{})
		s.Apply([]replica.Service{orders("stubborn")})
		pass(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		if err := s.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop: %v", err)
		}
		if took := time.Since(began); took != 2*time.Second || len(s.d.Running()) != 0 {
			t.Errorf("took %s, %d run", took, len(s.d.Running()))
		}
	})
}

func TestWhatApplyLeavesOutIsStoppedAndCanComeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, driver(), replica.Options{})
		web := orders("serve")
		web.Name = "web"
		s.Apply([]replica.Service{orders("serve"), web})
		pass(time.Second)
		s.Apply([]replica.Service{web})
		s.Apply([]replica.Service{web, orders("stubborn")}) // before the first was handled
		pass(time.Second)
		s.Apply([]replica.Service{web})
		pass(time.Second)
		s.Apply([]replica.Service{web, orders("serve")}) // while it is being stopped
		pass(time.Minute)
		if got := s.states(); len(got) != 2 || got[1] != "web-1 ready" || len(s.serving("orders")) != 1 {
			t.Errorf("states %v", got)
		}
		if n := len(s.d.Running()); n != 2 {
			t.Errorf("%d run", n)
		}
	})
}

func TestRestartingWhatBacksOffDoesNotWaitForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, driver(), replica.Options{})
		s.Apply([]replica.Service{orders("die")})
		pass(time.Minute) // it waits for many seconds by now
		s.d.Install("die", memory.Serve, nil)
		began := time.Now()
		if err := s.Restart(t.Context(), "orders"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 20*time.Millisecond {
			t.Errorf("took %s", took)
		}
	})
}

func TestATakenPortIsReplacedWithoutACrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := driver()
		tries := 0
		d.Programs["unlucky"] = func(ctx context.Context, c *memory.Copy) int {
			if tries++; tries <= 2 {
				go c.Crash(replica.Exit{Code: 1, PortTaken: true})
				<-ctx.Done()
				return 1
			}
			return memory.Serve(ctx, c)
		}
		s := newStage(t, d, replica.Options{})
		s.Apply([]replica.Service{orders("unlucky")})
		pass(time.Second)
		if st := s.Status()[0]; st.State != replica.Ready || st.Restarts != 0 || len(s.told(replica.Crashed)) != 0 {
			t.Errorf("status %+v", st)
		}
	})
}
