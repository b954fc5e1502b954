// Command service is the service whose steps the sagas of bench/saga take: it answers each at once, but for those that hang.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /about", about)
	mux.HandleFunc("POST /step", step)
	mux.HandleFunc("POST /undo", step)
	mux.HandleFunc("POST /hang", hang)
	server := http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: mux, ReadHeaderTimeout: time.Minute}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// about tells the bench what it has no other way to know.
func about(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"pid": os.Getpid(), "sagas": os.Getenv("SAGAS_URL")}) // a reader that is gone asks again
}

func step(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // what is asked for does not matter
	w.Header()["Content-Type"] = []string{"application/json"}
	_, _ = io.WriteString(w, `{"id":"s-17","done":true}`) // a caller that is gone calls again
}

// hang answers when nobody waits any more.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // the server sees the caller go only when the body is read
	<-r.Context().Done()
}
