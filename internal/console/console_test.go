package console_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/console"
)

func open(t *testing.T, path string) *console.Sessions {
	t.Helper()
	s, err := console.OpenSessions(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func begin(t *testing.T, s *console.Sessions) string {
	t.Helper()
	code, _ := s.NewLink()
	token, err := s.Redeem(code)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func valid(s *console.Sessions, token string) bool {
	_, ok := s.Session(token)
	return ok
}

func TestALinkBeginsOneSession(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "sessions.json"))
	code, _ := s.NewLink()
	token, err := s.Redeem(code)
	if err != nil || !valid(s, token) {
		t.Fatalf("token %q is not valid: %v", token, err)
	}
	if _, err := s.Redeem(code); err == nil {
		t.Error("a link can be used twice")
	}
	for _, other := range []string{"", code, token + "x", token[1:]} {
		if valid(s, other) {
			t.Errorf("%q is valid", other)
		}
		if _, err := s.Redeem(other); err == nil {
			t.Errorf("%q begins a session", other)
		}
	}
}

func TestALinkEndsAfterTenMinutes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.json")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path)
		early, _ := s.NewLink()
		late, expires := s.NewLink()
		<-time.After(time.Until(expires))
		if _, err := s.Redeem(early); err != nil {
			t.Errorf("at its last moment: %v", err)
		}
		<-time.After(time.Nanosecond)
		if _, err := s.Redeem(late); err == nil {
			t.Error("a link is good for longer than it says")
		}
	})
}

func TestSessionsOutliveARestartAndEndWithoutUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "sessions.json")
	synctest.Test(t, func(t *testing.T) {
		token := begin(t, open(t, path))
		for range 5 {
			<-time.After(13 * 24 * time.Hour)
			if s := open(t, path); !valid(s, token) {
				t.Fatal("a session that is used ends")
			}
		}
		<-time.After(15 * 24 * time.Hour)
		if valid(open(t, path), token) {
			t.Error("a session that nobody used goes on")
		}
	})
}

func TestTheFileHoldsNoTokenAndIsForTheUserAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.json")
	token := begin(t, open(t, path))
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), token) {
		t.Errorf("%s %v", text, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

func TestADamagedFileHoldsNoSession(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.json")
	if err := os.WriteFile(path, []byte(`[{"hash": "e3b0`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	if valid(s, "") {
		t.Error("nothing is a token")
	}
	begin(t, s)
}

func TestOfTooManySessionsAndLinksTheOldestGivesWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.json")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path)
		first, _ := s.NewLink()
		tokens := make([]string, 70)
		for i := range tokens {
			<-time.After(time.Second)
			tokens[i] = begin(t, s)
		}
		if valid(s, tokens[0]) || !valid(s, tokens[69]) || !valid(s, tokens[10]) {
			t.Error("the wrong ones are kept")
		}
		for range 16 {
			<-time.After(time.Second)
			s.NewLink()
		}
		if _, err := s.Redeem(first); err == nil {
			t.Error("links without number are kept")
		}
	})
}

func TestWhoLogsOutIsOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.json")
	s := open(t, path)
	stays, goes := begin(t, s), begin(t, s)
	on, _ := s.Session(stays)
	ends, _ := s.Session(goes)
	h := console.NewHandler(s, http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if w := ask(t, h, "POST", "/logout", "", goes); w.Code != http.StatusNoContent {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, s := range []*console.Sessions{s, open(t, path)} {
		if valid(s, goes) || !valid(s, stays) {
			t.Error("the wrong session has ended")
		}
	}
	if on.Err() != nil || ends.Err() == nil {
		t.Errorf("what is under way for the session that goes on: %v; for the one that has ended: %v", on.Err(), ends.Err())
	}
}

func ask(t *testing.T, h http.Handler, method, path, body, token string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Accept-Encoding", "gzip")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestALoginGivesATokenAndNoCookie(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "sessions.json"))
	h := console.NewHandler(s, http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	code, _ := s.NewLink()
	w := ask(t, h, "POST", "/login", `{"code": "`+code+`"}`, "")
	var got struct{ Token string }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || !valid(s, got.Token) || len(w.Header()["Set-Cookie"]) > 0 || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}
	for body, status := range map[string]int{
		`{"code": "` + code + `"}`: http.StatusForbidden, `{"code": ""}`: http.StatusForbidden, `{}`: http.StatusForbidden, `code`: http.StatusBadRequest,
	} {
		if w := ask(t, h, "POST", "/login", body, ""); w.Code != status || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
}

func TestEveryAnswerForbidsWhatThePagesDoNotNeed(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "sessions.json"))
	api := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "api") })
	h := console.NewHandler(s, api, slog.New(slog.DiscardHandler))
	for _, path := range []string{"/", "/traces", "/v1/app", "/prometheus/api/v1/query", "/assets/none.js", "/login"} {
		w := ask(t, h, "GET", path, "", "")
		csp := w.Header().Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy lacks %s: %s", path, want, csp)
			}
		}
		if strings.Contains(csp, "unsafe") || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, w.Header())
		}
		if isAPI := strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, "/prometheus/"); isAPI != (w.Body.String() == "api") {
			t.Errorf("%s: %s", path, w.Body)
		}
	}
}

func TestPagesAreSentCompressedAndAnAddressOfTheConsoleIsItsIndex(t *testing.T) {
	if _, err := os.Stat("dist/index.html.gz"); err != nil {
		t.Skip("the console is not built: make console")
	}
	s := open(t, filepath.Join(t.TempDir(), "sessions.json"))
	h := console.NewHandler(s, http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	index := ask(t, h, "GET", "/", "", "")
	if index.Header().Get("Content-Encoding") != "gzip" || index.Header().Get("Cache-Control") != "no-cache" || index.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%d %v", index.Code, index.Header())
	}
	if deep := ask(t, h, "GET", "/service/with.dot", "", ""); deep.Body.String() != index.Body.String() {
		t.Error("an address within the console is not its page")
	}
	plain := httptest.NewRecorder()
	h.ServeHTTP(plain, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
	if !strings.Contains(plain.Body.String(), `<div id="app">`) || plain.Header().Get("Content-Encoding") != "" {
		t.Errorf("%v %s", plain.Header(), plain.Body)
	}
	_, rest, _ := strings.Cut(plain.Body.String(), `src="/assets/`)
	script, _, _ := strings.Cut(rest, `"`)
	w := ask(t, h, "GET", "/assets/"+script, "", "")
	if w.Code != 200 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Header().Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Errorf("%s: %d %v", script, w.Code, w.Header())
	}
	if w := ask(t, h, "GET", "/assets/old-version.js", "", ""); w.Code != http.StatusNotFound {
		t.Errorf("a script that is not there is answered with %d", w.Code)
	}
	if w := ask(t, h, "DELETE", "/", "", ""); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("DELETE / is answered with %d", w.Code)
	}
}
