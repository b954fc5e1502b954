package leads

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/atollhq/atoll/sdk"
)

// largestForm is how large a single submission may be.
const largestForm = 64 << 10

// Handler answers over HTTP; openapi.yaml is its contract.
func Handler(s *Store) http.Handler {
	h := &handler{store: s, streams: make(chan struct{}, mostStreams)}
	mux := http.NewServeMux()
	for pattern, serve := range map[string]func(http.ResponseWriter, *http.Request) error{
		"POST /api/leads":             h.submit,
		"GET /api/leads":              h.list,
		"GET /api/leads/{id}":         h.show,
		"POST /api/leads/import":      h.takeFile,
		"GET /api/leads/imports/{id}": h.showImport,
		"GET /api/leads/events":       h.events,
		"GET /companies/{domain}":     h.company, // for services; the gateway has no route here
	} {
		mux.Handle(pattern, sdk.Handler(func(w http.ResponseWriter, r *http.Request) error {
			err := serve(w, r)
			if errors.Is(err, ErrNotFound) {
				return sdk.Error(http.StatusNotFound, "not-found", "There is no such lead or import.")
			}
			return err
		}))
	}
	for pattern, deliver := range s.deliveries() {
		mux.Handle(pattern, deliver)
	}
	return mux
}

type handler struct {
	store   *Store
	streams chan struct{} // one element for each open stream of events
}

// submit takes one lead from a form or from JSON.
func (h *handler) submit(w http.ResponseWriter, r *http.Request) error {
	sub, err := readSubmission(w, r)
	if err != nil {
		return err
	}
	sub, err = sub.Normal()
	if bad, ok := errors.AsType[*Invalid](err); ok {
		return sdk.Error(http.StatusUnprocessableEntity, "bad-"+strings.ReplaceAll(bad.Field, "_", "-"),
			"The field %q %s.", bad.Field, bad.Reason)
	}
	if err != nil {
		return err
	}
	accepted, err := h.store.Accept(r.Context(), 0, []Submission{sub})
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/api/leads/"+accepted[0].ID)
	if accepted[0].Duplicate {
		return sdk.WriteJSON(w, http.StatusOK, accepted[0])
	}
	return sdk.WriteJSON(w, http.StatusCreated, accepted[0])
}

func readSubmission(w http.ResponseWriter, r *http.Request) (sub Submission, err error) {
	if media(r) != "application/x-www-form-urlencoded" {
		return sub, sdk.DecodeJSON(r, &sub, largestForm)
	}
	r.Body = http.MaxBytesReader(w, r.Body, largestForm)
	if err := r.ParseForm(); err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return sub, sdk.Error(http.StatusRequestEntityTooLarge, "body-too-large",
				"The form is larger than %d bytes.", largestForm)
		}
		return sub, sdk.Error(http.StatusBadRequest, "bad-form", "The form cannot be read.")
	}
	for name, field := range sub.fields() {
		*field = r.PostForm.Get(name)
	}
	if err := setSeats(&sub, r.PostForm.Get("seats")); err != nil {
		return sub, sdk.Error(http.StatusUnprocessableEntity, "bad-seats", `The field "seats" must be a whole number.`)
	}
	sub.Synthetic = r.PostForm.Get("synthetic") == "yes"
	if sub.Source == "" {
		sub.Source = "form"
	}
	return sub, nil
}

func media(r *http.Request) string {
	m, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(m))
}

// list answers a page of leads. "number" is that of the last change before the page was read: events after it
// bring the page up to date.
func (h *handler) list(w http.ResponseWriter, r *http.Request) error {
	f, err := filter(r.URL.Query())
	if err != nil {
		return err
	}
	number, err := h.store.Last(r.Context())
	if err != nil {
		return err
	}
	found, more, err := h.store.List(r.Context(), f)
	if err != nil {
		return err
	}
	page := map[string]any{"leads": found, "number": number}
	if more {
		page["next"] = found[len(found)-1].ID
	}
	return sdk.WriteJSON(w, http.StatusOK, page)
}

func filter(q url.Values) (f Filter, err error) {
	f = Filter{
		Search: q.Get("q"), State: State(q.Get("state")), Verdict: q.Get("verdict"), Owner: q.Get("owner"),
		Before: q.Get("cursor"), Limit: 50,
	}
	if f.State != "" && !slices.Contains(States(), f.State) {
		return f, sdk.Error(http.StatusBadRequest, "bad-state", "There is no state %q.", f.State)
	}
	for name, set := range map[string]func(int64){
		"import": func(n int64) { f.Import = n }, "limit": func(n int64) { f.Limit = int(min(max(n, 1), 500)) },
	} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return f, sdk.Error(http.StatusBadRequest, "bad-number", "The parameter %q must be a whole number from 0.", name)
		}
		set(n)
	}
	return f, nil
}

func (h *handler) show(w http.ResponseWriter, r *http.Request) error {
	lead, err := h.store.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return sdk.WriteJSON(w, http.StatusOK, lead)
}

// company tells how many leads a company has.
func (h *handler) company(w http.ResponseWriter, r *http.Request) error {
	n, err := h.store.Contacts(r.Context(), strings.ToLower(r.PathValue("domain")))
	if err != nil {
		return err
	}
	return sdk.WriteJSON(w, http.StatusOK, map[string]int{"contacts": n})
}
