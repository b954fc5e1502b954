package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
)

// Traces asks a query about spans: for the traces that have a span it chooses, for those spans, or for its table.
func (c *Client) Traces(ctx context.Context, q *api.TracesQuery) (*api.Found, error) {
	v := url.Values{}
	if q.Query != "" {
		v.Set("query", q.Query)
	}
	if !q.From.IsZero() {
		v.Set("from", q.From.Format(time.RFC3339Nano))
	}
	if !q.To.IsZero() {
		v.Set("to", q.To.Format(time.RFC3339Nano))
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Spans {
		v.Set("spans", "true")
	}
	out := &api.Found{}
	return out, c.do(ctx, http.MethodGet, "/v1/traces?"+v.Encode(), nil, out)
}

// Trace returns a trace by its id or the beginning of it, with its log records if they are wanted.
func (c *Client) Trace(ctx context.Context, id string, records bool) (*api.Trace, error) {
	path := "/v1/traces/" + url.PathEscape(id)
	if records {
		path += "?records=true"
	}
	out := &api.Trace{}
	return out, c.do(ctx, http.MethodGet, path, nil, out)
}

// Top returns the services with their load over the last moments.
func (c *Client) Top(ctx context.Context) (*api.Top, error) {
	out := &api.Top{}
	return out, c.do(ctx, http.MethodGet, "/v1/top", nil, out)
}

// Metrics answers a PromQL query at one moment; the zero time is now.
func (c *Client) Metrics(ctx context.Context, promql string, at time.Time) (*api.Metrics, error) {
	v := url.Values{"query": {promql}}
	if !at.IsZero() {
		v.Set("time", unixText(at))
	}
	return c.prometheus(ctx, promql, "query?"+v.Encode())
}

// MetricsRange answers a PromQL query at each step from one moment to another.
func (c *Client) MetricsRange(ctx context.Context, promql string, from, to time.Time, step time.Duration) (*api.Metrics, error) {
	v := url.Values{
		"query": {promql}, "start": {unixText(from)}, "end": {unixText(to)}, "step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)},
	}
	return c.prometheus(ctx, promql, "query_range?"+v.Encode())
}

// unixText is a time as Prometheus takes it: seconds since 1970.
func unixText(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

// promAnswer is an answer of Prometheus' HTTP API (https://prometheus.io/docs/prometheus/latest/querying/api/).
type promAnswer struct {
	Status    string   `json:"status"`
	ErrorType string   `json:"errorType"`
	Error     string   `json:"error"`
	Warnings  []string `json:"warnings"`
	Data      struct {
		Type   string          `json:"resultType"`
		Result json.RawMessage `json:"result"`
	} `json:"data"`
}

func (c *Client) prometheus(ctx context.Context, promql, path string) (*api.Metrics, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://atoll/prometheus/api/v1/"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask control API: %w", err)
	}
	defer resp.Body.Close()
	var raw json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&raw); err != nil {
		return nil, fmt.Errorf("read answer of control API (%s): %w", resp.Status, err)
	}
	var a promAnswer
	if err := json.Unmarshal(raw, &a); err != nil || a.Status != "success" && a.Error == "" {
		var p fault.Problem
		if json.Unmarshal(raw, &p) == nil && p.Code != "" {
			return nil, problemFault(&p)
		}
		return nil, fmt.Errorf("control API answered %s", resp.Status)
	}
	if a.Status != "success" {
		return nil, promFault(promql, a.ErrorType, a.Error)
	}
	m, err := readMetrics(&a)
	if err != nil {
		return nil, fmt.Errorf("read answer of control API: %w", err)
	}
	return m, nil
}

// promPoint is a time in seconds and a value as text.
type promPoint [2]any

func (p promPoint) point() (api.Point, error) {
	at, ok := p[0].(float64)
	text, ok2 := p[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	if !ok || !ok2 || err != nil {
		return api.Point{}, fmt.Errorf("a sample is %v", p)
	}
	return api.Point{Time: time.UnixMilli(int64(math.Round(at * 1000))).UTC(), Value: v}, nil
}

func readMetrics(a *promAnswer) (*api.Metrics, error) {
	m := &api.Metrics{Type: a.Data.Type, Warnings: a.Warnings, Series: []api.Series{}}
	switch m.Type {
	case "scalar", "string":
		var one promPoint
		if err := json.Unmarshal(a.Data.Result, &one); err != nil {
			return nil, err
		}
		if m.Type == "string" {
			m.Text, _ = one[1].(string)
			return m, nil
		}
		pt, err := one.point()
		m.Series = append(m.Series, api.Series{Labels: map[string]string{}, Points: []api.Point{pt}})
		return m, err
	}
	var list []struct {
		Metric map[string]string `json:"metric"`
		Value  *promPoint        `json:"value"`
		Values []promPoint       `json:"values"`
	}
	if err := json.Unmarshal(a.Data.Result, &list); err != nil {
		return nil, err
	}
	for _, s := range list {
		if s.Value != nil {
			s.Values = append(s.Values, *s.Value)
		}
		out := api.Series{Labels: s.Metric, Points: make([]api.Point, 0, len(s.Values))}
		for _, v := range s.Values {
			pt, err := v.point()
			if err != nil {
				return nil, err
			}
			out.Points = append(out.Points, pt)
		}
		m.Series = append(m.Series, out)
	}
	return m, nil
}

// promPlace is how Prometheus tells where an error is: line and column.
var promPlace = regexp.MustCompile(`(?:^|[: ])([0-9]+):([0-9]+): (?:parse error: )?(.*)$`)

// promFault is an error of Prometheus as users read it.
func promFault(promql, kind, text string) error {
	code := fault.CodeQueryInvalid
	switch kind {
	case "timeout", "canceled":
		code = fault.CodeQueryTooBroad
	case "internal", "unavailable":
		return errors.New(text)
	}
	e := fault.New(code, "%s", text)
	if m := promPlace.FindStringSubmatch(text); m != nil {
		e = fault.New(code, "%s", m[3])
		column, err := strconv.Atoi(m[2])
		if err == nil && m[1] == "1" && column >= 1 && column <= utf8.RuneCountInString(promql)+1 {
			e = e.At(fault.Position{File: fault.QueryFile, Line: 1, Column: column}, promql)
		}
	}
	if code == fault.CodeQueryTooBroad {
		return e.Fix("ask about a shorter time, or for fewer series")
	}
	return e.Fix("correct the PromQL; see https://prometheus.io/docs/prometheus/latest/querying/basics/")
}
