package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
)

// ForwarderOptions are what a Forwarder can be told. A zero field is the default.
type ForwarderOptions struct {
	// Headers are sent with each request, such as a key of the backend.
	Headers map[string]string
	// Plain sends without gzip.
	Plain bool
	// MaxBytes is the size of the queue on disk at most. When it is full the oldest segment is dropped. The default is
	// 256 MiB.
	MaxBytes int64
	// Segment is the size of a segment of the queue. The default is 8 MiB, or an eighth of MaxBytes if that is less.
	Segment int64
	// Timeout is how long the backend has for an answer. The default is 10 s.
	Timeout time.Duration
	// Backoff is how long to wait before a request is tried again for the first time; it doubles up to MaxBackoff, and
	// each wait is shortened by up to a half at random. The defaults are 1 s and 1 min.
	Backoff, MaxBackoff time.Duration
	// Transport sends requests over HTTP; nil is one of its own.
	Transport http.RoundTripper
	// Log is for the operator; nil for none.
	Log *slog.Logger
}

// Forwarder sends telemetry on to another backend of OTLP.
type Forwarder struct {
	opts   ForwarderOptions
	sender sender
	wake   chan struct{}

	mu    sync.Mutex // guards what follows
	queue *spool
	stats ForwarderStats
}

// ForwarderStats are what a Forwarder counted since it was opened, and what is in its queue.
type ForwarderStats struct {
	Queued      int64     `json:"queued"`      // requests in the queue
	QueuedItems int64     `json:"queuedItems"` // spans, records and points in the queue
	QueuedBytes int64     `json:"queuedBytes"` // on disk
	Sent        int64     `json:"sent"`        // requests that the backend took
	SentItems   int64     `json:"sentItems"`
	Rejected    int64     `json:"rejected"` // items that the backend did not take out of requests that it took
	Retries     int64     `json:"retries"`
	Full        int64     `json:"full"`    // items dropped since the queue was full, or its disk
	Refused     int64     `json:"refused"` // items of requests that the backend refused for good
	Damaged     int64     `json:"damaged"` // requests that were lost in the queue, at least
	LastError   string    `json:"lastError,omitempty"`
	LastSent    time.Time `json:"lastSent,omitzero"`
}

// sender sends one request.
type sender interface {
	// send returns how many items were rejected. Its error is *retryError if it makes sense to try again.
	send(ctx context.Context, s Signal, request []byte) (rejected int64, err error)
	close()
}

