package routing

import (
	"database/sql"
	"errors"
	"net/http"

	"example.com/gtm/internal/lite"
	"github.com/atollhq/atoll/sdk"
)

// Handler answers over HTTP: openapi.yaml is its contract, service.yaml says which events it takes.
func (d *Desk) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /events/lead-qualified", lite.On(d.db, d.qualified))
	mux.Handle("GET /api/routing/assignments/{lead}", sdk.Handler(d.show))
	mux.Handle("GET /api/routing/owners", sdk.Handler(d.owners))
	return mux
}

func (d *Desk) show(w http.ResponseWriter, r *http.Request) error {
	a, err := d.find(r.Context(), r.PathValue("lead"))
	if errors.Is(err, sql.ErrNoRows) {
		return sdk.Error(http.StatusNotFound, "not-assigned", "The lead %s has no owner.", r.PathValue("lead"))
	}
	if err != nil {
		return err
	}
	return sdk.WriteJSON(w, http.StatusOK, a)
}

func (d *Desk) owners(w http.ResponseWriter, r *http.Request) error {
	loads, err := d.Loads(r.Context())
	if err != nil {
		return err
	}
	return sdk.WriteJSON(w, http.StatusOK, map[string]any{"owners": loads})
}
