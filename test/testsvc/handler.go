package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/websocket"
)

// handler answers by the last part of a path that it knows, so that it serves below any prefix that a route leaves.
func handler(o *options) http.Handler {
	var sick atomic.Bool
	events, sagaSteps := &taker{}, newSteps()
	paths := map[string]http.HandlerFunc{
		"healthz": func(w http.ResponseWriter, _ *http.Request) {
			if sick.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		},
		"sicken": func(http.ResponseWriter, *http.Request) { sick.Store(true) },
		"heal":   func(http.ResponseWriter, *http.Request) { sick.Store(false) },
		"say":    func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, o.say) },
		"pid":    func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, os.Getpid()) },
		"crash":  func(http.ResponseWriter, *http.Request) { crash("told to crash") },
		"exit": func(_ http.ResponseWriter, r *http.Request) {
			code, _ := strconv.Atoi(r.URL.Query().Get("code"))
			os.Exit(code)
		},
		"echo": echo, "env": env, "call": call, "tcp": callTCP, "slow": slow, "log": logLine, "stream": stream,
		"take": events.take, "taken": events.list, "mend": events.mend, "publish": publish,
		"set": sagaSteps.set, "do": sagaSteps.do, "undo": sagaSteps.undo, "steps": sagaSteps.list, "finish": sagaSteps.finish, "sagas": sagas,
		"status": status, "ws": websocket.Handler(func(c *websocket.Conn) { _, _ = io.Copy(c, c) }).ServeHTTP,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for segment := range strings.SplitSeq(r.URL.Path, "/") {
			if h := paths[segment]; h != nil {
				h(w, r)
				return
			}
		}
		http.NotFound(w, r)
	})
}

// crash ends the process as a program does that panics outside of a request.
func crash(why string) {
	go panic(why)
	select {}
}

// echo answers with the request itself.
func echo(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s %s\nHost: %s\n", r.Method, r.URL.RequestURI(), r.Host)
	for _, name := range slices.Sorted(mapKeys(r.Header)) {
		for _, value := range r.Header[name] {
			fmt.Fprintf(w, "%s: %s\n", name, value)
		}
	}
	fmt.Fprintf(w, "body %d\n", n)
}

func mapKeys(h http.Header) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for name := range h {
			if !yield(name) {
				return
			}
		}
	}
}

// env answers with the environment, a variable a line.
func env(w http.ResponseWriter, _ *http.Request) {
	list := os.Environ()
	slices.Sort(list)
	for _, entry := range list {
		fmt.Fprintln(w, entry)
	}
}

// status answers with the status that the query names.
func status(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.URL.Query().Get("code"))
	if err != nil || code < 200 || code > 599 {
		code = http.StatusBadRequest
	}
	w.WriteHeader(code)
}

// call calls another service: /call/NAME/PATH?QUERY asks for PATH?QUERY at $NAME_URL, with the trace carried on.
func call(w http.ResponseWriter, r *http.Request) {
	_, rest, _ := strings.Cut(r.URL.RequestURI(), "/call/")
	name, path, _ := strings.Cut(rest, "/")
	req, err := http.NewRequestWithContext(r.Context(), r.Method, os.Getenv(variable(name)+"_URL")+"/"+path, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	req.Header.Set("traceparent", r.Header.Get("traceparent"))
	client := &http.Client{Transport: http.DefaultTransport}
	resp, err := client.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body) // the caller sees a body cut off
}

func variable(service string) string {
	return strings.ToUpper(strings.ReplaceAll(service, "-", "_"))
}

// callTCP calls a service that speaks tcp: /tcp/NAME/TEXT sends TEXT to $NAME_ADDR and answers with what comes back.
func callTCP(w http.ResponseWriter, r *http.Request) {
	_, rest, _ := strings.Cut(r.URL.Path, "/tcp/")
	name, text, _ := strings.Cut(rest, "/")
	answer, err := exchange(r.Context(), os.Getenv(variable(name)+"_ADDR"), text)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprint(w, answer)
}

// exchange reads a greeting, sends a line and reads one.
func exchange(ctx context.Context, addr, text string) (string, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	greeting, err := in.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read greeting: %w", err)
	}
	if _, err := fmt.Fprintln(conn, text); err != nil {
		return "", fmt.Errorf("send: %w", err)
	}
	answer, err := in.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read answer: %w", err)
	}
	return greeting + answer, nil
}

// slow answers after the time that the query names, unless the client goes before.
func slow(w http.ResponseWriter, r *http.Request) {
	wait, err := time.ParseDuration(r.URL.Query().Get("for"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case <-r.Context().Done():
	case <-time.After(wait):
		fmt.Fprintln(w, "at last")
	}
}

// stream sends a numbered line every 20 ms, as many as the query names.
func stream(w http.ResponseWriter, r *http.Request) {
	lines, err := strconv.Atoi(r.URL.Query().Get("lines"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	controller := http.NewResponseController(w)
	for i := range lines {
		fmt.Fprintln(w, i)
		if controller.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-ticker.C:
		}
	}
	fmt.Fprintln(w, "end")
}

// logLine writes the text of the query to standard output, or to standard error where the query says err.
func logLine(_ http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	out := os.Stdout
	if q.Has("err") {
		out = os.Stderr
	}
	fmt.Fprintln(out, q.Get("text"))
}
