// Command sagaengine is a saga engine at a PostgreSQL that several share, without the rest of Atoll, so that a test can stop, cut off
// and kill one of them. It may be killed at any instruction.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/define"
	"github.com/atollhq/atoll/internal/saga/pgsaga"
)

func main() {
	db := flag.String("db", "", "URL of the database")
	lease := flag.Duration("lease", 2*time.Second, "how long shards are owned")
	book := flag.String("book", "", "canonical JSON of the definition")
	services := flag.String("services", "{}", "addresses of services, as JSON")
	flag.Parse()
	if err := run(*db, *lease, *book, *services); err != nil {
		fmt.Fprintln(os.Stderr, "ERROR", err)
		os.Exit(1)
	}
}

func run(db string, lease time.Duration, book, services string) error {
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	store, err := pgsaga.Open(ctx, db, &pgsaga.Options{Lease: lease, Logger: log})
	if err != nil {
		return err
	}
	c := caller{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	if err := json.Unmarshal([]byte(services), &c.addresses); err != nil {
		return err
	}
	engine, err := saga.Open(ctx, store, &c, &saga.Options{Logger: log, Compile: compile})
	if err != nil {
		return err
	}
	source, err := os.ReadFile(book)
	if err != nil {
		return err
	}
	plan, err := compile(source)
	if err != nil {
		return err
	}
	commit, err := engine.Prepare(ctx, []*saga.Plan{plan})
	if err != nil {
		return err
	}
	commit()
	engine.Run()
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it lives as long as the process
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr()) //nolint:forbidigo // the test reads it
	mux := http.NewServeMux()
	mux.HandleFunc("POST /start", func(w http.ResponseWriter, r *http.Request) { start(w, r, engine) })
	return (&http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}).Serve(ln)
}

func compile(source []byte) (*saga.Plan, error) {
	def, err := define.Decode(source)
	if err != nil {
		return nil, err
	}
	plan, faults := define.Compile(def, define.Options{})
	return plan, faults.Err()
}

// start answers with the id of the instance, with 409 where the key has another input, and with 503 where nobody knows.
func start(w http.ResponseWriter, r *http.Request, e *saga.Engine) {
	input, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	i, err := e.Start(r.Context(), saga.Ask{Saga: "book", Input: input, Idem: r.Header.Get("Idempotency-Key")})
	switch {
	case err == nil:
		_, _ = io.WriteString(w, i.ID)
	case fault.CodeOf(err) == fault.CodeSagaKeyReused:
		w.WriteHeader(http.StatusConflict)
	default:
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// caller calls services at fixed addresses.
type caller struct {
	client    *http.Client
	addresses map[string]string
}

// Call implements saga.Caller.
func (c *caller) Call(ctx context.Context, o *saga.Outgoing) saga.Result {
	req, err := http.NewRequestWithContext(ctx, o.Request.Method, "http://"+c.addresses[o.Request.Service]+o.Request.Path, bytes.NewReader(o.Request.Body))
	if err != nil {
		return saga.Result{Verdict: saga.Unsent, Text: err.Error()}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", o.Key)
	req.Header.Set("Atoll-Attempt", strconv.Itoa(o.Number))
	res, err := c.client.Do(req)
	if err != nil {
		if _, ok := errors.AsType[*net.OpError](err); ok && ctx.Err() == nil {
			return saga.Result{Verdict: saga.NoAnswer, Text: err.Error()}
		}
		return saga.Result{Verdict: saga.NoAnswer, Text: "no answer"}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return saga.Result{Verdict: saga.NoAnswer, Text: "half an answer"}
	}
	if !json.Valid(body) {
		body = nil
	}
	return saga.Result{Verdict: saga.Answered, Answer: saga.Answer{Status: res.StatusCode, Body: body}}
}
