// Command load sends page views to the gateway for a while, as fast as they are taken or at a given rate, and prints how many
// were acknowledged. It goes to loopback only and is bounded in time and in connections.
//
//	go run ./cmd/load [-for 10s] [-conns 8] [-batch 100] [-rate 0] [http://127.0.0.1:8080]
//
// The gateway's route has a limit of requests for each address; what it refuses (429) is counted apart.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"sync"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// load is a run.
type load struct {
	url    string
	tag    string // of this run's visitors
	batch  int
	client *http.Client

	mu        sync.Mutex // guards all below
	accepted  int
	refused   int // requests, by the limit of the route
	broken    int // connections: the gateway may close one whose body it does not want
	latencies []time.Duration
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	span := flags.Duration("for", 10*time.Second, "how long, at most 20s")
	conns := flags.Int("conns", 8, "connections, at most 64")
	batch := flags.Int("batch", 100, "events in a request, at most 1000")
	rate := flags.Int("rate", 0, "events a second, all together; 0: as fast as they are taken")
	if err := flags.Parse(args); err != nil {
		return err
	}
	gateway := "http://127.0.0.1:8080"
	if flags.NArg() > 0 {
		gateway = flags.Arg(0)
	}
	u, err := url.Parse(gateway)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() {
		return errors.New("load goes to a loopback address only, such as http://127.0.0.1:8080")
	}
	*span, *conns, *batch = min(*span, 20*time.Second), min(max(*conns, 1), 64), min(max(*batch, 1), 1000)
	l := &load{
		url: gateway + "/track", tag: rand.Text()[:8], batch: *batch,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: *conns}},
	}
	defer l.client.CloseIdleConnections()
	sending, cancel := context.WithTimeout(ctx, *span)
	defer cancel()
	began := time.Now()
	var wg sync.WaitGroup
	errs := make([]error, *conns)
	for i := range *conns {
		var pace time.Duration
		if *rate > 0 {
			pace = time.Duration(float64(*batch**conns) / float64(*rate) * float64(time.Second))
		}
		wg.Go(func() { errs[i] = l.connection(ctx, sending.Done(), i, pace) })
	}
	wg.Wait()
	l.report(out, time.Since(began))
	return errors.Join(errs...)
}

// connection sends one batch after the other until the time is up; the last one is waited for.
func (l *load) connection(ctx context.Context, up <-chan struct{}, conn int, pace time.Duration) error {
	next := time.NewTimer(0)
	defer next.Stop()
	for n := 0; ; n++ {
		select {
		case <-next.C:
			next.Reset(pace)
		case <-up:
			return nil
		}
		err := l.send(ctx, conn, n)
		if _, cut := errors.AsType[*url.Error](err); cut && ctx.Err() == nil {
			l.mu.Lock()
			l.broken++
			l.mu.Unlock()
		} else if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// send sends a batch of views by many visitors; one in twenty is of a page that a rule is about.
func (l *load) send(ctx context.Context, conn, n int) error {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	now := time.Now()
	for i := range l.batch {
		path := fmt.Sprintf("/blog/%d", i)
		if i%20 == 0 {
			path = "/pricing"
		}
		err := enc.Encode(map[string]any{
			"id": fmt.Sprintf("%d-%d", n, i), "visitor": fmt.Sprintf("%s-%d-%d", l.tag, conn, (n*l.batch+i)%5000), "kind": "page", "path": path,
			"at": now, "sent_at": now,
		})
		if err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, &body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	began := time.Now()
	resp, err := l.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var taken struct {
		Accepted int `json:"accepted"`
	}
	switch resp.StatusCode {
	case http.StatusAccepted:
		err = json.NewDecoder(resp.Body).Decode(&taken)
	case http.StatusTooManyRequests:
		_, err = io.Copy(io.Discard, resp.Body)
	default:
		return errors.New("the gateway answers " + resp.Status)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted += taken.Accepted
	l.latencies = append(l.latencies, time.Since(began))
	if resp.StatusCode == http.StatusTooManyRequests {
		l.refused++
	}
	return nil
}

func (l *load) report(out io.Writer, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(out, "%d events acknowledged in %s: %.0f/s, %d to a request\n", l.accepted, took.Round(time.Millisecond),
		float64(l.accepted)/took.Seconds(), l.batch)
	if l.refused+l.broken > 0 {
		fmt.Fprintf(out, "%d requests refused by the limit of the route, %d connections cut off\n", l.refused, l.broken)
	}
	if len(l.latencies) == 0 {
		return
	}
	slices.Sort(l.latencies)
	at := func(p int) time.Duration { return l.latencies[(len(l.latencies)-1)*p/100].Round(10 * time.Microsecond) }
	fmt.Fprintf(out, "a request takes %s at the median, %s at p99\n", at(50), at(99))
}
