package platform_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/platform"
)

func TestWhatIsTriedGoesToTheGatewayAndNowhereElse(t *testing.T) {
	for _, path := range []string{"/a?b=c", "//evil.example/a", "/\\evil.example", "/a@evil.example:1/", "/%2f%2fevil.example"} {
		r, trace, err := platform.TryRequest(t.Context(), "http://127.0.0.1:8080", &api.Try{Path: path, Host: "shop.example"})
		if err != nil || r.URL.Host != "127.0.0.1:8080" || r.URL.Scheme != "http" || r.Host != "shop.example" || len(trace) != 32 {
			t.Errorf("%s: %v %v", path, r, err)
		}
	}
	for _, q := range []*api.Try{
		{Path: "http://evil.example/"},
		{Path: "evil.example/"},
		{Path: ""},
		{Path: "*"},
		{Path: "/a b\n"},
		{Method: "CONNECT", Path: "/"},
		{Method: "G T", Path: "/"},
		{Path: "/", Headers: map[string]string{"A b": "c"}},
		{Path: "/", Headers: map[string]string{"A": "b\r\nHost: evil.example"}},
		{Path: "/", Headers: map[string]string{"": "c"}},
	} {
		_, _, err := platform.TryRequest(t.Context(), "http://127.0.0.1:8080", q)
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != fault.CodeBadRequest {
			t.Errorf("%+v: %v", q, err)
		}
	}
	if _, _, err := platform.TryRequest(t.Context(), "http://", &api.Try{Path: "/"}); err == nil {
		t.Error("it is sent where there is no gateway")
	}
}

// TestHeadersOfWhatIsTriedCannotChangeWhereARequestEnds reads what goes over the wire.
func TestHeadersOfWhatIsTriedCannotChangeWhereARequestEnds(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	headers := map[string]string{"X-Mine": "1", "content-length": "1", "Transfer-Encoding": "chunked", "Connection": "X-Mine, Upgrade", "Upgrade": "websocket", "host": "evil.example", "Traceparent": "x"}
	r, trace, err := platform.TryRequest(t.Context(), "http://127.0.0.1:8080", &api.Try{Method: "POST", Path: "/", Headers: headers, Body: "a body"})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = (&http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return far, nil }}).RoundTrip(r)
	}()
	got, err := http.ReadRequest(bufio.NewReader(near))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(got.Body)
	if string(body) != "a body" || got.ContentLength != 6 || got.Host != "127.0.0.1:8080" || got.Header.Get("Upgrade") != "" || got.Header.Get("X-Mine") != "1" || !strings.Contains(got.Header.Get("Traceparent"), trace) {
		t.Errorf("%q %+v", body, got)
	}
}

func TestAnAnswerThatDoesNotEndIsShownAsFarAsItCame(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "data: 1\n\n\xe2\x82")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	r, trace, err := platform.TryRequest(ctx, server.URL, &api.Try{Path: "/"})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := platform.AsTried(ctx, answer, time.Now(), trace)
	if err != nil || got.Body != "data: 1\n\n" || !got.Cut {
		t.Errorf("%+v %v", got, err)
	}
}

func TestWhatMayBeASecretIsHidden(t *testing.T) {
	for name, value := range map[string]string{
		"STRIPE_KEY": "x", "DB_PASS": "x", "MYSQL_PWD": "x", "BASIC_AUTH": "x", "SESSION_SALT": "x", "DATABASE_URL": "x", "SIGNING_JWT": "x",
		"A": "postgres://u:p@db/x", "B": "u:p@tcp(db)/x", "C": "host=db password=x", "D": "https://h.example/?api_key=x", "E": "Bearer x", "F": `{"token": "x"}`, "G": "Server=db;Pwd=x",
		"H": "-----BEGIN RSA PRIVATE KEY-----", "OTEL_EXPORTER_OTLP_HEADERS": "a=b,authorization=Basic dXNlcjpwdw==", "I": "x-tenant=1,authorization=opaque",
	} {
		if !platform.MayBeSecret(name, value) {
			t.Errorf("%s=%s is shown", name, value)
		}
	}
	for name, value := range map[string]string{
		"PORT": "80", "MAIL_FROM": "shop@shop.example", "CRM_URL": "http://127.0.0.1:1/a@b", "LOG_LEVEL": "info", "AUTHOR": "ann", "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=1,service.version=dev",
		"PATH": "/usr/bin:/bin", "SCHEDULE": "@every 1m",
	} {
		if platform.MayBeSecret(name, value) {
			t.Errorf("%s=%s is hidden", name, value)
		}
	}
}
