package control_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
)

// watching reads what GET /v1/watch sends.
type watching struct {
	lines  *bufio.Scanner
	cancel context.CancelFunc
	done   chan struct{}
}

func watch(t *testing.T, h http.Handler, gets ...string) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	req := httptest.NewRequestWithContext(ctx, "GET", "/v1/watch?"+url.Values{"get": gets}.Encode(), nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(&piped{head: http.Header{}, w: w}, req)
		_ = w.Close() // never fails
	}()
	return &watching{bufio.NewScanner(r), cancel, done}
}

// piped is a response of which each write is read before the next.
type piped struct {
	head http.Header
	w    io.Writer
}

func (p *piped) Header() http.Header         { return p.head }
func (p *piped) WriteHeader(int)             {}
func (p *piped) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p *piped) Flush()                      {}

// next is the next answer; comments are counted.
func (w *watching) next(t *testing.T) (a api.Answer, comments int) {
	t.Helper()
	for w.lines.Scan() {
		switch line := w.lines.Text(); {
		case line == ":":
			comments++
		case strings.HasPrefix(line, "data: "):
			if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &a); err != nil {
				t.Fatal(err)
			}
			return a, comments
		case line != "":
			t.Fatalf("what is %q?", line)
		}
	}
	t.Fatal("the stream has ended")
	return a, comments
}

func (w *watching) end() {
	w.cancel()
	go func() {
		for w.lines.Scan() {
			continue // what was under way is read to its end
		}
	}()
	<-w.done
}

func TestWhatIsWatchedComesAtOnceAndThenWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		changes := 0
		a, h := serve(t)
		a.findings = func() int { changes++; return changes / 10 }
		w := watch(t, h, "/v1/findings")
		defer w.end()
		began := time.Now()
		first, _ := w.next(t)
		if first.Get != "/v1/findings" || first.Status != 200 || time.Since(began) != 0 {
			t.Errorf("first %+v after %s", first, time.Since(began))
		}
		if _, _ = w.next(t); time.Since(began) != 9*time.Second {
			t.Errorf("the change came after %s", time.Since(began))
		}
		if _, comments := w.next(t); comments == 0 {
			t.Error("nothing was said meanwhile")
		}
	})
}

func TestEachPathIsAskedAsOftenAsItsIntervalSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, h := serve(t)
		n := 0
		a.findings = func() int { n++; return n }
		w := watch(t, h, "15s /v1/findings")
		defer w.end()
		began := time.Now()
		for i := range 3 {
			if _, _ = w.next(t); time.Since(began) != time.Duration(i)*15*time.Second {
				t.Errorf("answer %d came after %s", i, time.Since(began))
			}
		}
	})
}

func TestNowInAPathIsTheTimeOfTheAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, h := serve(t)
		w := watch(t, h, "5s /v1/map?from={now-15m}&to=%7Bnow%7D")
		defer w.end()
		w.next(t)
		if !a.mapFrom.Equal(time.Now().Add(-15*time.Minute)) || !a.mapTo.Equal(time.Now()) {
			t.Errorf("asked from %s to %s at %s", a.mapFrom, a.mapTo, time.Now())
		}
	})
}

func TestAnErrorIsAnAnswerToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h := serve(t)
		w := watch(t, h, "/v1/services/nobody", "/v1/logs?last=5")
		defer w.end()
		got := map[string]int{}
		for range 2 {
			a, _ := w.next(t)
			got[a.Get] = a.Status
		}
		if got["/v1/services/nobody"] != 404 || got["/v1/logs?last=5"] != 502 {
			t.Errorf("got %v", got)
		}
	})
}

func TestStreamsAreServerSentEventsToWhoAcceptsThem(t *testing.T) {
	_, h := serve(t)
	req := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/logs", nil)
	req.Header.Set("Accept", "text/event-stream")
	w := answerOf(h, req)
	if got := w.Header().Get("Content-Type"); got != "text/event-stream" || strings.Count(w.Body.String(), "data: {") != 2 || !strings.HasSuffix(w.Body.String(), "}\n\n") {
		t.Errorf("%s %s", got, w.Body)
	}
}

func TestAPanicEndsOneAnswerAndNotAtoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, h := serve(t)
		n := 0
		a.findings = func() int {
			if n++; n == 2 {
				panic("the second answer")
			}
			return n
		}
		w := watch(t, h, "/v1/findings")
		defer w.end()
		for _, want := range []int{200, 502, 200} {
			if got, _ := w.next(t); got.Status != want {
				t.Errorf("got %d, want %d", got.Status, want)
			}
		}
	})
}

func TestReadersThatTakeNothingHoldFewAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, h := serve(t)
		var asked atomic.Int64
		a.findings = func() int { return int(asked.Add(1)) }
		gets := make([]string, 40)
		for i := range gets {
			gets[i] = fmt.Sprintf("/v1/findings?n=%d", i)
		}
		w := watch(t, h, gets...)
		defer w.end()
		<-time.After(time.Hour)
		if n := asked.Load(); n > 10 {
			t.Errorf("%d answers wait for a reader that takes none", n)
		}
	})
}

func TestWatchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h := serve(t)
		all := make([]*watching, 128)
		for i := range all {
			all[i] = watch(t, h, "/v1/app")
			all[i].next(t)
		}
		if got := answerOf(h, httptest.NewRequestWithContext(t.Context(), "GET", "/v1/watch?get=/v1/app", nil)); got.Code != http.StatusServiceUnavailable {
			t.Errorf("one more is answered with %d", got.Code)
		}
		for _, w := range all {
			w.end()
		}
		w := watch(t, h, "/v1/app")
		defer w.end()
		w.next(t)
	})
}
