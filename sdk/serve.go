package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Options of Serve. The zero value is good.
type Options struct {
	// Logger takes what Serve and Handler have to say; default NewLogger on standard output.
	Logger *slog.Logger

	// Ready is asked by GET /healthz, which answers 503 while it returns an error. Default: always ready.
	Ready func(context.Context) error

	// Grace is how long requests in flight may take to finish once the context has ended; default 8 s, which
	// is within the 10 s that a manifest grants by default.
	Grace time.Duration

	// Listener is used in place of one on 127.0.0.1 and PORT.
	Listener net.Listener

	// Getenv is used in place of os.Getenv.
	Getenv func(string) string
}

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Getenv == nil {
		out.Getenv = os.Getenv
	}
	if out.Logger == nil {
		out.Logger = NewLogger(os.Stdout, out.Getenv)
	}
	if out.Grace <= 0 {
		out.Grace = 8 * time.Second
	}
	return out
}

// Main is the main function of a service: it runs run with a context that SIGTERM or an interrupt ends, and a
// logger on standard output. The program ends with code 1 when run returns an error, which is logged. A second
// signal ends the program at once.
func Main(run func(ctx context.Context, log *slog.Logger) error) {
	log := NewLogger(os.Stdout, os.Getenv)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	unhook := context.AfterFunc(ctx, stop)
	err := run(ctx, log)
	unhook()
	stop()
	if err != nil {
		attrs := []any{slog.Any("error", err)}
		if f, ok := errors.AsType[*fault.Error](err); ok {
			attrs = append(attrs, slog.String("remedy", f.Remedy))
		}
		log.Error("service ends", attrs...)
		os.Exit(1)
	}
}

// Serve serves h on 127.0.0.1 and the port of the environment variable PORT until ctx ends, then drains as the
// package says. It answers GET /healthz itself. It returns nil after a complete drain, an error when it cannot
// listen or when requests had to be cut off.
func Serve(ctx context.Context, h http.Handler, opts *Options) error {
	o := opts.withDefaults()
	ln, err := o.listen(ctx)
	if err != nil {
		return err
	}
	s := &server{opts: o, stopping: make(chan struct{})}
	hs := &http.Server{
		Handler:           s.handler(h),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       3 * time.Minute, // longer than a client in front keeps a connection it may reuse
		MaxHeaderBytes:    128 << 10,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.WithoutCancel(ctx), serverKey{}, s)
		},
	}
	served := make(chan error, 1)
	go func() { served <- hs.Serve(ln) }()
	o.Logger.InfoContext(ctx, "listening", slog.String("address", ln.Addr().String()))
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	close(s.stopping)
	err = s.drain(ctx, hs)
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve: %w", end))
	}
	return err
}

func (o *Options) listen(ctx context.Context) (net.Listener, error) {
	if o.Listener != nil {
		return o.Listener, nil
	}
	port := o.Getenv("PORT")
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return nil, fault.New(CodeNoPort, "The environment variable PORT is %q, which is no port.", port).
			Fix("start the service with atoll up, or by hand with PORT=8081 in front").Because(err)
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return nil, fmt.Errorf("listen on port %s: %w", port, err)
	}
	return ln, nil
}

// server is the state that a request's context leads to.
type server struct {
	opts     Options
	stopping chan struct{} // closed when the drain begins
	running  atomic.Int64  // requests in flight
}

type serverKey struct{}

// Stopping is closed when the service begins to drain. A handler whose response has no end of its own (server
// sent events, a long poll) returns then; for a context that does not come from Serve it is never closed.
func Stopping(ctx context.Context) <-chan struct{} {
	if s, ok := ctx.Value(serverKey{}).(*server); ok {
		return s.stopping
	}
	return nil
}

func logOf(ctx context.Context) *slog.Logger {
	if s, ok := ctx.Value(serverKey{}).(*server); ok {
		return s.opts.Logger
	}
	return slog.New(slog.DiscardHandler)
}

func (s *server) drain(ctx context.Context, hs *http.Server) error {
	s.opts.Logger.InfoContext(ctx, "draining", slog.Int64("requests", s.running.Load()))
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Grace)
	defer cancel()
	if err := hs.Shutdown(grace); err != nil {
		left := s.running.Load()
		_ = hs.Close() // what it could not close is gone with the process
		return fmt.Errorf("drain: %d requests were cut off after %s: %w", left, s.opts.Grace, err)
	}
	return nil
}

// handler puts around h what each request needs: readiness, trace, deadline, and an end to panics.
func (s *server) handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			s.health(w, r)
			return
		}
		s.running.Add(1)
		defer s.running.Add(-1)
		ctx, cancel := requestContext(r.Context(), r.Header)
		defer cancel()
		r = r.WithContext(ctx)
		began := &beginning{ResponseWriter: w}
		defer s.recovered(began, r)
		h.ServeHTTP(began, r)
	})
}

func (s *server) health(w http.ResponseWriter, r *http.Request) {
	select {
	case <-s.stopping:
		writeProblem(w, r, Error(http.StatusServiceUnavailable, "draining", "The service is about to end."))
		return
	default:
	}
	if s.opts.Ready != nil {
		if err := s.opts.Ready(r.Context()); err != nil {
			s.opts.Logger.WarnContext(r.Context(), "not ready", slog.Any("error", err))
			writeProblem(w, r, Error(http.StatusServiceUnavailable, "not-ready", "The service is not ready."))
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ok")
}

// recovered turns a panic into a problem document, or into a cut connection when the response has begun.
func (s *server) recovered(w *beginning, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	s.opts.Logger.ErrorContext(r.Context(), "handler panicked", slog.String("method", r.Method),
		slog.String("path", r.URL.Path), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
	if w.yes {
		panic(http.ErrAbortHandler)
	}
	writeProblem(w, r, internalProblem())
}

// requestContext is the context of a request with the trace and the deadline that its headers name.
func requestContext(ctx context.Context, header http.Header) (context.Context, context.CancelFunc) {
	ctx = WithTrace(ctx, header.Get(HeaderTrace))
	if Traceparent(ctx) == "" {
		ctx = NewTrace(ctx)
	}
	ms, err := strconv.ParseInt(header.Get(HeaderDeadline), 10, 64)
	if err != nil || ms < 0 || ms > int64(24*time.Hour/time.Millisecond) {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
}
