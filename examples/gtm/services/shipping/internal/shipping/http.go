package shipping

import (
	"database/sql"
	"errors"
	"net/http"
	"strconv"

	"example.com/gtm/internal/lite"
	"github.com/atollhq/atoll/sdk"
)

const mostBody = 64 << 10

// Handler answers over HTTP: openapi.yaml is its contract. The paths that begin with /api are for people, the others are the
// steps of sagas.
func Handler(s *Store) http.Handler {
	h := &handler{s}
	mux := http.NewServeMux()
	mux.Handle("POST /reservations", lite.Step(s.db, s.reserve))
	mux.Handle("POST /reservations/cancel", lite.Step(s.db, s.cancel))
	mux.Handle("POST /shipments", lite.Step(s.db, s.ship))
	mux.Handle("GET /api/shipping/stock", sdk.Handler(h.stock))
	mux.Handle("PUT /api/shipping/stock/{sku}", sdk.Handler(h.count))
	mux.Handle("GET /api/shipping/shipments", sdk.Handler(h.shipments))
	return mux
}

// reserving asks for goods of an order.
type reserving struct {
	Order string `json:"order"`
	Lines []Line `json:"lines"`
}

func (r reserving) validate() error {
	bad := func(format string, args ...any) error {
		return sdk.Error(http.StatusUnprocessableEntity, "bad-reservation", format, args...)
	}
	if r.Order == "" || len(r.Order) > mostText {
		return bad("The order must have a name of 1 to %d bytes.", mostText)
	}
	if len(r.Lines) == 0 || len(r.Lines) > mostLines {
		return bad("An order has 1 to %d lines, not %d.", mostLines, len(r.Lines))
	}
	for i, line := range r.Lines {
		if line.Quantity < 1 || line.Quantity > mostQuantity {
			return bad("Line %d: the quantity must be from 1 to %d.", i+1, mostQuantity)
		}
	}
	return nil
}

// ordering names an order.
type ordering struct {
	Order string `json:"order"`
}

type cancelled struct {
	Order     string `json:"order"`
	Cancelled bool   `json:"cancelled"` // false: there was nothing to cancel
}

type handler struct{ store *Store }

func (h *handler) stock(w http.ResponseWriter, r *http.Request) error {
	items, err := h.store.Stock(r.Context())
	if err != nil {
		return err
	}
	return sdk.WriteJSON(w, http.StatusOK, map[string]any{"items": items})
}

func (h *handler) count(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		OnHand int64 `json:"on_hand"`
	}
	if err := sdk.DecodeJSON(r, &in, mostBody); err != nil {
		return err
	}
	if in.OnHand < 0 || in.OnHand > mostQuantity {
		return sdk.Error(http.StatusBadRequest, "bad-number", "on_hand must be from 0 to %d.", mostQuantity)
	}
	item, err := h.store.Count(r.Context(), r.PathValue("sku"), in.OnHand)
	if errors.Is(err, sql.ErrNoRows) {
		return sdk.Error(http.StatusNotFound, "unknown-sku", "There are no goods %q.", r.PathValue("sku"))
	}
	if err != nil {
		return err
	}
	return sdk.WriteJSON(w, http.StatusOK, item)
}

func (h *handler) shipments(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f := Filter{Order: q.Get("order"), Limit: 50}
	if text := q.Get("cursor"); text != "" {
		var ok bool
		if f.Before, ok = shipmentNumber(text); !ok {
			return sdk.Error(http.StatusBadRequest, "bad-cursor", `The parameter "cursor" must be what "next" of a page said.`)
		}
	}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return sdk.Error(http.StatusBadRequest, "bad-number", `The parameter "limit" must be a whole number from 1.`)
		}
		f.Limit = min(n, 500)
	}
	found, more, err := h.store.Shipments(r.Context(), f)
	if err != nil {
		return err
	}
	page := map[string]any{"shipments": found}
	if more {
		page["next"] = found[len(found)-1].ID
	}
	return sdk.WriteJSON(w, http.StatusOK, page)
}
