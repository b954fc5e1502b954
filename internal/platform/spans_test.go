package platform_test

import (
	"log/slog"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/telemetry"
)

func hop(i int) relay.Hop {
	h := relay.Hop{
		Kind: relay.KindGateway, Start: time.Now(), Duration: time.Duration(i%50) * time.Millisecond, Trace: relay.NewTrace(), Service: "orders",
		Endpoint: "orders-1", Route: "/api/orders/**", Protocol: "HTTP/1.1", Method: "GET", Host: "localhost", Path: "/api/orders/4711", Remote: "127.0.0.1",
		Status: 200, BytesOut: 1024,
	}
	if i%100 == 0 {
		h.Status, h.Code = 503, fault.CodePortInUse
	}
	return h
}

// BenchmarkHop tells what it costs to see a request: the processor time of everything, until the spans lie in blocks.
func BenchmarkHop(b *testing.B) {
	p, end, err := platform.NewWatched(b.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	begin := used()
	for i := 0; b.Loop(); i++ {
		p.Hop(hop(i))
		if i%1024 == 0 {
			runtime.Gosched()                 // as between requests
			time.Sleep(10 * time.Millisecond) //nolint:forbidigo // a pace that a gateway has
		}
	}
	if err := end(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64((used()-begin).Nanoseconds())/float64(b.N), "cpu-ns/hop")
}

func TestAHopBecomesASpanAndIsCounted(t *testing.T) {
	p, end, err := platform.NewWatched(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		p.Hop(hop(i))
	}
	failing := hop(1)
	failing.GRPC, failing.GRPCCode, failing.Route = true, 14, "/mail.Mail/Send"
	p.Hop(failing)
	text := p.Counted()
	if err := end(); err != nil {
		t.Fatal(err)
	}
	spans, err := p.Kept(t.Context(), "service = orders and kind = server and atoll.caller = gateway and http.route != \"/mail.Mail/Send\"")
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, s := range spans {
		if s.Name != "GET /api/orders/**" || s.Resource.Replica != "orders-1" || s.Scope.Name != "atoll" {
			t.Fatalf("a span is %+v", s)
		}
		if s.Status == telemetry.StatusError {
			failed++
		}
	}
	if len(spans) != 200 || failed != 2 {
		t.Errorf("%d spans, %d of which failed", len(spans), failed)
	}
	for _, line := range []string{
		`http_server_request_duration_seconds_count{service="orders",atoll_kind="gateway",http_route="/api/orders/**",http_request_method="GET",http_response_status_code="200"} 198`,
		`http_route="/mail.Mail/Send",http_request_method="GET",error_type="UNAVAILABLE",http_response_status_code="200"} 1`,
		`error_type="port-in-use",atoll_code="port-in-use",http_response_status_code="503"} 2`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("%s is not in\n%s", line, text)
		}
	}
}
