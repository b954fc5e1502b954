package chaos_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/test/internal/rig"
)

// times is how often something is done: as often in the short form as the promise says, ten times that in the soak.
func times(n int) int {
	if soak() {
		return 10 * n
	}
	return n
}

func TestNoRequestFailsThroughHundredReloadsAndTwentyRestarts(t *testing.T) {
	a := start(t, 2)
	l := startLoad(t, http.MethodPost, a.gateway)
	l.awaitMore(t, 200)
	const reloadsPerRestart = 5
	for i := range times(20) {
		a.atoll(t, "restart", []string{"web", "api"}[i%2])
		for j := range reloadsPerRestart {
			mark := i*reloadsPerRestart + j + 1
			a.write(t, "atoll.yaml", manifestOf(mark))
			a.reload(t)
			if j == 0 {
				wantStatus(t, fmt.Sprintf("%s/mark-%d/say", a.gateway, mark), http.StatusOK)
			}
			l.awaitMore(t, 20)
		}
	}
	l.stop(t)
}

func TestNoRequestFailsWhileAnotherReplicaStandsAndTheKilledOneIsBackWithinASecond(t *testing.T) {
	for range times(1) {
		a := start(t, 2)
		l := startLoad(t, http.MethodGet, a.gateway)
		l.awaitMore(t, 200)
		var took []time.Duration
		for _, service := range []string{"web", "api"} {
			for _, victim := range a.replicas(t, service) {
				took = append(took, kill(t, a, victim))
				l.awaitMore(t, 500)
			}
		}
		l.stop(t)
		// Half of them must hold it: a machine that is busy with something else may start any one program late.
		if slices.Sort(took); took[len(took)/2-1] > time.Second {
			t.Errorf("killed replicas were back after %v", took)
		}
	}
}

// kill kills a replica and tells after how long it was ready again.
func kill(t *testing.T, a *app, victim api.Replica) time.Duration {
	t.Helper()
	if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	const patience = 20 * time.Second
	took := await(t, patience, victim.Replica+" is ready again", func() bool {
		now := find(a.replicas(t, victim.Service), victim.Replica)
		return now.State == "ready" && now.PID != victim.PID
	})
	t.Logf("%s was back after %v", victim.Replica, took)
	return took
}

func TestNoRequestFailsWhileReplicasComeAndGo(t *testing.T) {
	a := start(t, 1)
	l := startLoad(t, http.MethodPost, a.gateway)
	l.awaitMore(t, 200)
	for range times(3) {
		a.atoll(t, "scale", "web=3", "api=3")
		l.awaitMore(t, 300)
		a.atoll(t, "scale", "web=1", "api=1")
		l.awaitMore(t, 300)
	}
	l.stop(t)
}

func TestStreamsAndWebSocketsSurviveReloads(t *testing.T) {
	a := start(t, 1)
	ws, err := websocket.Dial(strings.Replace(a.gateway, "http:", "ws:", 1)+"/ws", "", a.gateway)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	const lines = 100
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/stream?lines=%d", a.gateway, lines), nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewScanner(resp.Body)
	for i := range lines {
		if !in.Scan() || in.Text() != fmt.Sprint(i) {
			t.Fatalf("line %d of the stream: %q, %v", i, in.Text(), in.Err())
		}
		if i%10 > 0 {
			continue
		}
		a.write(t, "atoll.yaml", manifestOf(i+1))
		a.reload(t)
		if err := websocket.Message.Send(ws, fmt.Sprint("message ", i)); err != nil {
			t.Fatalf("send after reload: %v", err)
		}
		var back string
		if err := websocket.Message.Receive(ws, &back); err != nil || back != fmt.Sprint("message ", i) {
			t.Fatalf("the WebSocket answered %q, %v", back, err)
		}
	}
	if !in.Scan() || in.Text() != "end" {
		t.Errorf("the stream did not come to its end: %q, %v", in.Text(), in.Err())
	}
}

func TestNothingOutlivesAKilledAtoll(t *testing.T) {
	for range times(1) {
		a := start(t, 2)
		family, err := rig.Family(a.pid)
		if err != nil {
			t.Fatal(err)
		}
		services, err := rig.Services(a.dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(services) != 4 || len(family) < 6 {
			t.Fatalf("there should be four services and, with Atoll and its guard, six processes: %v, %v", services, family)
		}
		if err := syscall.Kill(a.pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		all := append(family, services...)
		// The promise is two seconds, which bench/up measures; the race detector's own runtime waits one at the guard's end.
		took := await(t, 5*time.Second, fmt.Sprintf("all of %v have ended", all), func() bool {
			for _, p := range all {
				if p.Alive() {
					return false
				}
			}
			left, err := rig.Services(a.dir)
			return err == nil && len(left) == 0
		})
		t.Logf("nothing was left after %v", took)
	}
}

func TestRequestsInFlightFinishWhenTheApplicationIsTakenDown(t *testing.T) {
	a := start(t, 1)
	answers := make(chan error, 20)
	for range cap(answers) {
		go func() { answers <- slowly(a.gateway + "/slow?for=1s") }()
	}
	await(t, 10*time.Second, "the requests are under way", func() bool { return a.inFlight(t) })
	a.atoll(t, "down")
	for range cap(answers) {
		if err := <-answers; err != nil {
			t.Errorf("a request that was in flight: %v", err)
		}
	}
}

// inFlight tells whether the service has had the requests for a while: a request that was sent later is answered.
func (a *app) inFlight(t *testing.T) bool {
	t.Helper()
	return slowly(a.gateway+"/slow?for=300ms") == nil
}

// slowly sends a request that takes its time and must be answered in full.
func slowly(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && string(body) != "at last\n" {
		err = fmt.Errorf("it answered %s: %s", resp.Status, body)
	}
	return err
}

// find is the replica of a name, or an empty one.
func find(all []api.Replica, name string) api.Replica {
	for _, r := range all {
		if r.Replica == name {
			return r
		}
	}
	return api.Replica{}
}

// wantStatus sends a GET that must be answered with a status.
func wantStatus(t *testing.T, url string, status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != status {
		t.Errorf("%s answered %s, not %d", url, resp.Status, status)
	}
}
