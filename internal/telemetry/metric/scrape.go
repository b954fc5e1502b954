package metric

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Target is a replica that shows its metrics.
type Target struct {
	Service, Replica string
	Dial             func(ctx context.Context) (net.Conn, error)
	Path             string // such as /metrics
}

// ScrapeOptions of a Scraper. The zero value, and nil, are usable.
type ScrapeOptions struct {
	Interval time.Duration // 0 is 15 s; at least 1 s
	Timeout  time.Duration // of one scrape; 0 is 10 s; at most Interval
	MaxBytes int64         // of one exposition, decompressed; 0 is 10 MB
	Samples  int           // in one exposition; 0 is 50,000
	AtOnce   int           // scrapes at the same time; 0 is 8
	Log      *slog.Logger  // of targets that begin to fail, or cease to; nil for none
}

// Scraper fetches metrics of targets in turn. What a scrape finds gets the labels service and replica of its target; labels
// of that name that it has itself become exported_service and exported_replica. Beside them stand up (1, or 0 where the scrape
// failed), scrape_duration_seconds and scrape_samples_scraped. Series that a target does not show any more end, as do all
// of a target whose scrape fails or that is gone.
type Scraper struct {
	s       *Store
	targets func() []Target
	opts    ScrapeOptions

	mu    sync.Mutex
	state map[targetKey]*targetState // guarded by mu; what they point to belongs to the round that goes on, but status
}

type targetKey struct{ service, replica, path string }

type targetState struct {
	text   *Text
	own    *Text // up and the others about the scrape
	status TargetStatus
	known  bool // whether status says anything
}

// TargetStatus is how the latest scrape of a target went.
type TargetStatus struct {
	Service, Replica, Path string
	Up                     bool
	Error                  string // why it is not up
	At                     time.Time
	Took                   time.Duration
	Samples                int
}

// NewScraper returns a scraper that asks for the targets before each round. Run lets it work.
func NewScraper(s *Store, targets func() []Target, o *ScrapeOptions) *Scraper {
	var opts ScrapeOptions
	if o != nil {
		opts = *o
	}
	either(&opts.Interval, 15*time.Second)
	opts.Interval = max(opts.Interval, time.Second)
	either(&opts.Timeout, 10*time.Second)
	opts.Timeout = min(opts.Timeout, opts.Interval)
	either(&opts.MaxBytes, 10<<20)
	either(&opts.Samples, maxScrapeSamples)
	either(&opts.AtOnce, 8)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Scraper{s: s, targets: targets, opts: opts, state: map[targetKey]*targetState{}}
}

// Run scrapes each interval until ctx ends, and returns when the last scrape has ended. A round that takes longer than the
// interval delays the next one. It is called once.
func (c *Scraper) Run(ctx context.Context) {
	tick := time.NewTicker(c.opts.Interval)
	defer tick.Stop()
	for {
		c.round(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Status tells how the latest scrapes went, by service, replica and path.
func (c *Scraper) Status() []TargetStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]TargetStatus, 0, len(c.state))
	for _, st := range c.state {
		if st.known {
			out = append(out, st.status)
		}
	}
	slices.SortFunc(out, func(a, b TargetStatus) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Replica, b.Replica), cmp.Compare(a.Path, b.Path))
	})
	return out
}

// round scrapes all targets once.
func (c *Scraper) round(ctx context.Context) {
	targets := c.targets()
	states := c.change(ctx, targets)
	slots := make(chan struct{}, c.opts.AtOnce)
	var wg sync.WaitGroup
	for i, t := range targets {
		if states[i] == nil {
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			c.scrape(ctx, t, states[i])
			<-slots
		})
	}
	wg.Wait()
}

