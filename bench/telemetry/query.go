package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/atollhq/atoll/internal/telemetry/telemetrytest"
)

// asker asks a server for what it keeps. The answer is read to its end.
type asker struct {
	client *http.Client
	base   string
}

// overSocket asks at a socket of Unix.
func overSocket(path string) *asker {
	var d net.Dialer
	return &asker{base: "http://atoll", client: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
	}}}
}

func (a *asker) close() { a.client.CloseIdleConnections() }

const askLimit = 5 * time.Minute

// ask returns the answer and how long it took.
func (a *asker) ask(ctx context.Context, path string) ([]byte, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("make request: %w", err)
	}
	began := time.Now()
	res, err := a.client.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("ask %s: %w", path, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	took := time.Since(began)
	if err != nil {
		return nil, took, fmt.Errorf("ask %s: %w", path, err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, took, fmt.Errorf("ask %s: %s: %.300s", path, res.Status, body)
	}
	return body, took, nil
}

// question is one kind of question, asked several times.
type question struct {
	name   string
	asked  int           // in each round
	path   func() string // of another one of its kind
	empty  bool          // it may be that nothing is found
	atMost float64       // ms; 0 for no goal
	p99    bool          // is worth telling

	took [][]float64 // ms, by round
}

// ask asks the questions of a round, the kinds in turn.
func ask(ctx context.Context, a *asker, all []*question) error {
	for _, q := range all {
		var took []float64
		for range q.asked {
			path := q.path()
			body, d, err := a.ask(ctx, path)
			if err == nil && !found(body) && !q.empty {
				err = fmt.Errorf("%s is answered with %.300s", path, body)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", q.name, err)
			}
			took = append(took, float64(d.Microseconds())/1000)
		}
		q.took = append(q.took, took)
	}
	return nil
}

// quantile is of all that was asked.
func (q *question) quantile(p float64) float64 {
	all := slices.Sorted(slices.Values(slices.Concat(q.took...)))
	return all[min(len(all)-1, int(p*float64(len(all))))]
}

const (
	goalTrace  = 20  // ms
	goalSearch = 300 // ms
	goalPhrase = 500 // ms
)

// Questions that are asked of others, too.
const (
	askedTrace = "trace by id"
	askedOrder = "spans, a value that is rare: order.id = UUID"
)

// Paths of the control API.
const (
	pathSpans = "/v1/traces?spans=true&limit=100"
	pathLines = "/v1/records?limit=100"
)

// asked is the path of a query about what is within a range of time.
func asked(path, text string, within url.Values) string {
	v := url.Values{"query": {text}}
	maps.Copy(v, within)
	return path + "&" + v.Encode()
}

// questions are what is asked of Atoll; the first two of others, too.
func questions(p *picked, within url.Values, rounds int) []*question {
	r := rand.New(rand.NewPCG(1, 2))
	fixed := func(path, text string) func() string { return func() string { return asked(path, text, within) } }
	all := []*question{
		{name: askedTrace, asked: max(1, 200/rounds), p99: true, atMost: goalTrace, path: func() string { return "/v1/traces/" + p.traces.any(r).String() }},
		{name: askedOrder, asked: 4, p99: true, atMost: goalSearch, path: func() string {
			o := p.orders.any(r)
			return asked(pathSpans, fmt.Sprintf("service = %s and order.id = %q", o.service, o.id), within)
		}},
		{name: "spans, common: service = orders and status = error", asked: 4, atMost: goalSearch, path: fixed(pathSpans, "service = orders and status = error")},
		{name: "traces, the newest 20 of the same", asked: 4, path: func() string {
			return asked("/v1/traces?limit=20", "service = orders and status = error", within)
		}},
		{name: "spans, common: POST and status 500 and over 50ms", asked: 4, atMost: goalSearch, path: fixed(pathSpans, "http.request.method = POST and http.response.status_code = 500 and duration > 50ms")},
		{name: "spans, none: two values that never meet", asked: 4, empty: true, atMost: goalSearch, path: fixed(pathSpans, "service = fraud and db.namespace = catalog")},
		{name: "spans, count() by service of all", asked: 1, path: fixed(pathSpans, "| count() by service")},
		{name: "spans, quantile(0.99, duration) by http.route of all", asked: 1, path: fixed(pathSpans, "kind = server | count(), quantile(0.99, duration) by http.route")},
		{name: "lines, a phrase that is rare", asked: 4, empty: true, atMost: goalPhrase, path: fixed(pathLines, fmt.Sprintf("%q", telemetrytest.PhraseRare))},
		{name: "lines, a phrase that is one id", asked: 4, atMost: goalPhrase, path: func() string { return asked(pathLines, fmt.Sprintf("%q", p.lines.any(r)), within) }},
		{name: "lines, a phrase of medium frequency", asked: 4, atMost: goalPhrase, path: fixed(pathLines, fmt.Sprintf("%q", telemetrytest.PhraseMedium))},
		{name: "lines, a phrase that is common", asked: 4, atMost: goalPhrase, path: fixed(pathLines, fmt.Sprintf("%q", telemetrytest.PhraseCommon))},
	}
	return all
}
