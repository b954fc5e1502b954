package std

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// writer is the response to the client. It counts, and lets the client stall for so long only.
type writer struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	res     *http.Response // what the service answered
	status  int
	wrote   bool // the head of the final response
	taken   bool // the connection was taken over for an upgrade
	failed  error
	in, out atomic.Int64
}

// Unwrap lets http.ResponseController reach what writer does not implement.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(status int) {
	if status == http.StatusContinue {
		return // the server says it itself, once, when the body is first read
	}
	if status >= 200 {
		w.status, w.wrote = status, true
	}
	w.extend()
	w.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	w.extend()
	n, err := w.ResponseWriter.Write(p)
	w.rest()
	w.out.Add(int64(n))
	if err != nil {
		w.failed = err
	}
	return n, err
}

// FlushError sends what was written, as http.ResponseController has it.
func (w *writer) FlushError() error {
	w.extend()
	err := w.control.Flush()
	w.rest()
	return err
}

// extend gives the client time for the next write.
func (w *writer) extend() {
	if w.stall > 0 && !w.taken {
		_ = w.control.SetWriteDeadline(time.Now().Add(w.stall)) // where it is not supported there is nothing to do
	}
}

// rest ends the time of a write that is over: over HTTP/2 it would else end a stream in which nothing is to be said.
func (w *writer) rest() {
	if w.stall > 0 && !w.taken {
		_ = w.control.SetWriteDeadline(time.Time{})
	}
}

// Hijack implements http.Hijacker.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := w.control.Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.taken = true
	return &takenConn{Conn: conn, early: rw.Reader, in: &w.in, out: &w.out}, rw, nil
}

// watched is a response's body that remembers how it ended.
type watched struct {
	io.ReadCloser
	err atomic.Pointer[error]
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err.Store(&err)
	}
	return n, err
}

// broken is how the service's response broke off, or nil. A client that went away breaks nothing.
func (w *writer) broken() error {
	if w.failed == nil && w.res != nil {
		if b, ok := w.res.Body.(*watched); ok && b.err.Load() != nil {
			return *b.err.Load()
		}
	}
	return nil
}
