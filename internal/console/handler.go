package console

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/atollhq/atoll/internal/fault"
)

// maxLogin is how many bytes a login has at most.
const maxLogin = 4 << 10

// policy is what a page of the console may do: nothing but what it brings itself.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// NewHandler serves the console. API serves the control API to whoever has a session: it checks the token itself, by
// Sessions.Session.
func NewHandler(sessions *Sessions, api http.Handler, log *slog.Logger) http.Handler {
	h := &handler{sessions: sessions, log: log}
	mux := http.NewServeMux()
	mux.Handle("/v1/", api)
	mux.Handle("/prometheus/", api)
	mux.HandleFunc("POST /login", h.login)
	mux.HandleFunc("POST /logout", h.logout)
	mux.Handle("/", pages())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Content-Security-Policy", policy)
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("Cross-Origin-Opener-Policy", "same-origin")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		mux.ServeHTTP(w, r)
	})
}

type handler struct {
	sessions *Sessions
	log      *slog.Logger
}

// login gives the token of a new session for the code of a link.
func (h *handler) login(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Code string `json:"code"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxLogin)).Decode(&body); err != nil {
		h.refuse(w, fault.New(fault.CodeBadRequest, "the login cannot be read").Fix(`send {"code": "..."}`), http.StatusBadRequest)
		return
	}
	token, err := h.sessions.Redeem(body.Code)
	if e, ok := errors.AsType[*fault.Error](err); ok {
		h.refuse(w, e, http.StatusForbidden)
		return
	}
	if err != nil {
		h.log.ErrorContext(r.Context(), "a session cannot be kept", "error", err)
		h.refuse(w, fault.New(fault.CodeInternal, "the session cannot be kept").Fix("look at the operator's log, .atoll/atoll.log"), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(map[string]string{"token": token}) // the client may be gone
}

// logout ends the session whose token the request carries. It is no error that there is none.
func (h *handler) logout(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if err := h.sessions.End(token); err != nil {
		h.log.ErrorContext(r.Context(), "the end of a session cannot be kept", "error", err)
		h.refuse(w, fault.New(fault.CodeInternal, "the end of the session cannot be kept").Fix("look at the operator's log, .atoll/atoll.log"), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *handler) refuse(w http.ResponseWriter, e *fault.Error, status int) {
	w.Header().Set("Content-Type", fault.ProblemType)
	w.WriteHeader(status)
	_, _ = w.Write(fault.ProblemFor(e, status).JSON()) // the client may be gone
}
