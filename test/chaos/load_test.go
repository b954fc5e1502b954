package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	rate        = 500              // requests a second: what two processors bear with the race detector, beside other tests
	outstanding = 4096             // at most so many at once; beyond, the load itself has failed
	answerLimit = 10 * time.Second // for one request
)

// load sends requests open loop: each at its time, whether or not earlier ones were answered.
type load struct {
	client *http.Client
	method string
	urls   [10]string // in turn
	end    context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	answered []time.Duration // guarded by mu
	failures []string        // guarded by mu: the first few
	failed   int             // guarded by mu
}

// startLoad begins to send requests to the service web at the rate. Three of ten take 20 ms, so that some are always
// in flight; one calls the service api: more would measure the race detector on a small machine. A GET may be tried
// again; a POST that reached a replica may not, so that its replica must see it through.
func startLoad(t *testing.T, method, gateway string) *load {
	t.Helper()
	urls := [10]string{gateway + "/call/api/slow?for=5ms"}
	for i := range urls[1:] {
		urls[i+1] = gateway + []string{"/say", "/say", "/slow?for=20ms"}[i%3]
	}
	ctx, end := context.WithCancel(context.Background())
	transport := &http.Transport{MaxIdleConns: 512, MaxIdleConnsPerHost: 512}
	l := &load{client: &http.Client{Transport: transport}, method: method, urls: urls, end: end, done: make(chan struct{})}
	go l.run(ctx)
	t.Cleanup(func() {
		end()
		<-l.done
		transport.CloseIdleConnections()
	})
	return l
}

func (l *load) run(ctx context.Context) {
	defer close(l.done)
	var open sync.WaitGroup
	defer open.Wait()
	places := make(chan struct{}, outstanding)
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	began, sent := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for due := int(time.Since(began) * rate / time.Second); sent < due; sent++ {
			select {
			case places <- struct{}{}:
			default:
				l.note(0, fmt.Errorf("%d requests wait for their answers", outstanding))
				continue
			}
			url := l.urls[sent%len(l.urls)]
			open.Go(func() {
				defer func() { <-places }()
				at := time.Now()
				err := l.send(context.WithoutCancel(ctx), url)
				l.note(time.Since(at), err)
			})
		}
	}
}

// send sends one request, which outlives the load and must be answered with 200 and a whole body.
func (l *load) send(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, l.method, url, nil)
	if err != nil {
		return err
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s: %s", url, resp.Status, body)
	}
	return nil
}

func (l *load) note(took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.answered = append(l.answered, took)
		return
	}
	l.failed++
	if len(l.failures) < 5 {
		l.failures = append(l.failures, time.Now().Format("15:04:05.000 ")+err.Error())
	}
}

// count is how many requests have been answered so far.
func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.answered)
}

// stop ends the load, waits for every answer, and fails the test if one request failed.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.end()
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.answered)
	n := len(l.answered)
	if n == 0 {
		t.Fatalf("no request was answered: %v", l.failures)
	}
	t.Logf("%d requests answered: p50 %v, p99 %v, longest %v", n, l.answered[n/2], l.answered[n*99/100], l.answered[n-1])
	if l.failed > 0 {
		t.Errorf("%d of %d requests failed, at first: %q", l.failed, n+l.failed, l.failures)
	}
}

// awaitMore waits until so many more requests have been answered.
func (l *load) awaitMore(t *testing.T, n int) {
	t.Helper()
	want := l.count() + n
	await(t, 20*time.Second, fmt.Sprintf("%d more requests answered", n), func() bool { return l.count() >= want })
}
