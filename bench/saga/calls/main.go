// Command calls does for bench/saga what Atoll does for a saga of five steps, without keeping anything: it takes a start, calls the
// service five times by the client with which Atoll calls services, with the same head and body, notes a span of each call as Atoll
// does, and answers. What its process costs is what the calls cost.
//
//	calls HOST:PORT    (of the service)
//
// It prints the address where it takes starts.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/relay/std"
)

const (
	service = "work"
	steps   = 5
	maxBody = 1 << 20
	timeout = 30 * time.Second // of a call
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("give the address of the service")
	}
	up := relay.NewUpstreams(std.New(), nil)
	defer func() { _ = up.Close() }()
	up.Declare(map[string]manifest.Protocol{service: manifest.ProtocolHTTP})
	var d net.Dialer
	up.Set(service, []relay.Endpoint{{ID: "work-1", Dial: func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", args[0]) }}})
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if _, err := fmt.Fprintln(out, ln.Addr()); err != nil {
		return err
	}
	c := &caller{up: up}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{saga}", c.take)
	server := http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type caller struct {
	up    *relay.Upstreams
	taken atomic.Int64
}

// take takes a start, makes the calls, and answers as Atoll does when a saga has ended.
func (c *caller) take(w http.ResponseWriter, r *http.Request) {
	var input struct {
		Order  string `json:"order"`
		Amount int    `json:"amount"`
	}
	began := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		err = json.Unmarshal(body, &input)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	id := strconv.FormatInt(c.taken.Add(1), 10)
	for step := range steps {
		text, err := json.Marshal(input)
		if err == nil {
			err = c.call(r.Context(), id, "s"+strconv.Itoa(step+1), text)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
	}
	text, err := json.Marshal(map[string]any{
		"id": id, "saga": r.PathValue("saga"), "state": "completed", "input": json.RawMessage(body), "started": began, "ended": time.Now(),
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header()["Content-Type"] = []string{"application/json"}
	_, _ = w.Write(text) // who has gone asks again
}

// call makes one call.
func (c *caller) call(ctx context.Context, id, step string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	trace := relay.NewTrace()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+service+"/step", bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Traceparent": trace.Traceparent(), "User-Agent": "atoll", "Idempotency-Key": id + "/" + step + "/do",
		"Atoll-Saga": "five", "Atoll-Attempt": "1", relay.CallerHeader: "saga/five", relay.DeadlineHeader: strconv.FormatInt(timeout.Milliseconds(), 10),
	} {
		req.Header[name] = []string{value}
	}
	a, _, err := std.Send(ctx, c.up, service, req, maxBody)
	if err != nil {
		return err
	}
	if a.Status != http.StatusOK || !json.Valid(a.Body) {
		return fmt.Errorf("the service answered %d: %s", a.Status, a.Body)
	}
	return nil
}
