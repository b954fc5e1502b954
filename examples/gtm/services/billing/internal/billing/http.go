package billing

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
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
	mux.Handle("POST /invoices", lite.Step(s.db, s.invoice))
	mux.Handle("POST /invoices/void", lite.Step(s.db, s.void))
	mux.Handle("POST /charges", lite.Step(s.db, s.charge))
	mux.Handle("POST /revenue", lite.Step(s.db, s.revenue))
	for pattern, serve := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /api/billing/invoices":         h.invoices,
		"GET /api/billing/ledger":           h.ledger,
		"GET /api/billing/subscriptions":    h.subscriptions,
		"GET /api/billing/metrics":          h.metrics,
		"GET /api/billing/processor":        h.processor,
		"PUT /api/billing/processor":        h.setProcessor,
		"PUT /api/billing/cards/{customer}": h.setCard,
	} {
		mux.Handle(pattern, sdk.Handler(serve))
	}
	return mux
}

// ordering names an order.
type ordering struct {
	Order string `json:"order"`
}

type voiding struct {
	Order  string `json:"order"`
	Voided bool   `json:"voided"` // false: there was none any more
}

// charging asks for the money of an invoice. The amount is what the caller believes that the invoice is about.
type charging struct {
	Invoice string `json:"invoice"`
	Amount  int64  `json:"amount"`
}

type handler struct{ store *Store }

func (h *handler) invoices(w http.ResponseWriter, r *http.Request) error {
	return page(w, r, "invoices", prefixInvoice, h.store.Invoices, Invoice.number)
}

func (h *handler) subscriptions(w http.ResponseWriter, r *http.Request) error {
	return page(w, r, "subscriptions", "", h.store.Subscriptions, func(s Subscription) int64 { return s.ID })
}

// page answers a page; "next" is the cursor of the one after, and missing on the last.
func page[T any](w http.ResponseWriter, r *http.Request, name, prefix string,
	find func(context.Context, Filter) ([]T, bool, error), id func(T) int64,
) error {
	f, err := filter(r.URL.Query(), prefix)
	if err != nil {
		return err
	}
	found, more, err := find(r.Context(), f)
	if err != nil {
		return err
	}
	out := map[string]any{name: found}
	if more {
		out["next"] = fmt.Sprint(prefix, id(found[len(found)-1]))
	}
	return sdk.WriteJSON(w, http.StatusOK, out)
}

func filter(q url.Values, prefix string) (Filter, error) {
	f := Filter{Customer: q.Get("customer"), Order: q.Get("order"), Limit: 50}
	if text := q.Get("cursor"); text != "" {
		var ok bool
		if f.Before, ok = numberOf(prefix, text); !ok {
			return f, sdk.Error(http.StatusBadRequest, "bad-cursor", `The parameter "cursor" must be what "next" of a page said.`)
		}
	}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return f, sdk.Error(http.StatusBadRequest, "bad-number", `The parameter "limit" must be a whole number from 1.`)
		}
		f.Limit = min(n, 500)
	}
	return f, nil
}

// ledger answers a page of entries, and the balances of all.
func (h *handler) ledger(w http.ResponseWriter, r *http.Request) error {
	f, err := filter(r.URL.Query(), "")
	if err != nil {
		return err
	}
	entries, more, err := h.store.Entries(r.Context(), f)
	if err != nil {
		return err
	}
	balances, err := h.store.Balances(r.Context())
	if err != nil {
		return err
	}
	var sum int64 // across currencies it means nothing, but that it is zero
	for _, b := range balances {
		sum += b.Amount
	}
	out := map[string]any{"entries": entries, "balances": balances, "sum": sum}
	if more {
		out["next"] = strconv.FormatInt(entries[len(entries)-1].ID, 10)
	}
	return sdk.WriteJSON(w, http.StatusOK, out)
}

func (h *handler) metrics(w http.ResponseWriter, r *http.Request) error {
	m := MonthOf(h.store.now())
	if text := r.URL.Query().Get("month"); text != "" {
		var err error
		if m, err = ParseMonth(text); err != nil {
			return sdk.Error(http.StatusBadRequest, "bad-month", "The parameter \"month\": %s.", err)
		}
	}
	found, err := h.store.Metrics(r.Context(), m)
	if err != nil {
		return err
	}
	return sdk.WriteJSON(w, http.StatusOK, map[string]any{"month": m.String(), "currencies": found})
}

type processorState struct {
	State Processor `json:"state"`
}

func (h *handler) processor(w http.ResponseWriter, r *http.Request) error {
	state, err := h.store.Processor(r.Context())
	if err != nil {
		return err
	}
	return sdk.WriteJSON(w, http.StatusOK, processorState{state})
}

func (h *handler) setProcessor(w http.ResponseWriter, r *http.Request) error {
	var in processorState
	if err := sdk.DecodeJSON(r, &in, mostBody); err != nil {
		return err
	}
	if !slices.Contains(Processors(), in.State) {
		return sdk.Error(http.StatusBadRequest, "bad-state", "The processor is up, down or declining, not %q.", in.State)
	}
	if err := h.store.SetProcessor(r.Context(), in.State); err != nil {
		return err
	}
	return sdk.WriteJSON(w, http.StatusOK, in)
}

func (h *handler) setCard(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Number string `json:"number"`
	}
	if err := sdk.DecodeJSON(r, &in, mostBody); err != nil {
		return err
	}
	customer := r.PathValue("customer")
	if len(customer) > mostText {
		return sdk.Error(http.StatusBadRequest, "bad-customer", "A customer has a name of 1 to %d bytes.", mostText)
	}
	digits, ok := last4(in.Number)
	if !ok {
		return sdk.Error(http.StatusBadRequest, "bad-card", "A card has a number of 12 to 19 digits.")
	}
	card, err := h.store.SetCard(r.Context(), customer, digits)
	if err != nil {
		return err
	}
	return sdk.WriteJSON(w, http.StatusOK, card)
}
