// Command eventsvc is a service that publishes or takes events under Atoll and writes down what it was told and what it told, so
// that a test can hold all of that against what was promised. It may be killed at any instruction. A ledger needs no sync for
// that: what was written outlives the writer.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// topic is what all events are published to.
const topic = "order.placed"

func main() {
	role := flag.String("role", "", "single, batch, nats, sqlite or postgres publish; takes, slow, crashes, stalls, fails or refuses take")
	dir := flag.String("dir", "", "folder of the ledgers; a file calm in it ends crashes and stalls, a file quiet ends publishing")
	flag.Parse()
	if err := run(*role, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "ERROR", err)
		os.Exit(1)
	}
}

func run(role, dir string) error {
	l, err := openLedger(dir, role)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.Handle("POST /events", &taker{role: role, ledger: l})
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { failed <- server.ListenAndServe() }()
	if publish, atOnce := publishing(role); publish != nil {
		go func() { failed <- publishAll(context.Background(), l, publish, atOnce) }()
	}
	return <-failed
}

// ledger is a file of lines, each of which is there once write has returned.
type ledger struct {
	dir string

	mu   sync.Mutex
	file *os.File // guarded by mu

	order []string        // what was to be published, as an earlier process has left it
	acked map[string]bool // of that
}

func openLedger(dir, role string) (*ledger, error) {
	path := filepath.Join(dir, role)
	l := &ledger{dir: dir, acked: map[string]bool{}}
	if err := l.read(path); err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	var err error
	if l.file, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l.write("") // ends a line that a killed process has begun
	return l, nil
}

func (l *ledger) read(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		switch word, id, _ := strings.Cut(in.Text(), " "); word {
		case "P":
			l.order = append(l.order, id)
		case "A":
			l.acked[id] = true
		}
	}
	return in.Err()
}

func (l *ledger) write(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.file.WriteString(line + "\n"); err != nil {
		fmt.Fprintln(os.Stderr, "ERROR ledger:", err)
		os.Exit(1)
	}
}

// told tells whether the test has written a file.
func (l *ledger) told(name string) bool {
	_, err := os.Stat(filepath.Join(l.dir, name))
	return err == nil
}
