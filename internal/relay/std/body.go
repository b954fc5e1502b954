package std

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// maxReplay is how much of a request's body is kept for sending again, if nobody wants to see the whole of it.
const maxReplay = 64 << 10

var (
	errBodyTooLarge = errors.New("the request's body is larger than is allowed")
	errClientStalls = errors.New("the client sends nothing of the request's body")
	errClientLate   = errors.New("the request's body was still on its way when the time for an answer was over")
	errTryEnded     = errors.New("the try that read the body has ended")
)

// body is a request's body, readable from its beginning by one try after the other as long as it is kept.
type body struct {
	max     int64 // 0 means no limit
	keep    int64 // how much is kept for sending again
	stall   time.Duration
	control *http.ResponseController
	length  atomic.Int64
	failure atomic.Pointer[error] // what went wrong on the client's side
	lost    atomic.Bool           // more was read than is kept
	ended   atomic.Bool           // nothing more is to be read
	reader  *bodyReader           // of the present try; the handler's alone

	mu   sync.Mutex // guards what follows; held while the client's body is read
	src  io.ReadCloser
	in   *http.Request
	kept []byte
	err  error

	gate    sync.Mutex // guards what follows, and read deadlines
	waiting bool       // for the client to send
	cut     bool       // nothing is waited for any more
}

// bodyReader is the body as one try reads it.
type bodyReader struct {
	b    *body
	at   int64
	out  *http.Request // takes the trailers
	done atomic.Bool
}

// open returns the body for a new try, and ends that of the one before. A read of that one that is still under way
// is not lost: the new try finds what it brings among what is kept.
func (b *body) open(out *http.Request) *bodyReader {
	b.endTry()
	b.reader = &bodyReader{b: b, out: out}
	return b.reader
}

func (b *body) endTry() {
	if b.reader != nil {
		b.reader.done.Store(true)
	}
}

// giveUp ends the reading of a try that ran out of time. If it was the client that the try waited for, that is the end
// of the request: another replica would wait for the same.
func (r *bodyReader) giveUp() {
	r.done.Store(true)
	if r.b.interrupt() {
		r.b.failure.CompareAndSwap(nil, &errClientLate)
	}
}

// wait says that a read from the client begins, and gives it its time. It tells whether it may.
func (b *body) wait() bool {
	b.gate.Lock()
	defer b.gate.Unlock()
	if b.cut {
		return false
	}
	if b.stall > 0 {
		_ = b.control.SetReadDeadline(time.Now().Add(b.stall)) // where it is not supported there is nothing to do
	}
	b.waiting = true
	return true
}

// waited says that a read from the client ended.
func (b *body) waited(err error) {
	b.gate.Lock()
	defer b.gate.Unlock()
	b.waiting = false
	if b.stall > 0 && err != nil && !b.cut {
		_ = b.control.SetReadDeadline(time.Time{})
	}
}

// interrupt ends a read from the client that is under way, for good, and tells whether there was one.
func (b *body) interrupt() bool {
	b.gate.Lock()
	defer b.gate.Unlock()
	if b.waiting {
		b.cut = true
		_ = b.control.SetReadDeadline(longAgo())
	}
	return b.waiting
}

// longAgo is a deadline that no clock can take for the future.
func longAgo() time.Time { return time.Unix(1, 0) }

// replayable tells whether a new try can read the body from its beginning.
func (b *body) replayable() bool { return b == nil || !b.lost.Load() && b.failure.Load() == nil }

// linger is how long a client may go on sending a body that nobody reads any more, so that it sees the answer before
// the connection is closed.
const linger = 500 * time.Millisecond

// close ends the reading. The server may then take the connection back.
func (b *body) close() {
	b.endTry()
	if b.ended.Load() {
		return
	}
	b.interrupt()
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.control.SetReadDeadline(time.Now().Add(linger))
}

// clientError is what went wrong on the client's side, or nil.
func (b *body) clientError() error {
	if b == nil {
		return nil
	}
	if e := b.failure.Load(); e != nil {
		return *e
	}
	return nil
}

// Read implements io.Reader.
func (r *bodyReader) Read(p []byte) (int, error) {
	b := r.b
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case r.done.Load(), b.lost.Load() && r.at < b.length.Load():
		return 0, errTryEnded
	case r.at < int64(len(b.kept)):
		n := copy(p, b.kept[r.at:])
		r.at += int64(n)
		return n, nil
	case b.err != nil:
		r.copyTrailer(b.err)
		return 0, b.err
	}
	n, err := b.read(p)
	r.at += int64(n)
	r.copyTrailer(err)
	return n, err
}

// read reads from the client, keeps what may be wanted again and holds the limit. The caller holds mu.
func (b *body) read(p []byte) (int, error) {
	if !b.wait() {
		return 0, errTryEnded
	}
	n, err := b.src.Read(p)
	b.waited(err)
	total := b.length.Add(int64(n))
	if b.max > 0 && total > b.max {
		n, err = 0, errBodyTooLarge
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errClientStalls
	}
	if err != nil {
		b.err = err
		b.ended.Store(errors.Is(err, io.EOF))
		if !errors.Is(err, io.EOF) {
			b.failure.CompareAndSwap(nil, &err)
		}
	}
	switch {
	case b.lost.Load():
	case int64(len(b.kept)+n) > b.keep:
		b.kept = nil
		b.lost.Store(true)
	default:
		b.kept = append(b.kept, p[:n]...)
	}
	return n, err
}

// copyTrailer passes the request's trailers on, which the server knows only now.
func (r *bodyReader) copyTrailer(err error) {
	if !errors.Is(err, io.EOF) {
		return
	}
	for name, values := range r.b.in.Trailer {
		if _, announced := r.out.Trailer[name]; announced {
			r.out.Trailer[name] = values
		}
	}
}

// Close ends the try's reading. It does not wait for a read that is under way.
func (r *bodyReader) Close() error { return nil }
