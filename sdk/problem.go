package sdk

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Problem is an error that the caller may see, as a problem document after RFC 9457. Programs test Code,
// never the text.
type Problem struct {
	Type     string `json:"type"`               // a URI of the kind of problem, or "about:blank"
	Title    string `json:"title"`              // the kind of problem, the same for each occurrence
	Status   int    `json:"status"`             // the HTTP status
	Detail   string `json:"detail,omitempty"`   // this occurrence, for the caller
	Instance string `json:"instance,omitempty"` // the path of the request
	Code     string `json:"code,omitempty"`
	Remedy   string `json:"remedy,omitempty"` // what to do about it
	TraceID  string `json:"trace_id,omitempty"`

	// RetryAfter is how long to wait before another try: the header Retry-After, in whole seconds.
	RetryAfter time.Duration `json:"-"`
}

// Error makes a problem of an HTTP status, a code in kebab-case and a text for the caller.
func Error(status int, code, format string, args ...any) *Problem {
	return &Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Code: code, Detail: fmt.Sprintf(format, args...),
	}
}

// Error is the problem in one line.
func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if p.Code == "" {
		return fmt.Sprintf("%s (%d)", text, p.Status)
	}
	return fmt.Sprintf("%s (%d %s)", text, p.Status, p.Code)
}

// Temporary tells whether the same request may succeed later.
func (p *Problem) Temporary() bool {
	switch p.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return p.Status >= 500 && p.Status != http.StatusNotImplemented
}

// Handler adapts a handler that returns an error. The error is written as a problem document: a [Problem] as
// it is, any other as status 500 without its text. An error that is returned after the response has begun
// cuts the connection, so that the client does not take half a response for a whole one.
func Handler(h func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := &beginning{ResponseWriter: w}
		err := h(began, r)
		if err == nil {
			return
		}
		p, known := errors.AsType[*Problem](err)
		if !known {
			p = internalProblem()
		}
		if !known || p.Status >= 500 {
			logOf(r.Context()).ErrorContext(r.Context(), "request failed",
				slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Any("error", err))
		}
		if began.yes {
			panic(http.ErrAbortHandler)
		}
		writeProblem(w, r, p)
	})
}

// beginning remembers whether the response has begun.
type beginning struct {
	http.ResponseWriter
	yes bool
}

func (b *beginning) WriteHeader(status int) {
	b.yes = b.yes || status >= 200
	b.ResponseWriter.WriteHeader(status)
}

func (b *beginning) Write(p []byte) (int, error) {
	b.yes = true
	return b.ResponseWriter.Write(p)
}

// Flush is for handlers that look for an http.Flusher. A failure shows at the next write.
func (b *beginning) Flush() {
	b.yes = true
	_ = http.NewResponseController(b.ResponseWriter).Flush()
}

// Hijack is for libraries that look for an http.Hijacker, such as those of WebSocket.
func (b *beginning) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	b.yes = true
	return http.NewResponseController(b.ResponseWriter).Hijack()
}

// Unwrap lets http.ResponseController reach the deadlines.
func (b *beginning) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func internalProblem() *Problem {
	return Error(http.StatusInternalServerError, "internal", "The service could not answer. Its log says why.")
}

func writeProblem(w http.ResponseWriter, r *http.Request, p *Problem) {
	doc := *p
	if doc.Instance == "" {
		doc.Instance = r.URL.Path
	}
	if doc.TraceID == "" {
		doc.TraceID = TraceID(r.Context())
	}
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int64((p.RetryAfter+time.Second-1)/time.Second)))
	}
	body, err := json.Marshal(doc)
	if err != nil {
		panic("sdk: a problem document of strings and numbers does not marshal: " + err.Error())
	}
	w.Header().Set("Content-Type", fault.ProblemType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(doc.Status)
	_, _ = w.Write(append(body, '\n')) // a client that has gone needs no answer
}

// readProblem makes a problem of a response whose status says that something is wrong. What is not a problem
// document gives one with no more than the status.
func readProblem(resp *http.Response, callee string) *Problem {
	p := Error(resp.StatusCode, "", "The service %s answered %s.", callee, resp.Status)
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err == nil && media == fault.ProblemType {
		var doc Problem
		if json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&doc) == nil {
			p = &doc
			p.Status = resp.StatusCode
		}
	}
	if after, err := time.ParseDuration(resp.Header.Get("Retry-After") + "s"); err == nil && after > 0 {
		p.RetryAfter = after
	}
	return p
}
