package mailbox

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strconv"

	"github.com/atollhq/atoll/sdk"
)

//go:embed templates
var files embed.FS

// Handler answers over HTTP; openapi.yaml is its contract.
func Handler(s *Store) (http.Handler, error) {
	templates, err := template.ParseFS(files, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("parse templates: %w", err)
	}
	h := &handler{s, templates}
	mux := http.NewServeMux()
	for pattern, serve := range map[string]func(http.ResponseWriter, *http.Request) error{
		"POST /mails":                        h.take,
		"GET /api/mailbox/mails":             h.list,
		"GET /api/mailbox/mails/{id}":        h.show,
		"POST /api/mailbox/mails/{id}/reply": h.reply,
		"GET /mailbox":                       h.listPage,
		"GET /mailbox/{id}":                  h.page,
		"GET /mailbox/{id}/html":             h.html,
		"POST /mailbox/{id}/reply":           h.replyPage,
	} {
		mux.Handle(pattern, sdk.Handler(func(w http.ResponseWriter, r *http.Request) error {
			err := serve(w, r)
			if errors.Is(err, ErrNotFound) {
				return sdk.Error(http.StatusNotFound, "not-found", "There is no such mail.")
			}
			return err
		}))
	}
	return http.NewCrossOriginProtection().Handler(mux), nil
}

type handler struct {
	store     *Store
	templates *template.Template
}

// take takes a mail with its envelope from the SMTP server. What is no mail is refused.
func (h *handler) take(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		From string   `json:"from"`
		To   []string `json:"to"`
		Data string   `json:"data"`
	}
	if err := sdk.DecodeJSON(r, &in, 4<<20); err != nil {
		return err
	}
	m, err := parse(in.Data)
	if err != nil {
		return sdk.Error(http.StatusUnprocessableEntity, "bad-mail", "This is no mail that can be read.")
	}
	m.From, m.To = in.From, in.To
	if err := h.store.Take(r.Context(), m); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *handler) list(w http.ResponseWriter, r *http.Request) error {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 1 || limit > 500 {
		limit = 50
	}
	mails, err := h.store.List(r.Context(), r.URL.Query().Get("to"), limit)
	if err != nil {
		return err
	}
	n, err := h.store.Count(r.Context())
	if err != nil {
		return err
	}
	return sdk.WriteJSON(w, http.StatusOK, map[string]any{"mails": mails, "count": n})
}

func (h *handler) find(r *http.Request) (Mail, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return Mail{}, ErrNotFound
	}
	return h.store.Get(r.Context(), id)
}

func (h *handler) show(w http.ResponseWriter, r *http.Request) error {
	m, err := h.find(r)
	if err != nil {
		return err
	}
	return sdk.WriteJSON(w, http.StatusOK, m)
}

func (h *handler) reply(w http.ResponseWriter, r *http.Request) error {
	m, err := h.find(r)
	if err != nil {
		return err
	}
	if err := h.store.Reply(r.Context(), m.ID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *handler) replyPage(w http.ResponseWriter, r *http.Request) error {
	m, err := h.find(r)
	if err != nil {
		return err
	}
	if err := h.store.Reply(r.Context(), m.ID); err != nil {
		return err
	}
	http.Redirect(w, r, fmt.Sprint("/mailbox/", m.ID), http.StatusSeeOther)
	return nil
}

func (h *handler) listPage(w http.ResponseWriter, r *http.Request) error {
	mails, err := h.store.List(r.Context(), "", 100)
	if err != nil {
		return err
	}
	return h.render(w, "list.html", mails)
}

func (h *handler) page(w http.ResponseWriter, r *http.Request) error {
	m, err := h.find(r)
	if err != nil {
		return err
	}
	return h.render(w, "mail.html", m)
}

// html is a mail's HTML, which may be anything: no script runs, and nothing is loaded.
func (h *handler) html(w http.ResponseWriter, r *http.Request) error {
	m, err := h.find(r)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Security-Policy", "sandbox allow-popups; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, err = w.Write([]byte(m.HTML))
	return err
}

func (h *handler) render(w http.ResponseWriter, name string, data any) error {
	var b bytes.Buffer
	if err := h.templates.ExecuteTemplate(&b, name, data); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, err := w.Write(b.Bytes())
	return err
}
