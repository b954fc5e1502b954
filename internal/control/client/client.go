// Package client reads and acts on a running application through the control API. The command line and the console
// know an application only through it.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/telemetry"
)

// Client speaks to one running application. It is safe for concurrent use.
type Client struct {
	http *http.Client
	run  api.Run
}

// Dial connects to the application whose state folder is dir. A fault with the code not-running says that none
// answers there.
func Dial(ctx context.Context, dir string) (*Client, error) {
	notRunning := fault.New(fault.CodeNotRunning, "the application does not run").
		Fix("start it with atoll up, or name its folder with -C DIR")
	text, err := os.ReadFile(filepath.Join(dir, api.RunFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, notRunning
	}
	if err != nil {
		return nil, notRunning.Because(fmt.Errorf("read run file: %w", err))
	}
	var run api.Run
	if err := json.Unmarshal(text, &run); err != nil {
		return nil, notRunning.Because(fmt.Errorf("read run file: %w", err))
	}
	c := &Client{run: run, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", run.Socket)
		},
	}}}
	if _, err := c.App(ctx); err != nil {
		if e, ok := errors.AsType[*fault.Error](err); ok {
			return nil, e
		}
		return nil, notRunning.Because(err)
	}
	return c, nil
}

// Close gives back the connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// PID is the process of the running Atoll.
func (c *Client) PID() int { return c.run.PID }

// do sends a request and decodes the answer into out, if that is not nil.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	resp, err := c.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read answer of control API: %w", err)
	}
	return nil
}

// send returns the response of a request that succeeded; a problem document comes back as a *fault.Error.
func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://atoll"+path, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.exchange(req)
}

// exchange returns the response of a request that succeeded; a problem document comes back as a *fault.Error.
func (c *Client) exchange(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask control API: %w", err)
	}
	if resp.StatusCode < http.StatusBadRequest {
		return resp, nil
	}
	defer resp.Body.Close()
	var p fault.Problem
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || p.Code == "" {
		return nil, fmt.Errorf("control API answered %s", resp.Status)
	}
	return nil, problemFault(&p)
}

// problemFault is the fault that a problem document tells of.
func problemFault(p *fault.Problem) *fault.Error {
	return fault.New(p.Code, "%s", p.Detail).Fix("%s", p.Remedy)
}

// App describes the application.
func (c *Client) App(ctx context.Context) (api.App, error) {
	var out api.App
	return out, c.do(ctx, http.MethodGet, "/v1/app", nil, &out)
}

// Services describes all services.
func (c *Client) Services(ctx context.Context) ([]api.Service, error) {
	var out struct{ Services []api.Service }
	return out.Services, c.do(ctx, http.MethodGet, "/v1/services", nil, &out)
}

// Service describes one service.
func (c *Client) Service(ctx context.Context, name string) (api.Service, error) {
	var out api.Service
	return out, c.do(ctx, http.MethodGet, "/v1/services/"+url.PathEscape(name), nil, &out)
}

// Replicas lists all replicas.
func (c *Client) Replicas(ctx context.Context) ([]api.Replica, error) {
	var out struct{ Replicas []api.Replica }
	err := c.do(ctx, http.MethodGet, "/v1/replicas", nil, &out)
	return out.Replicas, err
}

// Restart replaces the replicas of a service and returns when the new ones are ready.
func (c *Client) Restart(ctx context.Context, service string) error {
	return c.do(ctx, http.MethodPost, "/v1/services/"+url.PathEscape(service)+"/restart", nil, nil)
}

// Scale sets the number of replicas of a service and returns when they are ready.
func (c *Client) Scale(ctx context.Context, service string, replicas int) error {
	return c.do(ctx, http.MethodPost, "/v1/services/"+url.PathEscape(service)+"/scale", api.Scale{Replicas: replicas}, nil)
}

// Stop lets the application end; it returns before it has.
func (c *Client) Stop(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/v1/stop", nil, nil)
}

// Logs calls yield with the records that q chooses, until there are no more, or ctx ends where q follows.
func (c *Client) Logs(ctx context.Context, q *telemetry.LineQuery, yield func(*telemetry.Line) error) error {
	v := url.Values{"service": q.Services}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	if q.Level != "" {
		v.Set("level", string(q.Level))
	}
	if q.Grep != nil {
		v.Set("grep", q.Grep.String())
	}
	if q.Query != nil {
		v.Set("query", q.Query.Text)
	}
	if q.Last > 0 {
		v.Set("last", strconv.Itoa(q.Last))
	}
	if q.Follow {
		v.Set("follow", "true")
	}
	return follow(ctx, c, "/v1/logs?"+v.Encode(), yield)
}

// Events calls yield with the events after a sequence number.
func (c *Client) Events(ctx context.Context, after int64, follows bool, yield func(*api.Event) error) error {
	path := fmt.Sprintf("/v1/events?after=%d&follow=%t", after, follows)
	return follow(ctx, c, path, yield)
}

// follow reads a stream of JSON lines until it ends. That ctx ended, or the application, is no error.
func follow[T any](ctx context.Context, c *Client, path string, yield func(*T) error) error {
	resp, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil // the stream ends with the application or with ctx
		}
		if p := problemLine(line); p != nil {
			return problemFault(p)
		}
		v := new(T)
		if err := json.Unmarshal(line, v); err != nil {
			return fmt.Errorf("read line of control API: %w", err)
		}
		if err := yield(v); err != nil {
			return err
		}
	}
}

// problemLine is the problem document that a stream ends with where it fails after its first line; nil for any other line.
func problemLine(line []byte) *fault.Problem {
	if !bytes.HasPrefix(line, []byte(`{"type":"urn:atoll:error:`)) {
		return nil
	}
	var p fault.Problem
	if json.Unmarshal(line, &p) != nil {
		return nil
	}
	return &p
}
