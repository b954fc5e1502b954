package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// ClientOptions are options of Client. The zero value is good.
type ClientOptions struct {
	// Timeout of a call whose context has no deadline; default 30 s.
	Timeout time.Duration

	// MaxBody is how many bytes of a response JSON reads at most; default 10 MB.
	MaxBody int64

	// Getenv is used in place of os.Getenv.
	Getenv func(string) string
}

// Callee is a service that this one may call. It is safe for concurrent use.
type Callee struct {
	name    string
	base    *url.URL
	timeout time.Duration
	maxBody int64
	http    *http.Client
}

// Client returns the way to call a service that the manifest declares: its address is the environment variable
// NAME_URL. An undeclared call gives an error that names the line to add.
func Client(name string, opts *ClientOptions) (*Callee, error) {
	o := ClientOptions{}
	if opts != nil {
		o = *opts
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 10_000_000
	}
	variable := strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "_URL"
	address := o.Getenv(variable)
	if address == "" {
		return nil, fault.New(CodeUndeclaredCall,
			"This service may not call %s: add `calls: [%s]` to its service.yaml.", name, name).
			Fix("add %s to the list `calls` in service.yaml; Atoll then sets %s", name, variable)
	}
	base, err := url.Parse(address)
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("address of %s in %s: %q is no URL", name, variable, address)
	}
	return &Callee{
		name: name, base: base, timeout: o.Timeout, maxBody: o.MaxBody,
		http: &http.Client{Transport: transport(), CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
	}, nil
}

// transport speaks to one host on loopback: no proxy, and connections enough that none is opened per call.
func transport() *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConns:        64,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     90 * time.Second,
	}
}

// Do sends req, whose URL is resolved against the callee's address ("/path" is enough), and carries the trace
// and the deadline of its context on. The deadline also bounds the reading of the body. The caller closes the
// body. Responses of every status are returned as they are. A URL that names a host is refused, so that a path made of
// somebody's input leads nowhere else.
func (c *Callee) Do(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	req = req.Clone(ctx)
	if u := req.URL; u.Scheme != "" || u.Host != "" || u.Opaque != "" || u.User != nil {
		return nil, fmt.Errorf("call %s: the address %q is no path", c.name, u.Redacted())
	}
	req.URL = c.base.ResolveReference(req.URL)
	req.Host = ""
	if trace := Traceparent(ctx); trace != "" {
		req.Header.Set(HeaderTrace, trace)
	}
	if deadline, ok := ctx.Deadline(); ok {
		left := max(time.Until(deadline).Milliseconds(), 0)
		req.Header.Set(HeaderDeadline, strconv.FormatInt(left, 10))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", c.name, err)
	}
	return resp, nil
}

// JSON sends in as JSON (nil: no body) and decodes the answer into out (nil: ignored). A status of 400 and more
// is a *Problem error.
func (c *Callee) JSON(ctx context.Context, method, path string, in, out any) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	req, err := newRequest(ctx, method, path, in)
	if err != nil {
		return fmt.Errorf("call %s: %w", c.name, err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		return fmt.Errorf("call %s: %w", c.name, readProblem(resp, c.name))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.maxBody+1))
	if err != nil {
		return fmt.Errorf("call %s: read the answer: %w", c.name, err)
	}
	if int64(len(body)) > c.maxBody {
		return fmt.Errorf("call %s: the answer is larger than %d bytes", c.name, c.maxBody)
	}
	if out == nil || len(body) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("call %s: decode the answer: %w", c.name, err)
	}
	return nil
}

func newRequest(ctx context.Context, method, path string, in any) (*http.Request, error) {
	if in == nil {
		return http.NewRequestWithContext(ctx, method, path, nil)
	}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

// Close closes the idle connections.
func (c *Callee) Close() { c.http.CloseIdleConnections() }
