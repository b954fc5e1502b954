package control

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
)

const (
	maxWatched  = 48
	maxWatches  = 128              // at once, of all readers
	maxAsked    = 6                // paths of one watch that are being answered, or wait to be sent
	maxAnswer   = 8 << 20          // bytes
	slowReader  = 30 * time.Second // that a reader takes at most for one answer
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

// watch sends the answers of many paths, each at once and then whenever it has changed, as server-sent events. Of each it keeps a hash
// alone, and holds few answers at once. A reader that does not take them is let go.
func (s *server) watch(w http.ResponseWriter, r *http.Request) error {
	list, err := parseWatched(r.URL.Query()["get"])
	if err != nil {
		return err
	}
	defer s.watches.Add(-1)
	if s.watches.Add(1) > maxWatches {
		return fault.New(fault.CodeControlBusy, "%d readers watch already", maxWatches).Fix("close pages of the console that nobody looks at")
	}
	ctx, cancel := context.WithCancel(r.Context())
	var wait sync.WaitGroup
	defer wait.Wait()
	defer cancel()
	answers, room := make(chan *api.Answer), make(chan struct{}, maxAsked)
	for _, one := range list {
		wait.Go(func() { s.ask(ctx, one, room, answers) })
	}
	controller := http.NewResponseController(w)
	send := serverSent(w)
	write := func(v any) error {
		_ = controller.SetWriteDeadline(time.Now().Add(slowReader)) // what knows no deadline has no network before it
		return send(v)
	}
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
			return nil // the reader is gone, or takes nothing; there is nobody to be told
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

// ask asks a path again and again until ctx ends, and hands on what differs from the answer before. It waits for room before it asks.
func (s *server) ask(ctx context.Context, one watched, room chan struct{}, answers chan<- *api.Answer) {
	var last [sha256.Size]byte
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		a, text := s.answerTo(ctx, one)
		took := time.Since(began)
		if hash := sha256.Sum256(text); hash != last {
			last = hash
			select {
			case answers <- a:
			case <-ctx.Done():
				return
			}
		}
		<-room
		timer.Reset(max(one.every, watchShare*took))
	}
}

// now is the time of an answer in a path that is watched, or one before it.
var now = regexp.MustCompile(`\{now(?:-([0-9a-z]+))?\}`)

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
	broke := s.serve(ctx, &got, r)
	media, _, err := mime.ParseMediaType(got.head.Get("Content-Type"))
	switch {
	case broke:
		return problemAnswer(one.get, "the answer broke off"), []byte("broke")
	case ctx.Err() != nil:
		return problemAnswer(one.get, fmt.Sprintf("there was no answer within %s", watchLimit)), []byte("late")
	case got.full:
		return problemAnswer(one.get, fmt.Sprintf("the answer has more than %d bytes", maxAnswer)), []byte("full")
	case err != nil || media != "application/json" && media != fault.ProblemType || !json.Valid(got.body.Bytes()):
		return problemAnswer(one.get, "the path does not answer with JSON"), []byte("kind")
	}
	return &api.Answer{Get: one.get, Status: got.status, Body: json.RawMessage(got.body.Bytes())}, got.body.Bytes()
}

// serve answers as net/http would: a panic ends this answer and nothing else.
func (s *server) serve(ctx context.Context, w http.ResponseWriter, r *http.Request) (broke bool) {
	defer func() {
		e := recover()
		broke = e != nil
		if broke && e != any(http.ErrAbortHandler) {
			s.log.ErrorContext(ctx, "the answer to a path that is watched broke off", "path", r.URL.Path, "error", e, "stack", string(debug.Stack()))
		}
	}()
	s.handler.ServeHTTP(w, r)
	return false
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
		return len(b), nil // nothing is wrong with who answers
	}
	return r.body.Write(b)
}
