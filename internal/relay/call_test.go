package relay_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// paper is a driver without a wire.
type paper struct{ closed chan string }

func (paper) Serve(context.Context, net.Listener, *relay.Server) error { return nil }

func (p paper) Open(relay.DialFunc, manifest.Protocol) relay.Pool { return p }

func (p paper) Close() {
	if p.closed != nil {
		p.closed <- "closed"
	}
}

func upstreams(o relay.Options, endpoints ...relay.Endpoint) *relay.Upstreams {
	up := relay.NewUpstreams(paper{}, &o)
	up.Declare(map[string]manifest.Protocol{"svc": ""})
	up.Set("svc", endpoints)
	return up
}

func endpoints(n int) []relay.Endpoint {
	list := make([]relay.Endpoint, n)
	for i := range list {
		list[i] = relay.Endpoint{ID: fmt.Sprint("svc-", i), Service: "svc"}
	}
	return list
}

func begin(t *testing.T, up *relay.Upstreams, o relay.Order) *relay.Call {
	t.Helper()
	o.Service = "svc"
	call, err := up.Begin(o)
	if err != nil {
		t.Fatal(err)
	}
	return call
}

func next(t *testing.T, c *relay.Call) string {
	t.Helper()
	target, err := c.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return target.ID()
}

var (
	ok     = relay.Outcome{Status: 200, Replayable: true}
	reset  = relay.Outcome{Err: errors.New("connection reset"), Replayable: true}
	dialed = relay.Outcome{Err: errors.New("connection refused"), Refused: true, Replayable: true}
)

// one sends one request through without a retry, and says where it went.
func one(t *testing.T, up *relay.Upstreams, answer func(id string) relay.Outcome) string {
	t.Helper()
	call := begin(t, up, relay.Order{Tries: 1})
	defer call.End()
	id := next(t, call)
	call.Retry(answer(id))
	return id
}

func TestRequestsInFlightSpreadOverReplicas(t *testing.T) {
	up := upstreams(relay.Options{}, endpoints(4)...)
	held := map[string]int{}
	for range 4000 {
		call := begin(t, up, relay.Order{})
		defer call.End()
		held[next(t, call)]++
		call.Retry(ok)
	}
	for id, n := range held {
		if n < 990 || n > 1010 { // two choices keep them within a few of each other; chance alone differs by dozens
			t.Errorf("%s holds %d of 4,000", id, n)
		}
	}
}

func TestWeightsDivideTheTraffic(t *testing.T) {
	up := upstreams(relay.Options{},
		relay.Endpoint{ID: "stable", Service: "svc", Weight: 90}, relay.Endpoint{ID: "canary", Service: "svc", Weight: 10})
	canary := 0
	for range 10_000 {
		if one(t, up, func(string) relay.Outcome { return ok }) == "canary" {
			canary++
		}
	}
	if canary < 800 || canary > 1200 {
		t.Errorf("the canary got %d of 10,000, want about 1,000", canary)
	}
}

func TestARetryGoesToAnotherReplica(t *testing.T) {
	up := upstreams(relay.Options{}, endpoints(2)...)
	for range 50 {
		call := begin(t, up, relay.Order{Tries: 2, Idempotent: true})
		first := next(t, call)
		if !call.Retry(reset) {
			t.Fatal("no retry")
		}
		if second := next(t, call); second == first {
			t.Fatalf("the retry went to %s, which had just failed", second)
		}
		call.Retry(ok)
		call.End()
	}
}

func TestWhatMayBeRepeated(t *testing.T) {
	for name, c := range map[string]struct {
		idempotent bool
		outcome    relay.Outcome
		want       bool
	}{
		"idempotent, reset":               {true, reset, true},
		"not idempotent, reset":           {false, reset, false},
		"not idempotent, dial failed":     {false, dialed, true},
		"not idempotent, nothing sent":    {false, relay.Outcome{Err: net.ErrClosed, Unsent: true, Replayable: true}, true},
		"idempotent, body gone":           {true, relay.Outcome{Err: net.ErrClosed}, false},
		"dial failed, body gone":          {true, relay.Outcome{Err: net.ErrClosed, Refused: true}, false},
		"client gone":                     {true, relay.Outcome{Err: net.ErrClosed, Gone: true, Replayable: true}, false},
		"idempotent, 503":                 {true, relay.Outcome{Status: 503, Replayable: true}, true},
		"not idempotent, 503":             {false, relay.Outcome{Status: 503, Replayable: true}, false},
		"idempotent, 500 is an answer":    {true, relay.Outcome{Status: 500, Replayable: true}, false},
		"idempotent, 200 is not repeated": {true, ok, false},
	} {
		call := begin(t, upstreams(relay.Options{}, endpoints(2)...), relay.Order{Tries: 2, Idempotent: c.idempotent})
		next(t, call)
		if got := call.Retry(c.outcome); got != c.want {
			t.Errorf("%s: retry %v", name, got)
		}
		call.End()
	}
}

func TestRetriesStayWithinTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := upstreams(relay.Options{RetryFloor: 1}, endpoints(20)...)
		retries := 0
		for range 1000 {
			call := begin(t, up, relay.Order{Tries: 2, Idempotent: true})
			next(t, call)
			if call.Retry(reset) {
				retries++
				next(t, call)
				call.Retry(reset)
			}
			call.End()
		}
		if retries < 200 || retries > 211 { // a fifth of 1,000 and one a second for 10 s
			t.Errorf("%d retries for 1,000 requests", retries)
		}
		elapse(11 * time.Second)
		call := begin(t, up, relay.Order{Tries: 2, Idempotent: true})
		defer call.End()
		next(t, call)
		if !call.Retry(reset) {
			t.Error("the budget does not come back")
		}
	})
}

func TestAFailingReplicaIsLeftOutProbedAndTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := upstreams(relay.Options{}, endpoints(2)...)
		sick := true
		answer := func(id string) relay.Outcome {
			if id == "svc-0" && sick {
				return reset
			}
			return ok
		}
		count := func(n int) (hits int) {
			for range n {
				if one(t, up, answer) == "svc-0" {
					hits++
				}
			}
			return hits
		}
		if hits := count(200); hits != 5 {
			t.Errorf("the failing replica got %d requests before it was left out, want 5", hits)
		}
		elapse(3100 * time.Millisecond)
		if hits := count(200); hits != 1 {
			t.Errorf("%d requests probed it, want 1", hits)
		}
		elapse(3100 * time.Millisecond)
		if hits := count(200); hits != 0 {
			t.Errorf("after a failed probe it got %d requests within the first pause; the pause should double", hits)
		}
		sick = false
		elapse(3 * time.Second)
		if hits := count(200); hits < 50 {
			t.Errorf("healthy again it got %d of 200", hits)
		}
	})
}

func TestOnlyOneRequestProbesAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := upstreams(relay.Options{}, endpoints(2)...)
		for range 100 {
			one(t, up, func(id string) relay.Outcome {
				if id == "svc-0" {
					return reset
				}
				return ok
			})
		}
		elapse(3100 * time.Millisecond)
		probes := 0
		for range 100 { // none of them ends
			call := begin(t, up, relay.Order{Tries: 1})
			defer call.End()
			if next(t, call) == "svc-0" {
				probes++
			}
		}
		if probes != 1 {
			t.Errorf("%d requests probe at once", probes)
		}
	})
}

func TestNeverAllReplicasAreLeftOut(t *testing.T) {
	for n := 1; n <= 5; n++ {
		up := upstreams(relay.Options{}, endpoints(n)...)
		seen := map[string]bool{}
		for i := range 500 {
			id := one(t, up, func(string) relay.Outcome { return reset })
			if i >= 400 {
				seen[id] = true
			}
		}
		if want := n - n/2; len(seen) != want {
			t.Errorf("of %d failing replicas %d still serve, want %d", n, len(seen), want)
		}
	}
}

func TestADrainedReplicaGetsNothingNewAndDrainWaits(t *testing.T) {
	closed := make(chan string, 2)
	up := relay.NewUpstreams(paper{closed}, nil)
	up.Declare(map[string]manifest.Protocol{"svc": manifest.ProtocolHTTP})
	up.Set("svc", endpoints(2))
	var calls []*relay.Call
	inFlight := map[string]int{}
	for range 10 {
		call := begin(t, up, relay.Order{})
		inFlight[next(t, call)]++
		call.Retry(ok)
		calls = append(calls, call)
	}
	if inFlight["svc-0"] == 0 {
		t.Fatal("nothing in flight on svc-0")
	}
	drained := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := up.Drain(ctx, "svc", "svc-0"); !errors.Is(err, context.Canceled) {
		t.Fatalf("Drain with requests in flight: %v", err)
	}
	go func() { drained <- up.Drain(t.Context(), "svc", "svc-0") }()
	for range 100 {
		if id := one(t, up, func(string) relay.Outcome { return ok }); id == "svc-0" {
			t.Fatal("a drained replica got a request")
		}
	}
	for _, c := range calls {
		c.End()
		c.End() // harmless
	}
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	<-closed // its pool
	up.Set("svc", endpoints(1))
	if id := one(t, up, func(string) relay.Outcome { return ok }); id != "svc-0" {
		t.Errorf("a later Set does not bring it back: %s", id)
	}
}

