package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
)

// taker takes deliveries of events. What their data say decides the answer, until it is mended: refuse, fail, or anything else.
type taker struct {
	mu     sync.Mutex
	mended bool     // guarded by mu
	taken  []string // guarded by mu: topic and data
}

// take takes a delivery.
func (t *taker) take(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch text := string(data); {
	case strings.Contains(text, "refuse") && !t.mended:
		http.Error(w, "told to refuse", http.StatusUnprocessableEntity)
	case strings.Contains(text, "fail") && !t.mended:
		http.Error(w, "told to fail", http.StatusInternalServerError)
	case strings.Contains(text, "gone") && !t.mended:
		http.Error(w, "told to be gone", http.StatusGone)
	default:
		t.taken = append(t.taken, r.Header.Get("Atoll-Topic")+" "+text)
		w.WriteHeader(http.StatusNoContent)
	}
}

// list answers with what was taken, a line each.
func (t *taker) list(w http.ResponseWriter, _ *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, line := range t.taken {
		fmt.Fprintln(w, line)
	}
}

// mend lets all be taken from now on.
func (t *taker) mend(http.ResponseWriter, *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mended = true
}

// publish publishes its body: /publish/TOPIC posts to $EVENTS_URL/TOPIC and answers with the answer.
func publish(w http.ResponseWriter, r *http.Request) {
	_, topic, _ := strings.Cut(r.URL.Path, "/publish/")
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, os.Getenv("EVENTS_URL")+"/"+topic, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	req.Header.Set("Content-Type", r.Header.Get("Content-Type"))
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
