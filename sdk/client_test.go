package sdk_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/sdk"
)

func client(t *testing.T, h http.Handler) *sdk.Callee {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := sdk.Client("stock-room", &sdk.ClientOptions{MaxBody: 1000, Getenv: func(k string) string {
		if k != "STOCK_ROOM_URL" {
			t.Errorf("asked for %s", k)
		}
		return srv.URL
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestAnUndeclaredCallNamesTheLineToAdd(t *testing.T) {
	_, err := sdk.Client("stock", &sdk.ClientOptions{Getenv: func(string) string { return "" }})
	if fault.CodeOf(err) != sdk.CodeUndeclaredCall || !strings.Contains(err.Error(), "calls: [stock]") {
		t.Errorf("got %v", err)
	}
}

func TestACallCarriesTraceAndDeadlineOn(t *testing.T) {
	var header http.Header
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		if r.URL.Path != "/items" || r.URL.RawQuery != "q=a+b" {
			t.Errorf("asked for %s", r.URL)
		}
	}))
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx, cancel := context.WithTimeout(sdk.WithTrace(t.Context(), trace), time.Hour)
	defer cancel()
	if err := c.JSON(ctx, http.MethodGet, "/items?q=a+b", nil, nil); err != nil {
		t.Fatal(err)
	}
	left, err := strconv.Atoi(header.Get(sdk.HeaderDeadline))
	if err != nil || left <= 0 || left > 3_600_000 {
		t.Errorf("deadline carried on: %q", header.Get(sdk.HeaderDeadline))
	}
	if header.Get(sdk.HeaderTrace) != trace {
		t.Errorf("trace carried on: %q", header.Get(sdk.HeaderTrace))
	}
}

func TestACallLeadsToNoOtherHost(t *testing.T) {
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a stranger was called") }))
	t.Cleanup(stranger.Close)
	c := client(t, http.NotFoundHandler())
	for _, path := range []string{stranger.URL + "/meta", strings.TrimPrefix(stranger.URL, "http:") + "/meta", "//user@" + stranger.Listener.Addr().String()} {
		if err := c.JSON(t.Context(), http.MethodGet, path, nil, nil); err == nil || !strings.Contains(err.Error(), "is no path") {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestAProblemOfTheCalleeIsATypedError(t *testing.T) {
	c := client(t, sdk.Handler(func(http.ResponseWriter, *http.Request) error {
		p := sdk.Error(http.StatusConflict, "sold-out", "Item %d is sold out.", 7)
		p.RetryAfter = 1500 * time.Millisecond
		return p
	}))
	err := c.JSON(t.Context(), http.MethodPost, "/orders", map[string]int{"item": 7}, nil)
	p, ok := errors.AsType[*sdk.Problem](err)
	if !ok || p.Code != "sold-out" || p.Status != 409 || p.Detail != "Item 7 is sold out." || p.Instance != "/orders" {
		t.Fatalf("got %v", err)
	}
	if p.RetryAfter != 2*time.Second || p.Temporary() {
		t.Errorf("got %+v", p)
	}
}

func TestAnswersThatAreNotProblemsStayBoundedAndPlain(t *testing.T) {
	tests := map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"error page": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>", http.StatusBadGateway)
		}, "The service stock-room answered 502"},
		"too large": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `"`+strings.Repeat("x", 1000)+`"`)
		}, "larger than 1000 bytes"},
		"not JSON": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "<html>")
		}, "decode the answer"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var out any
			err := client(t, test.handler).JSON(t.Context(), http.MethodGet, "/", nil, &out)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestARedirectOfTheCalleeIsNotFollowed(t *testing.T) {
	c := client(t, http.RedirectHandler("http://192.0.2.1/", http.StatusFound))
	req, err := http.NewRequest(http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusFound {
		t.Errorf("got %s", resp.Status)
	}
}
