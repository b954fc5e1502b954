package crm

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"example.com/gtm/internal/lite"
	"github.com/atollhq/atoll/sdk"
)

// Handler answers over HTTP: openapi.yaml is its contract, service.yaml says which events it takes.
func Handler(s *Store) http.Handler {
	h := &handler{s}
	mux := http.NewServeMux()
	for pattern, serve := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /api/crm/accounts":                                  h.accounts,
		"GET /api/crm/accounts/{id}":                             h.account,
		"GET /api/crm/contacts":                                  h.contacts,
		"GET /api/crm/opportunities":                             h.opportunities,
		"GET /api/crm/opportunities/{id}":                        h.deal,
		"PUT /api/crm/opportunities/{id}/stage":                  h.move,
		"PUT /api/crm/opportunities/{id}/committee/{contact}":    h.seat,
		"DELETE /api/crm/opportunities/{id}/committee/{contact}": h.unseat,
	} {
		mux.Handle(pattern, sdk.Handler(func(w http.ResponseWriter, r *http.Request) error {
			return problem(serve(w, r))
		}))
	}
	mux.Handle("POST /events/lead-qualified", lite.On(s.db, s.qualified))
	mux.Handle("POST /events/lead-routed", lite.On(s.db, s.routed))
	mux.Handle("POST /events/signal-detected", lite.On(s.db, s.signal))
	return mux
}

type handler struct{ store *Store }

// problem says in the caller's terms what the store said.
func problem(err error) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return sdk.Error(http.StatusNotFound, "not-found", "There is no such account, contact or opportunity.")
	case errors.Is(err, ErrTransition):
		return sdk.Error(http.StatusConflict, "bad-transition", "%s.", err)
	case errors.Is(err, ErrOpenDeal):
		return sdk.Error(http.StatusConflict, "open-deal", "The account has an open opportunity already.")
	case errors.Is(err, ErrForeign):
		return sdk.Error(http.StatusConflict, "foreign-contact", "The contact belongs to another account.")
	}
	return err
}

func (h *handler) accounts(w http.ResponseWriter, r *http.Request) error {
	return list(w, r, "accounts", h.store.Accounts, func(a Account) int64 { return a.ID })
}

func (h *handler) contacts(w http.ResponseWriter, r *http.Request) error {
	return list(w, r, "contacts", h.store.Contacts, func(c Contact) int64 { return c.ID })
}

func (h *handler) opportunities(w http.ResponseWriter, r *http.Request) error {
	return list(w, r, "opportunities", h.store.Opportunities, func(o Opportunity) int64 { return o.ID })
}

// list answers a page; "next" is the cursor of the one after, and missing on the last.
func list[T any](w http.ResponseWriter, r *http.Request, name string,
	find func(context.Context, Filter) ([]T, bool, error), id func(T) int64,
) error {
	f, err := filter(r.URL.Query())
	if err != nil {
		return err
	}
	found, more, err := find(r.Context(), f)
	if err != nil {
		return err
	}
	page := map[string]any{name: found}
	if more {
		page["next"] = strconv.FormatInt(id(found[len(found)-1]), 10)
	}
	return sdk.WriteJSON(w, http.StatusOK, page)
}

func filter(q url.Values) (f Filter, err error) {
	f.Search, f.Owner, f.Stage = q.Get("q"), q.Get("owner"), Stage(q.Get("stage"))
	if f.Stage != "" && !slices.Contains(Stages(), f.Stage) {
		return f, sdk.Error(http.StatusBadRequest, "bad-stage", "There is no stage %q.", f.Stage)
	}
	if f.Account, err = number(q, "account", 0); err != nil {
		return f, err
	}
	if f.Before, err = number(q, "cursor", 0); err != nil {
		return f, err
	}
	limit, err := number(q, "limit", 50)
	f.Limit = int(min(max(limit, 1), 500))
	return f, err
}

func number(q url.Values, name string, missing int64) (int64, error) {
	text := q.Get(name)
	if text == "" {
		return missing, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, sdk.Error(http.StatusBadRequest, "bad-number", "The parameter %q must be a whole number from 0.", name)
	}
	return n, nil
}

// id is a number in the path; what is none names nothing.
func id(r *http.Request, name string) (int64, error) {
	n, err := strconv.ParseInt(r.PathValue(name), 10, 64)
	if err != nil || n < 1 {
		return 0, ErrNotFound
	}
	return n, nil
}

func (h *handler) account(w http.ResponseWriter, r *http.Request) error {
	n, err := id(r, "id")
	if err != nil {
		return err
	}
	a, err := h.store.Account(r.Context(), n)
	if err != nil {
		return err
	}
	return sdk.WriteJSON(w, http.StatusOK, a)
}

func (h *handler) deal(w http.ResponseWriter, r *http.Request) error {
	n, err := id(r, "id")
	if err != nil {
		return err
	}
	return h.showDeal(w, r, n)
}

func (h *handler) showDeal(w http.ResponseWriter, r *http.Request, n int64) error {
	d, err := h.store.Deal(r.Context(), n)
	if err != nil {
		return err
	}
	return sdk.WriteJSON(w, http.StatusOK, d)
}

func (h *handler) move(w http.ResponseWriter, r *http.Request) error {
	var want struct {
		Stage  Stage  `json:"stage"`
		Reason string `json:"reason"`
	}
	n, err := id(r, "id")
	if err != nil {
		return err
	}
	if err := sdk.DecodeJSON(r, &want, 16<<10); err != nil {
		return err
	}
	if !slices.Contains(Stages(), want.Stage) {
		return sdk.Error(http.StatusUnprocessableEntity, "bad-stage", "There is no stage %q.", want.Stage)
	}
	if err := h.store.Move(r.Context(), n, want.Stage, want.Reason); err != nil {
		return err
	}
	return h.showDeal(w, r, n)
}

func (h *handler) seat(w http.ResponseWriter, r *http.Request) error {
	var want struct {
		Role Role `json:"role"`
	}
	n, err := id(r, "id")
	if err != nil {
		return err
	}
	contact, err := id(r, "contact")
	if err != nil {
		return err
	}
	if err := sdk.DecodeJSON(r, &want, 16<<10); err != nil {
		return err
	}
	if !slices.Contains(Roles(), want.Role) {
		return sdk.Error(http.StatusUnprocessableEntity, "bad-role", "There is no role %q.", want.Role)
	}
	if err := h.store.Seat(r.Context(), n, contact, want.Role); err != nil {
		return err
	}
	return h.showDeal(w, r, n)
}

func (h *handler) unseat(w http.ResponseWriter, r *http.Request) error {
	n, err := id(r, "id")
	if err != nil {
		return err
	}
	contact, err := id(r, "contact")
	if err != nil {
		return err
	}
	if err := h.store.Unseat(r.Context(), n, contact); err != nil {
		return err
	}
	return h.showDeal(w, r, n)
}
