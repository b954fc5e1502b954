package control

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
)

const (
	maxBody   = 2 << 20 // a dead letter's data in Base64 is the largest
	maxEvents = 8 << 20 // of a request that publishes
)

// handlerFunc answers a request or returns why it cannot.
type handlerFunc func(w http.ResponseWriter, r *http.Request) error

// server serves the API of one application.
type server struct {
	app     App
	log     *slog.Logger
	handler http.Handler // of all operations, for those that are watched
	watches atomic.Int64 // that are under way
}

// operations lists every operation of the API by its pattern, as openapi.yaml does.
func (s *server) operations() map[string]handlerFunc {
	all := map[string]handlerFunc{
		"GET /v1/app":                         s.info,
		"GET /v1/services":                    s.services,
		"GET /v1/services/{service}":          s.service,
		"POST /v1/services/{service}/restart": s.restart,
		"POST /v1/services/{service}/scale":   s.scale,
		"GET /v1/replicas":                    s.replicas,
		"GET /v1/findings":                    s.findings,
		"GET /v1/events":                      s.events,
		"POST /v1/reload":                     s.reload,
		"POST /v1/stop":                       s.stop,
	}
	maps.Copy(all, s.telemetryOperations())
	maps.Copy(all, s.busOperations())
	maps.Copy(all, s.webhookOperations())
	maps.Copy(all, s.sagaOperations())
	maps.Copy(all, s.alertOperations())
	maps.Copy(all, s.consoleOperations())
	return all
}

// Operations lists the patterns of all operations, such as "GET /v1/app".
func Operations() []string {
	var patterns []string
	for p := range (&server{}).operations() {
		patterns = append(patterns, p)
	}
	return patterns
}

// NewHandler serves the API of app to whoever can reach it: use it on a socket that only the user can open. Behind
// RequireToken it may be used on loopback TCP.
func NewHandler(app App, log *slog.Logger) http.Handler {
	s := &server{app: app, log: log}
	mux := http.NewServeMux()
	for pattern, h := range s.operations() {
		mux.Handle(pattern, s.adapt(h))
	}
	// What programs of others read has the shapes that they expect, errors too.
	mux.Handle("/prometheus/", app.Prometheus("/prometheus"))
	mux.Handle("/jaeger/", app.Jaeger("/jaeger"))
	mux.Handle("/", s.adapt(func(_ http.ResponseWriter, r *http.Request) error {
		return fault.New(fault.CodeNoSuchOperation, "the control API has no %s %s", r.Method, r.URL.Path).
			Fix("see the operations in docs/reference/control-api.yaml")
	}))
	s.handler = mux
	return mux
}

// Session returns whether a token is valid, and what is done when it no longer is.
type Session func(token string) (context.Context, bool)

// RequireToken lets through to h what carries a bearer token that is valid, and refuses what a foreign page could have sent. A request ends
// when its token does.
func RequireToken(session Session, h http.Handler) http.Handler {
	return RequireLocal(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		valid, ok := session(given)
		if !bearer || !ok {
			refuse(w, r, "the request has no valid token")
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(valid, cancel)() //nolint:contextcheck // what ends it is of the session, not of the request
		h.ServeHTTP(w, r.WithContext(ctx))
	}))
}

// OneToken is for RequireToken where there is one token alone, which never ends.
func OneToken(token string) Session {
	return func(given string) (context.Context, bool) {
		return context.Background(), subtle.ConstantTimeCompare([]byte(given), []byte(token)) == 1
	}
}

// RequireLocal refuses what a foreign page could have sent: by a name that leads here (DNS rebinding), or from its own origin.
func RequireLocal(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !isLoopback(r.Host):
			refuse(w, r, "the Host of the request is not this machine")
		case r.Header.Get("Origin") != "" && !sameOrigin(r):
			refuse(w, r, "the request comes from a page of another origin")
		default:
			h.ServeHTTP(w, r)
		}
	})
}

func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func sameOrigin(r *http.Request) bool {
	u, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && u.Host == r.Host
}

func refuse(w http.ResponseWriter, r *http.Request, why string) {
	writeProblem(w, r, fault.New(fault.CodeControlRefused, "%s", why).
		Fix("send Authorization: Bearer and the token of .atoll/run.json, or use the unix socket named there; in a browser, log in with the link that atoll console prints"))
}

// statusOf is the HTTP status of a fault's code.
func statusOf(code fault.Code) int {
	switch code {
	case fault.CodeControlRefused:
		return http.StatusForbidden
	case fault.CodeServiceUnknown, fault.CodeNoSuchOperation, fault.CodeTraceUnknown, fault.CodeReplicaUnknown,
		fault.CodeTopicUnknown, fault.CodeSubscriptionUnknown, fault.CodeDeadLetterUnknown, fault.CodeOffsetGone, fault.CodeWebhookUnknown,
		fault.CodeSagaUnknown, fault.CodeSagaInstanceUnknown, fault.CodeNoContract, fault.CodeConsoleOff, fault.CodeAlertUnknown, fault.CodeSilenceUnknown:
		return http.StatusNotFound
	case fault.CodeBadRequest, fault.CodeBadLevel, fault.CodeBadDuration, fault.CodeBadValue,
		fault.CodeEventInvalid, fault.CodeEventDeliverAt, fault.CodeEventReserved, fault.CodeWebhookInvalid, fault.CodeWebhookAddress,
		fault.CodeSagaReason, fault.CodeSilenceInvalid, fault.CodeQueryInvalid:
		return http.StatusBadRequest
	case fault.CodeEventTooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.CodeEventContract, fault.CodeSagaInput, fault.CodeQueryTooBroad:
		return http.StatusUnprocessableEntity
	case fault.CodeControlBusy, fault.CodeBusBusy, fault.CodeBusFull, fault.CodeBusUnsure,
		fault.CodeSagaBusy, fault.CodeSagaUnsure, fault.CodeSagaStoreUnreachable:
		return http.StatusServiceUnavailable
	case fault.CodeInternal:
		return http.StatusInternalServerError
	default:
		return http.StatusConflict
	}
}

