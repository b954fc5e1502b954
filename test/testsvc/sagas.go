package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
)

// steps takes and undoes steps of sagas, once for each Idempotency-Key, and keeps its answers as the SDK's barrier does. What it does with
// a step is set by its name: ok, refuse, fail, fail-N (so many times), hang, or later (202, until it is told to finish).
type steps struct {
	mu        sync.Mutex
	behaviour map[string]string // guarded by mu: by step; of an undo by undo-STEP
	answers   map[string]int    // guarded by mu: status by key
	taken     []string          // guarded by mu: what had an effect
	callbacks map[string]string // guarded by mu: where the end of a step is told
}

func newSteps() *steps {
	return &steps{behaviour: map[string]string{}, answers: map[string]int{}, callbacks: map[string]string{}}
}

// set sets what is done with a step: /set/STEP/BEHAVIOUR.
func (s *steps) set(_ http.ResponseWriter, r *http.Request) {
	_, rest, _ := strings.Cut(r.URL.Path, "/set/")
	step, behaviour, _ := strings.Cut(rest, "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behaviour[step] = behaviour
}

func (s *steps) do(w http.ResponseWriter, r *http.Request) {
	_, step, _ := strings.Cut(r.URL.Path, "/do/")
	s.take(w, r, step, step)
}

func (s *steps) undo(w http.ResponseWriter, r *http.Request) {
	_, step, _ := strings.Cut(r.URL.Path, "/undo/")
	s.take(w, r, "undo-"+step, "undo "+step)
}

func (s *steps) take(w http.ResponseWriter, r *http.Request, name, effect string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	key := r.Header.Get("Idempotency-Key")
	status := s.decide(name, key, effect+" "+string(body), r.Header.Get("Atoll-Callback"))
	if status == 0 {
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if status >= 400 {
		fmt.Fprintf(w, `{"title": "told to", "detail": "told to answer %d"}`, status)
		return
	}
	fmt.Fprintf(w, `{"step": %q, "key": %q}`, name, key)
}

// decide is the status of an answer; 0 stands for none.
func (s *steps) decide(name, key, effect, callback string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if status, ok := s.answers[key]; ok {
		return status
	}
	behaviour, count, _ := strings.Cut(s.behaviour[name], "-")
	switch behaviour {
	case "hang":
		return 0
	case "fail":
		if n, err := strconv.Atoi(count); err == nil {
			s.behaviour[name] = fmt.Sprintf("fail-%d", n-1)
			if n == 1 {
				s.behaviour[name] = ""
			}
		}
		return http.StatusServiceUnavailable
	case "refuse":
		s.answers[key] = http.StatusConflict
		return http.StatusConflict
	case "later":
		s.callbacks[name] = callback
		return http.StatusAccepted
	}
	s.answers[key] = http.StatusOK
	s.taken = append(s.taken, effect)
	return http.StatusOK
}

// list answers with what had an effect, a line each.
func (s *steps) list(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.taken {
		fmt.Fprintln(w, line)
	}
}

// finish tells the end of a step that was answered with 202: /finish/STEP posts its body to where that is told.
func (s *steps) finish(w http.ResponseWriter, r *http.Request) {
	_, step, _ := strings.Cut(r.URL.Path, "/finish/")
	s.mu.Lock()
	url := s.callbacks[step]
	s.mu.Unlock()
	forward(w, r, url)
}

// sagas asks for sagas: /sagas/REST goes to $SAGAS_URL/REST.
func sagas(w http.ResponseWriter, r *http.Request) {
	_, rest, _ := strings.Cut(r.URL.RequestURI(), "/sagas/")
	forward(w, r, os.Getenv("SAGAS_URL")+"/"+rest)
}

// forward sends a request on and answers with the answer.
func forward(w http.ResponseWriter, r *http.Request, url string) {
	req, err := http.NewRequestWithContext(r.Context(), r.Method, url, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for _, name := range []string{"Content-Type", "Idempotency-Key", "Prefer"} {
		if value := r.Header.Get(name); value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := (&http.Client{Transport: http.DefaultTransport}).Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body) // the caller sees a body cut off
}
