package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/telemetry"
)

// Traces asks a query about spans: for the traces that have a span it chooses, for those spans, or for its table.
func (c *Client) Traces(ctx context.Context, q *api.TracesQuery) (*api.Found, error) {
	v := askValues(q.Query, q.From, q.To, q.Limit)
	if q.Spans {
		v.Set("spans", "true")
	}
	out := &api.Found{}
	return out, c.do(ctx, http.MethodGet, "/v1/traces?"+v.Encode(), nil, out)
}

// askValues is a question as the control API takes it.
func askValues(query string, from, to time.Time, limit int) url.Values {
	v := url.Values{}
	if query != "" {
		v.Set("query", query)
	}
	if !from.IsZero() {
		v.Set("from", from.Format(time.RFC3339Nano))
	}
	if !to.IsZero() {
		v.Set("to", to.Format(time.RFC3339Nano))
	}
	if limit > 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	return v
}

// Records asks a query about log records: for those it chooses, or for its table.
func (c *Client) Records(ctx context.Context, q *api.RecordsQuery) (*api.Found, error) {
	out := &api.Found{}
	return out, c.do(ctx, http.MethodGet, "/v1/records?"+askValues(q.Query, q.From, q.To, q.Limit).Encode(), nil, out)
}

// Export calls yield with requests of OTLP/JSON until all that q chooses was told.
func (c *Client) Export(ctx context.Context, q *api.ExportQuery, yield func(request []byte) error) error {
	path := "/v1/export/" + url.PathEscape(q.Signal) + "?" + askValues(q.Query, q.From, q.To, q.Limit).Encode()
	resp, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return nil
		case err != nil: // it must not pass for the whole
			return fmt.Errorf("read export: %w", err)
		}
		if p := problemLine(line); p != nil {
			return problemFault(p)
		}
		if err := yield(line[:len(line)-1]); err != nil {
			return err
		}
	}
}

// TelemetryUsage tells what is kept of telemetry, and what was not.
func (c *Client) TelemetryUsage(ctx context.Context) (*api.TelemetryUsage, error) {
	out := &api.TelemetryUsage{}
	return out, c.do(ctx, http.MethodGet, "/v1/telemetry", nil, out)
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

// ServiceMap is who calls whom in a range of time; without a beginning the last hour.
func (c *Client) ServiceMap(ctx context.Context, from, to time.Time) (*telemetry.ServiceMap, error) {
	v := url.Values{}
	if !from.IsZero() {
		v.Set("from", from.Format(time.RFC3339Nano))
	}
	if !to.IsZero() {
		v.Set("to", to.Format(time.RFC3339Nano))
	}
	out := &telemetry.ServiceMap{}
	return out, c.do(ctx, http.MethodGet, "/v1/map?"+v.Encode(), nil, out)
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
