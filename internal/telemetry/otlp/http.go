package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/net/netutil"
	"google.golang.org/grpc/codes"
)

// Types of bodies.
const (
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
)

// Handler serves POST /v1/traces, /v1/logs and /v1/metrics, https://opentelemetry.io/docs/specs/otlp/#otlphttp. There
// are no headers of CORS, and requests of pages of other hosts are refused: a page on the web shall not write into the
// telemetry of whoever looks at it.
func (r *Receiver) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, s := range []Signal{Traces, Logs, Metrics} {
		mux.HandleFunc("/v1/"+s.String(), func(w http.ResponseWriter, q *http.Request) { r.serve(w, q, s) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, q *http.Request) {
		refuse(w, formOf(q), http.StatusNotFound, codes.Unimplemented,
			"there is nothing here: OTLP over HTTP is sent to /v1/traces, /v1/logs and /v1/metrics")
	})
	return mux
}

// RunHTTP serves OTLP over HTTP on l until ctx ends. Then it takes no more requests, lets those that came go on for the
// time of grace, and returns when all its goroutines ended.
func (r *Receiver) RunHTTP(ctx context.Context, l net.Listener) error {
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var running sync.WaitGroup
	h := r.Handler()
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			running.Add(1)
			defer running.Done()
			h.ServeHTTP(w, q)
		}),
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       r.opts.ReadTimeout,
		WriteTimeout:      r.opts.ReadTimeout + r.opts.Patience + time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(r.opts.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(netutil.LimitListener(l, r.opts.Connections)) }()
	select {
	case err := <-ended:
		err = errors.Join(err, srv.Close())
		stop()
		running.Wait()
		return fmt.Errorf("serve OTLP over HTTP: %w", err)
	case <-ctx.Done():
	}
	wait, cancel := context.WithTimeout(base, r.opts.Grace)
	defer cancel()
	if srv.Shutdown(wait) != nil {
		stop()
		r.closed(ctx, srv.Close())
	}
	running.Wait()
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve OTLP over HTTP: %w", err)
	}
	return nil
}

// closed logs that connections could not be closed, about which nobody can do anything.
func (r *Receiver) closed(ctx context.Context, err error) {
	if err != nil {
		r.opts.Log.DebugContext(ctx, "close connections of OTLP", "error", err)
	}
}

// maxHeader is the bytes of the headers of a request at most.
const maxHeader = 32 << 10

func (r *Receiver) serve(w http.ResponseWriter, q *http.Request, s Signal) {
	f := formOf(q)
	if code, status, text := admissible(q); text != "" {
		if code == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodPost)
		}
		refuse(w, f, code, status, text)
		return
	}
	partial, err := r.receive(q, s, f)
	if errors.Is(err, errEncoding) {
		refuse(w, f, http.StatusUnsupportedMediaType, codes.InvalidArgument,
			"the Content-Encoding is none of gzip, zstd and identity")
		return
	}
	o, text, after := r.judge(q.Context(), s, err)
	switch o {
	case taken:
		accept(w, f, s, partial)
	case malformed:
		refuse(w, f, http.StatusBadRequest, codes.InvalidArgument, text)
	case tooLarge:
		refuse(w, f, http.StatusRequestEntityTooLarge, codes.ResourceExhausted, text)
	case busy:
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
		refuse(w, f, http.StatusServiceUnavailable, codes.Unavailable, text)
	case gone:
		refuse(w, f, http.StatusServiceUnavailable, codes.Canceled, text)
	case failed:
		refuse(w, f, http.StatusInternalServerError, codes.Internal, text)
	}
}

// formOf is how a request is written, and is to be answered.
func formOf(q *http.Request) form {
	if t, _, err := mime.ParseMediaType(q.Header.Get("Content-Type")); err == nil && t == typeJSON {
		return formJSON
	}
	return formBinary
}

