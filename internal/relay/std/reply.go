package std

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/relay"
)

// fail answers a request that no service answered.
func (x *exchange) fail(err error) {
	if x.w.wrote || x.w.taken {
		return // too late to say anything
	}
	x.hop.Err = err.Error()
	if errors.Is(err, errClientGone) {
		x.hop.Status = relay.StatusGone
		panic(http.ErrAbortHandler)
	}
	x.reply(x.replyFor(err))
}

// replyFor says what became of a request.
func (x *exchange) replyFor(err error) *relay.Reply {
	service := x.decision.Service
	again := relay.Field{Name: "Retry-After", Value: "1"}
	switch f, isFault := errors.AsType[*fault.Error](err); {
	case errors.Is(err, errBodyTooLarge):
		return tooLarge(x.decision.MaxBody)
	case errors.Is(err, errHeld):
		return tooMuchHeld()
	case errors.Is(err, errClientStalls):
		return relay.Refuse(http.StatusRequestTimeout,
			fault.New(fault.CodeClientTooSlow, "nothing of the request's body came for %s", x.w.stall).
				Fix("send the body without pauses"))
	case errors.Is(err, errClientLate):
		return relay.Refuse(http.StatusRequestTimeout,
			fault.New(fault.CodeClientTooSlow, "the request's body was not here when the time for an answer was over").
				Fix("send the body faster, or let the operator raise `timeout`"))
	case errors.Is(err, errClientBody):
		return relay.Refuse(http.StatusBadRequest,
			fault.New(fault.CodeRequestRefused, "the request's body cannot be read").Because(err))
	case isFault && f.Code == fault.CodeServiceUnknown:
		return relay.Refuse(http.StatusBadGateway, f)
	case isFault:
		return relay.Refuse(http.StatusServiceUnavailable, f, again)
	case errors.Is(err, errTimeout), errors.Is(err, errTryTimeout):
		return relay.Refuse(http.StatusGatewayTimeout,
			fault.New(fault.CodeServiceTimeout, "service %q did not begin to answer in time", service).
				Fix("try again; if it lasts, `atoll trace` shows where the time goes").Because(err))
	}
	return relay.Refuse(http.StatusBadGateway,
		fault.New(fault.CodeServiceFailed, "service %q ended the connection without an answer", service).
			Fix("`atoll logs %s` shows what it said", service).Because(err))
}

// reply sends a response of the relay's own.
func (x *exchange) reply(r *relay.Reply) {
	h := header{x.w.Header()}
	for _, f := range r.Header {
		h.Add(f.Name, f.Value)
	}
	body, status := r.Body, r.Status
	if r.Problem != nil {
		x.hop.Code = r.Problem.Code
		if r.Problem.Cause != nil {
			x.hop.Err = r.Problem.Cause.Error()
		}
		p := fault.ProblemFor(r.Problem, status)
		p.TraceID, p.Instance = x.req.Trace.ID.String(), x.req.RawPath
		body = p.JSON()
		h.Set("Content-Type", fault.ProblemType)
		h.Set("Cache-Control", "no-store")
	}
	if f := x.decision.Response; f != nil {
		f(status, h)
	}
	if x.req.GRPC && r.Problem != nil {
		x.replyGRPC(h, status, r.Problem.Text)
		return
	}
	if status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	x.w.WriteHeader(status)
	if x.req.Method != http.MethodHead {
		_, _ = x.w.Write(body) // the client may be gone; the Hop has the status all the same
	}
}

// replyGRPC sends a status without messages (gRPC over HTTP/2, Trailers-Only).
func (x *exchange) replyGRPC(h header, status int, text string) {
	code := grpcCode(status)
	x.hop.GRPCCode = code
	h.Set("Content-Type", "application/grpc")
	h.Set("Grpc-Status", strconv.Itoa(code))
	h.Set("Grpc-Message", percentEncode(text))
	x.w.WriteHeader(http.StatusOK)
}

func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// grpcCode is the gRPC status code that says the same as an HTTP status.
func grpcCode(status int) int {
	switch status {
	case http.StatusBadRequest, http.StatusRequestHeaderFieldsTooLarge:
		return 3 // INVALID_ARGUMENT
	case http.StatusUnauthorized:
		return 16 // UNAUTHENTICATED
	case http.StatusForbidden:
		return 7 // PERMISSION_DENIED
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return 12 // UNIMPLEMENTED
	case http.StatusTooManyRequests, http.StatusRequestEntityTooLarge:
		return 8 // RESOURCE_EXHAUSTED
	case http.StatusGatewayTimeout, http.StatusRequestTimeout:
		return 4 // DEADLINE_EXCEEDED
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return 14 // UNAVAILABLE
	}
	return 2 // UNKNOWN
}

// percentEncode is the encoding of grpc-message.
func percentEncode(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '%' {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// What a try can end with besides errors of the network.
var (
	errClientGone = errors.New("the client went away")
	errClientBody = errors.New("the request's body cannot be read")
	errUnasked    = errors.New("the service switched to a protocol that it was not asked for")
	errNoAnswer   = errors.New("the connection ended without an answer")
	errTimeout    = &timeoutError{"the response did not begin in time"}
	errTryTimeout = &timeoutError{"the response to one try did not begin in time"}
)

type timeoutError struct{ text string }

func (e *timeoutError) Error() string { return e.text }
func (e *timeoutError) Is(target error) bool {
	return target == context.DeadlineExceeded || target == error(e)
}
