package std_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/relay/std"
)

// TestARequestThatAServiceMayHaveSeenIsNeverTakenForUnsent lets a service die when it has read a request on a connection that was kept,
// so that whoever repeats the request finds nobody there.
func TestARequestThatAServiceMayHaveSeenIsNeverTakenForUnsent(t *testing.T) {
	for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodDelete} {
		var dead atomic.Bool
		seen := 0
		up := relay.NewUpstreams(std.New(), nil)
		up.Declare(map[string]manifest.Protocol{"svc": manifest.ProtocolHTTP})
		up.Set("svc", []relay.Endpoint{{ID: "svc-1", Service: "svc", Dial: func(context.Context) (net.Conn, error) {
			if dead.Load() {
				return nil, errors.New("refused")
			}
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				in := bufio.NewReader(server)
				for n := range 2 {
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_ = req.Body.Close()
					seen++
					if n == 1 {
						dead.Store(true) // it has had its effect, and dies
						return
					}
					_, _ = server.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
				}
			}()
			return client, nil
		}}})
		send := func() (bool, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, method, "http://svc/", strings.NewReader(""))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Idempotency-Key", "k")
			_, sent, err := std.Send(ctx, up, "svc", req, 100)
			return sent, err
		}
		if _, err := send(); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		if sent, err := send(); err == nil || !sent {
			t.Errorf("%s: sent: %v, %v, though the service has seen %d requests", method, sent, err, seen)
		}
		if err := up.Close(); err != nil {
			t.Error(err)
		}
	}
}