// change returns the state of each target, nil for one that is named twice, and ends those that are gone.
func (c *Scraper) change(ctx context.Context, targets []Target) []*targetState {
	c.mu.Lock()
	states := make([]*targetState, len(targets))
	now := map[targetKey]bool{}
	for i, t := range targets {
		key := targetKey{t.Service, t.Replica, t.Path}
		if now[key] {
			continue
		}
		now[key] = true
		st := c.state[key]
		if st == nil {
			extra := map[string]string{LabelService: t.Service, LabelReplica: t.Replica}
			st = &targetState{text: c.s.Text(extra), own: c.s.Text(extra)}
			st.text.most = c.opts.Samples
			c.state[key] = st
		}
		states[i] = st
	}
	var gone []*targetState
	for key, st := range c.state {
		if !now[key] {
			gone = append(gone, st)
			delete(c.state, key)
		}
	}
	c.mu.Unlock()
	for _, st := range gone {
		at := c.s.opts.Now()
		if err := errors.Join(st.text.End(ctx, at), st.own.End(ctx, at)); err != nil {
			c.opts.Log.Error("series of a target that is gone cannot be ended", "service", st.status.Service, "cause", err)
		}
	}
	return states
}

// scrape fetches and keeps the metrics of one target.
func (c *Scraper) scrape(ctx context.Context, t Target, st *targetState) {
	at := c.s.opts.Now()
	status := TargetStatus{Service: t.Service, Replica: t.Replica, Path: t.Path, At: at}
	body, contentType, err := c.fetch(ctx, t)
	if ctx.Err() != nil {
		return // it is not the target's fault
	}
	status.Took = c.s.opts.Now().Sub(at)
	if err == nil {
		var taken Taken
		taken, err = st.text.Append(ctx, body, contentType, at)
		status.Samples = taken.Samples
		if err != nil {
			c.s.limits.count(t.Service, 0, map[Cause]int64{CauseScrape: int64(max(taken.Samples, 1))})
		}
	}
	if err != nil {
		status.Error = err.Error()
		if err := st.text.End(ctx, at); err != nil {
			c.opts.Log.Error("series of a target cannot be ended", "service", t.Service, "cause", err)
		}
	}
	status.Up = err == nil
	if _, err := st.own.Append(ctx, status.exposition(), "text/plain", at); err != nil && ctx.Err() == nil {
		c.opts.Log.Error("state of a scrape cannot be kept", "service", t.Service, "cause", err)
	}
	c.tell(st, status)
}

// tell notes how a scrape went, and logs it if the one before went otherwise.
func (c *Scraper) tell(st *targetState, status TargetStatus) {
	c.mu.Lock()
	before, known := st.status, st.known
	st.status, st.known = status, true
	c.mu.Unlock()
	switch {
	case !status.Up && (!known || before.Up):
		c.opts.Log.Warn("metrics cannot be scraped", "service", status.Service, "replica", status.Replica, "path", status.Path,
			"cause", status.Error)
	case status.Up && known && !before.Up:
		c.opts.Log.Info("metrics are scraped again", "service", status.Service, "replica", status.Replica, "path", status.Path)
	}
}

// exposition is what is known of the scrape itself.
func (st *TargetStatus) exposition() []byte {
	up := 0
	if st.Up {
		up = 1
	}
	return fmt.Appendf(nil, "up %d\nscrape_duration_seconds %g\nscrape_samples_scraped %d\n", up, st.Took.Seconds(), st.Samples)
}

// The forms that a scrape asks for.
const acceptForms = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.8," +
	"text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

// errTooLarge is the error of an exposition that is larger than it may be.
var errTooLarge = errors.New("the exposition is larger than it may be")

// fetch gets an exposition over a connection of its own, which ends with it.
func (c *Scraper) fetch(ctx context.Context, t Target) (body []byte, contentType string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	transport := &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return t.Dial(ctx) },
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+hostOf(t.Service)+"/"+strings.TrimPrefix(t.Path, "/"), nil)
	if err != nil {
		return nil, "", fmt.Errorf("ask for metrics: %w", err)
	}
	req.Header.Set("Accept", acceptForms)
	req.Header.Set("User-Agent", "atoll")
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", fmt.Errorf("ask for metrics: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("ask for metrics: the answer is %s", resp.Status)
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, c.opts.MaxBytes+1))
	if err != nil {
		return nil, "", fmt.Errorf("receive metrics: %w", err)
	}
	if int64(len(body)) > c.opts.MaxBytes {
		return nil, "", errTooLarge
	}
	return body, resp.Header.Get("Content-Type"), nil
}

// hostOf is the name of a service as the host of a request.
func hostOf(service string) string {
	host := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '-'
	}, service)
	return cmp.Or(host, "service")
}
