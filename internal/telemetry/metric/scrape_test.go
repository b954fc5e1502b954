package metric_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/telemetry/metric"
)

// pipes is a listener of connections in memory, for tests under synthetic time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func serve(t *testing.T, h http.HandlerFunc) *pipes {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: h} //nolint:gosec // a test
	go srv.Serve(p)                 //nolint:errcheck // it ends with the test
	t.Cleanup(func() { _ = srv.Close() })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	mine, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return mine, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// scraping runs a scraper of targets that a test changes.
type scraping struct {
	*metric.Scraper
	s       *metric.Store
	targets atomic.Pointer[[]metric.Target]
}

func scrape(t *testing.T, o *metric.ScrapeOptions, targets ...metric.Target) *scraping {
	t.Helper()
	sc := &scraping{s: open(t, &metric.Options{Now: time.Now})}
	sc.targets.Store(&targets)
	sc.Scraper = metric.NewScraper(sc.s, func() []metric.Target { return *sc.targets.Load() }, o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); sc.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return sc
}

func (sc *scraping) expect(t *testing.T, query string, want ...string) {
	t.Helper()
	if got := instantAt(t, sc.s, query, time.Now()); !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", query, got, want)
	}
}

// after waits for what goes on at a moment d from now, and a little more.
func after(d time.Duration) {
	synctest.Wait()
	<-time.After(d)
	synctest.Wait()
}

func TestScrapesKeepWhatATargetShows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/metrics" || r.Host != "orders" || !strings.Contains(r.Header.Get("Accept"), "openmetrics") {
				t.Errorf("asked for %s of %s, %s", r.URL.Path, r.Host, r.Header.Get("Accept"))
			}
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			fmt.Fprint(w, "# HELP jobs How many.\n# TYPE jobs counter\njobs_total{service=\"mine\",q=\"a\"} 3\nlat_bucket{le=\"1\"} 2\n")
		})
		sc := scrape(t, nil, metric.Target{Service: "orders", Replica: "orders-1", Dial: p.dial, Path: "metrics"})
		after(time.Second)
		sc.expect(t, `jobs_total`, "__name__=jobs_total exported_service=mine q=a replica=orders-1 service=orders 3")
		sc.expect(t, `up`, "__name__=up replica=orders-1 service=orders 1")
		sc.expect(t, `scrape_samples_scraped`, "__name__=scrape_samples_scraped replica=orders-1 service=orders 2")
		sc.expect(t, `scrape_duration_seconds`, "__name__=scrape_duration_seconds replica=orders-1 service=orders 0")
		after(31 * time.Second)
		sc.expect(t, `count_over_time(jobs_total[5m])`, "exported_service=mine q=a replica=orders-1 service=orders 3")
		st := sc.Status()
		if len(st) != 1 || !st[0].Up || st[0].Samples != 2 || st[0].Error != "" {
			t.Errorf("status %+v", st)
		}
	})
}

func TestScrapesReadOpenMetricsAndGzip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			fmt.Fprint(z, "# TYPE jobs counter\njobs_total 7\n# EOF\n")
			if err := z.Close(); err != nil {
				t.Error(err)
			}
		})
		sc := scrape(t, nil, metric.Target{Service: "orders", Dial: p.dial, Path: "/metrics"})
		after(time.Second)
		sc.expect(t, `jobs_total`, "__name__=jobs_total service=orders 7")
	})
}

func TestASeriesThatVanishesEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var body atomic.Value
		body.Store("a 1\nb 2\n")
		p := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body.Load().(string)) })
		sc := scrape(t, nil, metric.Target{Service: "orders", Dial: p.dial, Path: "/"})
		after(time.Second)
		sc.expect(t, `{__name__=~"a|b"}`, "__name__=a service=orders 1", "__name__=b service=orders 2")
		body.Store("a 3\n")
		after(15 * time.Second)
		sc.expect(t, `{__name__=~"a|b"}`, "__name__=a service=orders 3")
		body.Store("a 4\nb 5\n")
		after(15 * time.Second)
		sc.expect(t, `{__name__=~"a|b"}`, "__name__=a service=orders 4", "__name__=b service=orders 5")
	})
}

func TestATargetThatIsGoneEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a 1\n") })
		one := metric.Target{Service: "orders", Replica: "1", Dial: p.dial, Path: "/"}
		two := metric.Target{Service: "orders", Replica: "2", Dial: p.dial, Path: "/"}
		sc := scrape(t, nil, one, two, two)
		after(time.Second)
		sc.expect(t, `up`, "__name__=up replica=1 service=orders 1", "__name__=up replica=2 service=orders 1")
		sc.targets.Store(&[]metric.Target{two})
		after(15 * time.Second)
		sc.expect(t, `{__name__=~"a|up"}`, "__name__=a replica=2 service=orders 1", "__name__=up replica=2 service=orders 1")
		if st := sc.Status(); len(st) != 1 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestAScrapeThatFailsIsDownAndEndsItsSeries(t *testing.T) {
	for name, tt := range map[string]struct {
		h    http.HandlerFunc
		want string
	}{
		"status":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, "418"},
		"redirect":  {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, "302"},
		"text":      {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a 1\n}{\n") }, "read metrics"},
		"large":     {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("# c\n", 300)) }, "larger"},
		"samples":   {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a 1\nb 1\nc 1\nd 1\n") }, "too many samples"},
		"too slow":  {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline"},
		"cut short": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var bad atomic.Bool
				p := serve(t, func(w http.ResponseWriter, r *http.Request) {
					if bad.Load() {
						tt.h(w, r)
						return
					}
					fmt.Fprint(w, "a 1\n")
				})
				sc := scrape(t, &metric.ScrapeOptions{MaxBytes: 1000, Samples: 3}, metric.Target{Service: "orders", Dial: p.dial, Path: "/"})
				after(time.Second)
				sc.expect(t, `up`, "__name__=up service=orders 1")
				bad.Store(true)
				after(25 * time.Second)
				sc.expect(t, `{__name__=~"a|b|up"}`, "__name__=up service=orders 0")
				if st := sc.Status()[0]; st.Up || !strings.Contains(st.Error, tt.want) {
					t.Errorf("status %+v", st)
				}
				bad.Store(false)
				after(15 * time.Second)
				sc.expect(t, `{__name__=~"a|up"}`, "__name__=a service=orders 1", "__name__=up service=orders 1")
			})
		})
	}
}

func TestATargetThatCannotBeReachedIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := func(context.Context) (net.Conn, error) { return nil, errors.New("nobody there") }
		sc := scrape(t, nil, metric.Target{Service: "orders", Dial: dial, Path: "/"})
		after(time.Second)
		sc.expect(t, `up`, "__name__=up service=orders 0")
	})
}

func TestExpositionsOfAtollItself(t *testing.T) {
	s := open(t, nil)
	n, err := s.AppendText(t.Context(), []byte("req_total{service=\"orders\"} 3\nold 1 1\nlate{x=\"\"} 1\n"), nil, noon)
	if err != nil || n != 1 {
		t.Errorf("%d dropped, %v", n, err)
	}
	expect(t, s, `req_total`, "__name__=req_total service=orders 3")
	if st := s.Stats(); st.Services["orders"].Samples != 1 || st.Services[""].Dropped[metric.CauseOld] != 1 {
		t.Errorf("stats %+v", st)
	}
	if _, err := s.AppendText(t.Context(), []byte("fine 1\n{{{"), nil, noon); err == nil {
		t.Error("no error")
	}
	expect(t, s, `fine`)
	if _, err := s.AppendText(t.Context(), []byte("x{a=\"1\",exported_a=\"2\"} 1\n"), map[string]string{"a": "3"}, noon); err != nil {
		t.Error(err)
	}
	expect(t, s, `x`, "__name__=x a=3 exported_a=2 exported_exported_a=1 1")
}

func FuzzExposition(f *testing.F) {
	for _, text := range []string{
		"a 1\n", "# TYPE a histogram\na_bucket{le=\"1\"} 1 123\n", "a{b=\"c\",b=\"d\"} NaN\n", "{\"a.b\",c=\"d\"} 1e400\n",
		"# TYPE a counter\na_total 1 # {trace_id=\"x\"} 1\n# EOF\n", "a{", "# HELP a \\n\n\x00", "a 1 9223372036854775807\n",
	} {
		f.Add([]byte(text), true)
		f.Add([]byte(text), false)
	}
	s, err := metric.Open(f.TempDir(), &metric.Options{MaxSeries: 1000, Now: func() time.Time { return noon }})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.Error(err)
		}
	})
	f.Fuzz(func(t *testing.T, text []byte, open bool) {
		form := "text/plain"
		if open {
			form = "application/openmetrics-text; version=1.0.0"
		}
		in := s.Text(map[string]string{"service": "orders"})
		taken, err := in.Append(t.Context(), text, form, noon)
		if err == nil && taken.Dropped > taken.Samples {
			t.Errorf("%d of %d dropped", taken.Dropped, taken.Samples)
		}
		if err := in.End(t.Context(), noon.Add(time.Second)); err != nil {
			t.Error(err)
		}
	})
}
