package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
)

const (
	maxWatched  = 48
	maxAnswer   = 8 << 20 // bytes
	watchEvery  = time.Second
	maxEvery    = time.Minute
	watchLimit  = 15 * time.Second // for one answer
	watchShare  = 5                // of the time at most one part in so many is spent on answering a path
	heartbeat   = 15 * time.Second
	eventStream = "text/event-stream"
)

// watched is a path whose answer is sent whenever it changes.
type watched struct {
	get   string // as it was asked
	path  string
	every time.Duration
}

// watch sends the answers of many paths, each at once and then whenever it has changed, as server-sent events.
func (s *server) watch(w http.ResponseWriter, r *http.Request) error {
	list, err := parseWatched(r.URL.Query()["get"])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	var wait sync.WaitGroup
	defer wait.Wait()
	defer cancel()
	answers := make(chan *api.Answer)
	for _, one := range list {
		wait.Go(func() { s.ask(ctx, one, answers) })
	}
	write := serverSent(w)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case a := <-answers:
			err = write(a)
		case <-beat.C:
			err = write(nil)
		case <-ctx.Done():
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// parseWatched reads what is to be watched: paths, before which an interval may stand.
func parseWatched(gets []string) ([]watched, error) {
	if len(gets) == 0 || len(gets) > maxWatched {
		return nil, fault.New(fault.CodeBadRequest, "%d paths cannot be watched at once", len(gets)).Fix("name from 1 to %d: get=/v1/top&get=/v1/alerts", maxWatched)
	}
	list := make([]watched, len(gets))
	for i, get := range gets {
		one := watched{get: get, path: get, every: watchEvery}
		if interval, path, ok := strings.Cut(get, " "); ok {
			every, err := time.ParseDuration(interval)
			if err != nil || every < watchEvery || every > maxEvery {
				return nil, fault.New(fault.CodeBadRequest, "%.40q is no time between two answers", interval).Fix("write from 1s to 1m, then a space and the path: get=15s /v1/map")
			}
			one.path, one.every = path, every
		}
		u, err := url.ParseRequestURI(one.path)
		if err != nil || u.Host != "" || !strings.HasPrefix(u.Path, "/v1/") && !strings.HasPrefix(u.Path, "/prometheus/") || u.Path == "/v1/watch" || u.Query().Has("follow") {
			return nil, fault.New(fault.CodeBadRequest, "%.80q cannot be watched", one.path).Fix("name a path of this API that answers with JSON at once, such as /v1/top")
		}
		list[i] = one
	}
	return list, nil
}

// ask asks a path again and again until ctx ends, and hands on what differs from the answer before.
func (s *server) ask(ctx context.Context, one watched, answers chan<- *api.Answer) {
	var last []byte
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		a, text := s.answerTo(ctx, one)
		if !bytes.Equal(text, last) {
			last = text
			select {
			case answers <- a:
			case <-ctx.Done():
				return
			}
		}
		timer.Reset(max(one.every, watchShare*time.Since(began)))
	}
}

// now is the time of an answer in a path that is watched, or one before it.
var now = regexp.MustCompile(`\{now(?:-([0-9a-z]+))?\}`) //nolint:gochecknoglobals // a constant that the language has no word for

// answerTo is what a path answers at this moment, and the same as text, to compare.
func (s *server) answerTo(ctx context.Context, one watched) (*api.Answer, []byte) {
	ctx, cancel := context.WithTimeout(ctx, watchLimit)
	defer cancel()
	path := replaceNow(one.path, time.Now())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, path, http.NoBody)
	if err != nil {
		return problemAnswer(one.get, "the path cannot be asked"), []byte(err.Error())
	}
	r.Header = http.Header{"Accept": {"application/json"}}
	got := recorder{head: http.Header{}, status: http.StatusOK}
	s.handler.ServeHTTP(&got, r)
	media, _, err := mime.ParseMediaType(got.head.Get("Content-Type"))
	switch {
	case ctx.Err() != nil:
		return problemAnswer(one.get, fmt.Sprintf("there was no answer within %s", watchLimit)), []byte("late")
	case got.full:
		return problemAnswer(one.get, fmt.Sprintf("the answer has more than %d bytes", maxAnswer)), []byte("full")
	case err != nil || media != "application/json" && media != fault.ProblemType || !json.Valid(got.body.Bytes()):
		return problemAnswer(one.get, "the path does not answer with JSON"), []byte("kind")
	}
	return &api.Answer{Get: one.get, Status: got.status, Body: json.RawMessage(got.body.Bytes())}, got.body.Bytes()
}

// replaceNow puts times in the place of {now} and {now-15m}, escaped or not.
func replaceNow(path string, at time.Time) string {
	path = strings.NewReplacer("%7B", "{", "%7b", "{", "%7D", "}", "%7d", "}").Replace(path)
	path = now.ReplaceAllStringFunc(path, func(s string) string {
		before, err := time.ParseDuration(now.FindStringSubmatch(s)[1])
		if err != nil {
			before = 0
		}
		return url.QueryEscape(at.Add(-before).UTC().Format(time.RFC3339Nano))
	})
	return strings.NewReplacer("{", "%7B", "}", "%7D").Replace(path)
}

func problemAnswer(get, text string) *api.Answer {
	e := fault.New(fault.CodeBadRequest, "%s", text).Fix("ask it by itself to see what it says")
	return &api.Answer{Get: get, Status: http.StatusBadGateway, Body: json.RawMessage(fault.ProblemFor(e, http.StatusBadGateway).JSON())}
}

// recorder keeps an answer in memory, as far as there is room.
type recorder struct {
	head   http.Header
	status int
	body   bytes.Buffer
	full   bool
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.head }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) { r.status = status }

// Flush implements http.Flusher; everything is kept until the end.
func (r *recorder) Flush() {}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	if r.body.Len()+len(b) > maxAnswer {
		r.full = true
		return 0, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return r.body.Write(b)
}
