// Command sagasvc is a service under Atoll that starts sagas, or that takes and undoes their steps and counts every effect in a
// database of its own, so that a test can hold the books of all against each other. It may be killed at any instruction.
package main

import (
	"flag"
	"fmt"
	"hash/fnv"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

func main() {
	role := flag.String("role", "", "starts, or the name of a service that takes steps")
	dir := flag.String("dir", "", "folder of the ledgers; a file calm in it ends failures, a file quiet ends starting")
	flag.Parse()
	if err := run(*role, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "ERROR", err)
		os.Exit(1)
	}
}

func run(role, dir string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	failed := make(chan error, 2)
	if role == "starts" {
		go func() { failed <- startAll(dir) }()
	} else {
		b, err := openBook(dir)
		if err != nil {
			return err
		}
		mux.Handle("POST /do/{step}", b.handler(b.do))
		mux.Handle("POST /undo/{step}", b.handler(b.undo))
	}
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { failed <- server.ListenAndServe() }()
	return <-failed
}

// told tells whether the test has written a file.
func told(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// fate is a number from 0 to 99 that a text always has.
func fate(text string) int {
	h := fnv.New32a()
	h.Write([]byte(text))
	return int(h.Sum32() % 100)
}
