package otlp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// newSender makes the sender for an endpoint.
func newSender(endpoint string, o *ForwarderOptions) (sender, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("the endpoint %q is not a URL with a host", endpoint)
	}
	switch u.Scheme {
	case "http", "https":
		return newHTTPSender(u, o), nil
	case "grpc", "grpcs":
		return newGRPCSender(u, o)
	}
	return nil, fmt.Errorf("the endpoint %q has none of the schemes http, https, grpc and grpcs", endpoint)
}

// httpSender sends over HTTP.
type httpSender struct {
	base   string
	opts   *ForwarderOptions
	client *http.Client
	own    *http.Transport // to be closed; nil if it is another's
}

func newHTTPSender(u *url.URL, o *ForwarderOptions) *httpSender {
	s := &httpSender{base: strings.TrimSuffix(u.String(), "/"), opts: o}
	transport := o.Transport
	if transport == nil {
		s.own = &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true,
		}
		transport = s.own
	}
	s.client = &http.Client{
		Transport: transport,
		// A redirect could carry the headers, and with them a key, to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s
}

func (s *httpSender) close() {
	if s.own != nil {
		s.own.CloseIdleConnections()
	}
}

// maxAnswer is how much of an answer is read.
const maxAnswer = 64 << 10

func (s *httpSender) send(ctx context.Context, signal Signal, request []byte) (int64, error) {
	q, err := s.request(ctx, signal, request)
	if err != nil {
		return 0, err
	}
	resp, err := s.client.Do(q)
	if err != nil {
		return 0, &retryError{err: err}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case resp.StatusCode/100 == 2 && err == nil:
		return rejectedOf(answer), nil
	case resp.StatusCode/100 == 2:
		return 0, &retryError{err: err}
	}
	err = fmt.Errorf("the backend answered %s: %.200s", resp.Status, statusText(answer))
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return 0, &retryError{err: err, after: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	}
	return 0, err
}

func (s *httpSender) request(ctx context.Context, signal Signal, request []byte) (*http.Request, error) {
	body := request
	if !s.opts.Plain {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(request); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		body = b.Bytes()
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/v1/"+signal.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	q.Header.Set("User-Agent", "atoll")
	for k, v := range s.opts.Headers {
		q.Header.Set(k, v)
	}
	q.Header.Set("Content-Type", typeProtobuf)
	if !s.opts.Plain {
		q.Header.Set("Content-Encoding", "gzip")
	}
	return q, nil
}

// maxAsked is how long a backend may ask to wait.
const maxAsked = 5 * time.Minute

// retryAfter reads the header Retry-After: seconds, or a date.
func retryAfter(header string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(header); err == nil {
		return min(time.Duration(max(n, 0))*time.Second, maxAsked)
	}
	if t, err := http.ParseTime(header); err == nil {
		return min(max(t.Sub(now), 0), maxAsked)
	}
	return 0
}

// rejectedOf reads how many items a response says were rejected.
func rejectedOf(response []byte) int64 {
	c := cursor{b: first(response, 1)}
	for c.next() {
		if c.tag == 1<<3|wireVarint {
			return max(int64(c.num), 0)
		}
	}
	return 0
}

// statusText is the text of a google.rpc.Status, or the body as it is.
func statusText(body []byte) []byte {
	if text := first(body, 2); text != nil {
		return text
	}
	return body
}

// grpcSender sends over gRPC.
type grpcSender struct {
	conn    *grpc.ClientConn
	headers metadata.MD
	methods map[Signal]string
	calls   []grpc.CallOption
}

func newGRPCSender(u *url.URL, o *ForwarderOptions) (*grpcSender, error) {
	creds := insecure.NewCredentials()
	if u.Scheme == "grpcs" {
		creds = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	conn, err := grpc.NewClient("dns:///"+u.Host, grpc.WithTransportCredentials(creds), grpc.WithUserAgent("atoll"))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", u.Host, err)
	}
	s := &grpcSender{
		conn: conn, headers: metadata.New(o.Headers), methods: map[Signal]string{},
		calls: []grpc.CallOption{grpc.ForceCodecV2(rawCodec{newMessagePool()})},
	}
	if !o.Plain {
		s.calls = append(s.calls, grpc.UseCompressor("gzip"))
	}
	for name, signal := range services() {
		s.methods[signal] = "/" + name + "/Export"
	}
	return s, nil
}

func (s *grpcSender) close() {
	s.conn.Close() //nolint:errcheck // It fails only if it is closed already.
}

func (s *grpcSender) send(ctx context.Context, signal Signal, request []byte) (int64, error) {
	var answer frame
	err := s.conn.Invoke(metadata.NewOutgoingContext(ctx, s.headers), s.methods[signal], &frame{out: request}, &answer,
		s.calls...)
	if err == nil {
		defer answer.buf.Free()
		return rejectedOf(answer.buf.ReadOnlyData()), nil
	}
	st := status.Convert(err)
	err = fmt.Errorf("the backend answered %s: %w", st.Code(), errors.New(st.Message()))
	asked, ok := retryInfo(st)
	switch st.Code() {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
		return 0, &retryError{err: err, after: asked}
	case codes.ResourceExhausted:
		if ok {
			return 0, &retryError{err: err, after: asked}
		}
	default: // No repetition makes these better.
	}
	return 0, err
}

// retryInfo is how long a status asks to wait.
func retryInfo(st *status.Status) (time.Duration, bool) {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return min(max(info.GetRetryDelay().AsDuration(), 0), maxAsked), true
		}
	}
	return 0, false
}
