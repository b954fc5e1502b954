package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/sdk"
)

// starter starts sagas and writes down which it was told are started: "P id" before it asks, "A id instance" once it was answered.
// A ledger needs no sync for that: what was written outlives the writer.
type starter struct {
	dir   string
	sagas *sdk.Sagas

	mu   sync.Mutex
	file *os.File // guarded by mu
}

func startAll(dir string) error {
	path := filepath.Join(dir, "starts")
	open, err := unanswered(path)
	if err != nil {
		return err
	}
	s := &starter{dir: dir}
	if s.file, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	s.write("") // ends a line that a killed process has begun
	if s.sagas, err = sdk.NewSagas(nil); err != nil {
		return err
	}
	ids := make(chan string)
	for range 8 {
		go func() {
			for id := range ids {
				s.start(id)
			}
		}()
	}
	for _, id := range open {
		ids <- id
	}
	run := fmt.Sprintf("%d-%d", os.Getpid(), rand.IntN(1e6))
	for n := 0; ; n++ {
		if told(dir, "quiet") {
			<-time.After(100 * time.Millisecond)
			continue
		}
		id := fmt.Sprintf("%s-%d", run, n)
		s.write("P " + id)
		ids <- id
	}
}

// unanswered lists what an earlier process has asked for without an answer.
func unanswered(path string) ([]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var order []string
	answered := map[string]bool{}
	in := bufio.NewScanner(f)
	for in.Scan() {
		switch word, id, _ := strings.Cut(in.Text(), " "); word {
		case "P":
			order = append(order, id)
		case "A":
			id, _, _ = strings.Cut(id, " ")
			answered[id] = true
		}
	}
	var open []string
	for _, id := range order {
		if !answered[id] {
			open = append(open, id)
		}
	}
	return open, in.Err()
}

func (s *starter) write(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.file.WriteString(line + "\n"); err != nil {
		fmt.Fprintln(os.Stderr, "ERROR ledger:", err)
		os.Exit(1)
	}
}

// start asks until it is answered, by the same key. Half of the starts are asked for twice.
func (s *starter) start(id string) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		i, err := s.sagas.Start(ctx, "book", order{ID: id}, &sdk.StartOptions{Key: id})
		if err == nil && fate(id) < 50 {
			if again, err := s.sagas.Start(ctx, "book", order{ID: id}, &sdk.StartOptions{Key: id}); err == nil && again.ID != i.ID {
				s.write("X " + id + " " + again.ID)
			}
		}
		cancel()
		if err == nil {
			s.write("A " + id + " " + i.ID)
			return
		}
		fmt.Fprintln(os.Stderr, "start:", err)
		<-time.After(20 * time.Millisecond)
	}
}
