package orders

import (
	"database/sql"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/atollhq/atoll/sdk"
)

const mostBody = 256 << 10

// Handler answers over HTTP: openapi.yaml is its contract.
func (b *Book) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /api/orders", sdk.Handler(b.place))
	mux.Handle("GET /api/orders", sdk.Handler(b.list))
	mux.Handle("GET /api/orders/{id}", sdk.Handler(b.get))
	mux.Handle("POST /api/orders/{id}/cancel", sdk.Handler(b.cancel))
	return mux
}

func (b *Book) place(w http.ResponseWriter, r *http.Request) error {
	var p Placing
	if err := sdk.DecodeJSON(r, &p, mostBody); err != nil {
		return err
	}
	o, isNew, err := b.Place(r.Context(), p)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/api/orders/"+url.PathEscape(o.ID))
	if !isNew {
		return sdk.WriteJSON(w, http.StatusOK, o)
	}
	return sdk.WriteJSON(w, http.StatusCreated, o)
}

func (b *Book) list(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	before, err := number(q, "cursor", 0)
	if err != nil {
		return err
	}
	limit, err := number(q, "limit", 50)
	if err != nil {
		return err
	}
	found, next, err := b.List(r.Context(), before, int(min(limit, 100)))
	if err != nil {
		return err
	}
	page := map[string]any{"orders": found}
	if next > 0 {
		page["next"] = strconv.FormatInt(next, 10)
	}
	return sdk.WriteJSON(w, http.StatusOK, page)
}

func number(q url.Values, name string, missing int64) (int64, error) {
	text := q.Get(name)
	if text == "" {
		return missing, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, sdk.Error(http.StatusBadRequest, "bad-number", "The parameter %q must be a whole number from 1.", name)
	}
	return n, nil
}

func (b *Book) get(w http.ResponseWriter, r *http.Request) error {
	o, err := b.Find(r.Context(), r.PathValue("id"))
	if err != nil {
		return missing(r, err)
	}
	return sdk.WriteJSON(w, http.StatusOK, o)
}

func (b *Book) cancel(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Reason string `json:"reason"`
	}
	if err := sdk.DecodeJSON(r, &in, mostBody); err != nil {
		return err
	}
	if in.Reason == "" || len(in.Reason) > mostText {
		return sdk.Error(http.StatusBadRequest, "bad-reason", "The reason is a text of 1 to %d bytes.", mostText)
	}
	o, err := b.Cancel(r.Context(), r.PathValue("id"), in.Reason)
	if err != nil {
		return missing(r, err)
	}
	return sdk.WriteJSON(w, http.StatusOK, o)
}

// missing says in the caller's terms that there is no such order.
func missing(r *http.Request, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return sdk.Error(http.StatusNotFound, "unknown-order", "There is no order %q.", r.PathValue("id"))
	}
	return err
}