func TestAnEndpointThatStaysKeepsItsPoolAndTakesItsNewDial(t *testing.T) {
	closed := make(chan string, 1)
	up := relay.NewUpstreams(paper{closed}, nil)
	up.Declare(map[string]manifest.Protocol{"svc": manifest.ProtocolHTTP})
	want := errors.New("the new one")
	for _, err := range []error{errors.New("the old one"), want} {
		up.Set("svc", []relay.Endpoint{{ID: "a", Dial: func(context.Context) (net.Conn, error) { return nil, err }}})
	}
	call := begin(t, up, relay.Order{})
	defer call.End()
	target, err := call.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := target.Dial(t.Context()); !errors.Is(err, want) {
		t.Errorf("dialed %v", err)
	}
	if len(closed) != 0 {
		t.Error("the pool was closed")
	}
}

func TestWaitingIsBoundedInTimeAndNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := upstreams(relay.Options{MaxWaiting: 3})
		start := time.Now()
		codes := make(chan fault.Code, 5)
		var callers sync.WaitGroup
		for range 5 {
			callers.Go(func() {
				call := begin(t, up, relay.Order{})
				defer call.End()
				_, err := call.Next(t.Context())
				codes <- fault.CodeOf(err)
			})
		}
		synctest.Wait()
		for range 2 {
			if code := <-codes; code != fault.CodeServiceBusy {
				t.Errorf("beyond the bound: %q", code)
			}
		}
		callers.Wait()
		for range 3 {
			if code := <-codes; code != fault.CodeServiceNotReady {
				t.Errorf("after the wait: %q", code)
			}
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("waited %s", took)
		}
	})
}

func TestARequestIsServedOnceItsServiceIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := upstreams(relay.Options{})
		got := make(chan string)
		go func() {
			call := begin(t, up, relay.Order{})
			defer call.End()
			target, err := call.Next(context.WithoutCancel(t.Context()))
			if err != nil {
				got <- err.Error()
				return
			}
			got <- target.ID()
		}()
		elapse(9 * time.Second)
		up.Set("svc", endpoints(1))
		start := time.Now()
		if id := <-got; id != "svc-0" || time.Since(start) != 0 {
			t.Errorf("%s after %s", id, time.Since(start))
		}
	})
}

func TestTooManyRequestsInFlightAreRefused(t *testing.T) {
	up := upstreams(relay.Options{MaxInFlight: 2}, endpoints(1)...)
	a := begin(t, up, relay.Order{})
	defer begin(t, up, relay.Order{}).End()
	if _, err := up.Begin(relay.Order{Service: "svc"}); fault.CodeOf(err) != fault.CodeServiceBusy {
		t.Errorf("third: %v", err)
	}
	a.End()
	begin(t, up, relay.Order{}).End()
}

func TestServicesThatAreNoLongerDeclaredAreUnknown(t *testing.T) {
	up := upstreams(relay.Options{}, endpoints(1)...)
	call := begin(t, up, relay.Order{})
	defer call.End()
	up.Declare(map[string]manifest.Protocol{"other": manifest.ProtocolGRPC})
	if _, err := call.Next(t.Context()); fault.CodeOf(err) != fault.CodeServiceUnknown {
		t.Errorf("Next: %v", err)
	}
	if _, err := up.Begin(relay.Order{Service: "svc"}); fault.CodeOf(err) != fault.CodeServiceUnknown {
		t.Errorf("Begin: %v", err)
	}
	up.Set("svc", endpoints(1)) // ignored
	if _, known := up.Protocol("svc"); known {
		t.Error("Set declares a service")
	}
}

func TestSnapshotsAreSwappedWhole(t *testing.T) {
	up := upstreams(relay.Options{}, relay.Endpoint{ID: "a-0"}, relay.Endpoint{ID: "b-0"})
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					one(t, up, func(string) relay.Outcome { return ok })
				}
			}
		})
	}
	for i := range 2000 {
		up.Set("svc", []relay.Endpoint{{ID: fmt.Sprint("a-", i)}, {ID: fmt.Sprint("b-", i)}})
		if i%10 == 0 {
			if err := up.Drain(t.Context(), "svc", fmt.Sprint("a-", i)); err != nil {
				t.Error(err)
			}
		}
	}
	close(stop)
	readers.Wait()
	if err := up.Close(); err != nil {
		t.Error(err)
	}
}

// elapse lets time pass in a synctest bubble.
func elapse(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // only in bubbles