// retryError is the error of a request to be sent again, after the time that the backend asked for.
type retryError struct {
	err   error
	after time.Duration
}

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// OpenForwarder opens a Forwarder with its queue in dir, which is made if it is not there. The endpoint is a URL:
// http:// and https:// with the path before /v1/traces, grpc:// and grpcs:// with host and port alone. Run has to be
// called for anything to be sent.
func OpenForwarder(dir, endpoint string, opts *ForwarderOptions) (*Forwarder, error) {
	var o ForwarderOptions
	if opts != nil {
		o = *opts
	}
	or(&o.MaxBytes, 256<<20)
	or(&o.Segment, min(8<<20, o.MaxBytes/8))
	o.Segment = min(o.Segment, o.MaxBytes/2) // So that there is always one to drop.
	or(&o.Timeout, 10*time.Second)
	or(&o.Backoff, time.Second)
	or(&o.MaxBackoff, time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := newSender(endpoint, &o)
	if err != nil {
		return nil, err
	}
	queue, err := openSpool(dir, o.MaxBytes, o.Segment)
	if err != nil {
		s.close()
		return nil, err
	}
	return &Forwarder{opts: o, sender: s, queue: queue, wake: make(chan struct{}, 1)}, nil
}

// Requests are made of at most so many items, and of at most so many bytes if they hold more than one.
const (
	maxItems   = 2048
	maxRequest = 3 << 20 // Many backends take 4 MiB.
)

// Enqueue appends a batch to the queue. It does not wait for the backend, nor for the disk: what was appended within the
// last second may be lost if the machine fails, not if the process does.
func (f *Forwarder) Enqueue(b *telemetry.Batch) error {
	err := errors.Join(
		enqueue(f, Traces, b.Spans, AppendTraces),
		enqueue(f, Logs, b.Records, AppendLogs),
		enqueue(f, Metrics, b.Metrics, AppendMetrics),
	)
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return err
}

func enqueue[T any](f *Forwarder, s Signal, list []T, encode func([]byte, []T) []byte) error {
	if len(list) == 0 {
		return nil
	}
	if len(list) > maxItems {
		return errors.Join(enqueue(f, s, list[:maxItems], encode), enqueue(f, s, list[maxItems:], encode))
	}
	request := encode(nil, list)
	if half := len(list) / 2; half > 0 && len(request) > maxRequest {
		return errors.Join(enqueue(f, s, list[:half], encode), enqueue(f, s, list[half:], encode))
	}
	n := count(list)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.queue.append(s, n, request); err != nil {
		f.stats.Full += n
		return err
	}
	return nil
}

// count counts spans, records, or the points of metrics.
func count[T any](list []T) int64 {
	metrics, ok := any(list).([]telemetry.Metric)
	if !ok {
		return int64(len(list))
	}
	return items(&telemetry.Batch{Metrics: metrics})
}

// Run sends what is in the queue until ctx ends. It returns nil then, or the error of a queue that cannot be read.
func (f *Forwarder) Run(ctx context.Context) error {
	var saving sync.WaitGroup
	defer saving.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	saving.Go(func() { f.save(ctx) })
	for {
		e, ok, err := f.next()
		if err != nil {
			return err
		}
		if ok {
			err = f.deliver(ctx, e)
		} else {
			err = wait(ctx, f.wake, nil)
		}
		if err != nil {
			return nil // ctx ended, which is how it is to end.
		}
	}
}

// save makes durable what was appended and sent, every second.
func (f *Forwarder) save(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for wait(ctx, nil, tick.C) == nil {
		f.mu.Lock()
		err := errors.Join(f.queue.sync(), f.queue.save())
		f.mu.Unlock()
		if err != nil {
			f.opts.Log.ErrorContext(ctx, "forward telemetry", "error", err)
		}
	}
}

func wait(ctx context.Context, wake <-chan struct{}, tick <-chan time.Time) error {
	select {
	case <-wake:
		return nil
	case <-tick:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *Forwarder) next() (entry, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.queue.next()
}

// deliver sends a request, again and again until it is taken or refused. Its error is that ctx ended.
func (f *Forwarder) deliver(ctx context.Context, e entry) error {
	backoff := f.opts.Backoff
	for {
		rejected, err := f.send(ctx, e)
		if ctx.Err() != nil {
			return ctx.Err() // Whether it was taken is not known, so it is sent again another time.
		}
		var again *retryError
		if !errors.As(err, &again) {
			f.settle(ctx, e, rejected, err)
			return nil
		}
		f.retrying(ctx, err)
		pause := max(backoff-rand.N(backoff/2+1), again.after)
		timer := time.NewTimer(pause)
		err = wait(ctx, nil, timer.C)
		timer.Stop()
		if err != nil {
			return err
		}
		backoff = min(2*backoff, f.opts.MaxBackoff)
	}
}

func (f *Forwarder) send(ctx context.Context, e entry) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, f.opts.Timeout)
	defer cancel()
	return f.sender.send(ctx, e.signal, e.request)
}

// retrying counts a try that failed. Only the first of a row is logged: a backend that is away is told once.
func (f *Forwarder) retrying(ctx context.Context, err error) {
	f.mu.Lock()
	first := f.stats.LastError == ""
	f.stats.Retries++
	f.stats.LastError = err.Error()
	f.mu.Unlock()
	if first {
		f.opts.Log.WarnContext(ctx, "forward telemetry: will try again", "error", err)
	}
}

// settle counts a request that was taken, or refused for good, and moves on.
func (f *Forwarder) settle(ctx context.Context, e entry, rejected int64, err error) {
	f.mu.Lock()
	f.queue.done(e)
	if err != nil {
		f.stats.Refused += e.items
		f.stats.LastError = err.Error()
	} else {
		f.stats.Sent++
		f.stats.SentItems += max(e.items-rejected, 0)
		f.stats.Rejected += rejected
		f.stats.LastError, f.stats.LastSent = "", time.Now()
	}
	f.mu.Unlock()
	if err != nil {
		f.opts.Log.ErrorContext(ctx, "forward telemetry: a request is dropped", "signal", e.signal.String(),
			"items", e.items, "error", err)
	}
}

// Stats tells what was counted.
func (f *Forwarder) Stats() ForwarderStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, queued := f.stats, f.queue.queued()
	s.Queued, s.QueuedItems, s.QueuedBytes = queued.requests, queued.items, f.queue.bytes()
	s.Full += f.queue.lost.full.items
	s.Damaged = f.queue.lost.damaged.requests
	return s
}

// Close closes the queue. Run has to have ended.
func (f *Forwarder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sender.close()
	if err := f.queue.close(); err != nil {
		return fmt.Errorf("close the queue: %w", err)
	}
	return nil
}