// admissible tells what is wrong with a request by its headers; text is "" for nothing.
func admissible(q *http.Request) (code int, status codes.Code, text string) {
	if q.Method != http.MethodPost {
		return http.StatusMethodNotAllowed, codes.Unimplemented, "an export is sent by POST"
	}
	if o := q.Header.Get("Origin"); o != "" && !loopback(o) {
		return http.StatusForbidden, codes.PermissionDenied, "pages of other hosts may not send telemetry here"
	}
	t, _, err := mime.ParseMediaType(q.Header.Get("Content-Type"))
	if err != nil || t != typeProtobuf && t != typeJSON {
		return http.StatusUnsupportedMediaType, codes.InvalidArgument,
			"the Content-Type of an export is " + typeProtobuf + " or " + typeJSON
	}
	return 0, codes.OK, ""
}

// loopback tells whether an origin is a page of this machine.
func loopback(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	host := u.Hostname()
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// maxPooled is the largest buffer that is kept for other requests.
const maxPooled = 1 << 20

// receive reads, decodes and hands over one request.
func (r *Receiver) receive(q *http.Request, s Signal, f form) (Partial, error) {
	ctx := q.Context()
	if q.ContentLength > r.opts.Limits.Request {
		return Partial{}, &TooLarge{"the request is larger than " + size(r.opts.Limits.Request)}
	}
	held := &lease{m: &r.memory}
	defer held.end()
	buf, _ := r.buffers.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= maxPooled {
			r.buffers.Put(buf)
		}
	}()
	var err error
	if *buf, err = r.read(ctx, q, *buf, held); err != nil {
		return Partial{}, err
	}
	return r.export(ctx, s, f, *buf, held)
}

// read reads the body of a request.
func (r *Receiver) read(ctx context.Context, q *http.Request, buf []byte, held *lease) ([]byte, error) {
	if err := r.readers.enter(ctx); err != nil {
		return buf, err
	}
	defer r.readers.leave()
	encoding := strings.ToLower(strings.TrimSpace(q.Header.Get("Content-Encoding")))
	body, done, err := r.unzip.reader(encoding, q.Body)
	if errors.Is(err, errEncoding) {
		return buf, err
	}
	if err == nil {
		defer done()
		buf, err = readAll(body, buf, max(q.ContentLength, 0), r.opts.Limits.Request, held)
	}
	return buf, unreadable(ctx, encoding, err)
}

// unreadable is the error of a body that could not be read.
func unreadable(ctx context.Context, encoding string, err error) error {
	var network net.Error
	if err == nil || ctx.Err() != nil || isOurs(err) {
		return err
	}
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return &TooLarge{"the request is larger than is taken"}
	}
	if encoding == "" || errors.As(err, &network) {
		return &Malformed{Where: "the body", Why: "it ended before it was complete, or took too long to arrive"}
	}
	return &Malformed{Where: "the body", Why: "it is not " + encoding + " as its Content-Encoding says"}
}

func accept(w http.ResponseWriter, f form, s Signal, p Partial) {
	if f == formBinary {
		w.Header().Set("Content-Type", typeProtobuf)
		w.Write(reply(p)) //nolint:errcheck // The sender went away; what it sent is kept.
		return
	}
	w.Header().Set("Content-Type", typeJSON)
	b := []byte("{}")
	if p.Rejected > 0 {
		names := map[Signal]string{Traces: "rejectedSpans", Logs: "rejectedLogRecords", Metrics: "rejectedDataPoints"}
		b = fmt.Appendf(nil, `{"partialSuccess":{"%s":"%d","errorMessage":`, names[s], p.Rejected)
		b = append(appendQuoted(b, []byte(p.Why)), "}}"...)
	}
	w.Write(b) //nolint:errcheck // As above.
}

// refuse answers with a google.rpc.Status, as OTLP wants it.
func refuse(w http.ResponseWriter, f form, code int, status codes.Code, text string) {
	var b []byte
	if f == formJSON {
		w.Header().Set("Content-Type", typeJSON)
		b = fmt.Appendf(nil, `{"code":%d,"message":`, status)
		b = append(appendQuoted(b, []byte(text)), '}')
	} else {
		w.Header().Set("Content-Type", typeProtobuf)
		b = appendVarint(nil, 1, uint64(status))
		b = appendText(b, 2, text)
	}
	w.WriteHeader(code)
	w.Write(b) //nolint:errcheck // There is nobody else to tell.
}