func writeProblem(w http.ResponseWriter, r *http.Request, e *fault.Error) {
	p := fault.ProblemFor(e, statusOf(e.Code))
	p.Instance = r.URL.Path
	w.Header().Set("Content-Type", fault.ProblemType)
	w.WriteHeader(p.Status)
	_, _ = w.Write(p.JSON()) // the client may be gone
}

// adapt turns errors into problem documents, and logs what is not for users.
func (s *server) adapt(h handlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxEvents)
		err := h(w, r)
		if err == nil || r.Context().Err() != nil {
			return
		}
		e, ok := errors.AsType[*fault.Error](err)
		if !ok {
			s.log.ErrorContext(r.Context(), "control request failed", "method", r.Method, "path", r.URL.Path, "error", err)
			e = fault.New(fault.CodeInternal, "the request could not be carried out").Fix("look at the operator's log, .atoll/atoll.log")
		}
		// A client that is still sending may find the connection closed, and never read why it was refused.
		_, _ = io.CopyN(io.Discard, r.Body, 256<<10)
		writeProblem(w, r, e)
	})
}

func writeJSON(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

func (s *server) info(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, s.app.Info())
}

func (s *server) services(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, map[string]any{"services": s.app.Services()})
}

func (s *server) service(w http.ResponseWriter, r *http.Request) error {
	service, err := s.app.Service(r.PathValue("service"))
	if err != nil {
		return err
	}
	return writeJSON(w, service)
}

func (s *server) replicas(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, map[string]any{"replicas": s.app.Replicas()})
}

func (s *server) findings(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, api.Findings{Findings: emptyNotNull(s.app.Findings())})
}

func emptyNotNull(l fault.List) fault.List {
	if l == nil {
		return fault.List{}
	}
	return l
}

func (s *server) restart(w http.ResponseWriter, r *http.Request) error {
	if err := s.app.Restart(r.Context(), r.PathValue("service")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *server) scale(w http.ResponseWriter, r *http.Request) error {
	var body api.Scale
	if err := readJSON(r, &body, `{"replicas": 3}`); err != nil {
		return err
	}
	const most = 1000
	if body.Replicas < 0 || body.Replicas > most {
		return fault.New(fault.CodeBadValue, "%d is not a number of replicas", body.Replicas).Fix("choose from 0 to %d", most)
	}
	if err := s.app.Scale(r.Context(), r.PathValue("service"), body.Replicas); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// readJSON reads a body of JSON, of which an example is given.
func readJSON(r *http.Request, to any, example string) error {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return fault.New(fault.CodeBadRequest, "the body is not application/json").Fix("send %s", example)
	}
	d := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return fault.New(fault.CodeBadRequest, "%s", unreadable(err)).Fix("send %s", example).Because(err)
	}
	return nil
}

// unreadable says what of a body cannot be read.
func unreadable(err error) string {
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok { // it has no type of its own
		return "the body has the key " + name + ", which is not known here"
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
		return fmt.Sprintf("the body's key %q cannot be a %s", e.Field, e.Value)
	}
	return "the body cannot be read"
}

func (s *server) reload(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, api.Findings{Findings: emptyNotNull(s.app.Reload(r.Context()))})
}

func (s *server) stop(w http.ResponseWriter, _ *http.Request) error {
	s.app.Stop()
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// number reads a query parameter that is a whole number.
func number(r *http.Request, name string, otherwise int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fault.New(fault.CodeBadRequest, "%s=%q is not a number", name, text).Fix("write a whole number")
	}
	return n, nil
}

func (s *server) events(w http.ResponseWriter, r *http.Request) error {
	after, err := number(r, "after", 0)
	if err != nil {
		return err
	}
	write := stream(w, r)
	return s.app.Events(r.Context(), after, r.URL.Query().Get("follow") == "true", func(e api.Event) error { return write(e) })
}

// stream writes JSON objects, each sent at once: one a line, or as server-sent events to who asks for those.
func stream(w http.ResponseWriter, r *http.Request) func(v any) error {
	if strings.Contains(r.Header.Get("Accept"), eventStream) {
		return serverSent(w)
	}
	return sent(w, "application/x-ndjson", func(line []byte) []byte { return append(line, '\n') })
}

// serverSent writes server-sent events. Nothing, written, is a comment, which tells whether somebody is there.
func serverSent(w http.ResponseWriter) func(v any) error {
	w.Header().Set("Cache-Control", "no-store")
	return sent(w, eventStream, func(line []byte) []byte {
		if string(line) == "null" {
			return []byte(":\n\n")
		}
		return append(append([]byte("data: "), line...), "\n\n"...)
	})
}

func sent(w http.ResponseWriter, kind string, frame func(line []byte) []byte) func(v any) error {
	w.Header().Set("Content-Type", kind)
	controller := http.NewResponseController(w)
	if err := controller.Flush(); err != nil { // the head goes out before there is anything to say
		return func(any) error { return err }
	}
	return func(v any) error {
		line, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if _, err := w.Write(frame(line)); err != nil {
			return err
		}
		return controller.Flush()
	}
}
