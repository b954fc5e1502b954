package routing

import (
	"database/sql"
	"errors"
	"net/http"

	"github.com/atollhq/atoll/sdk"
)

// Handler answers over HTTP; openapi.yaml is its contract.
func (d *Desk) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /api/routing/assignments", sdk.Handler(d.assign))
	mux.Handle("GET /api/routing/assignments/{lead}", sdk.Handler(d.show))
	mux.Handle("GET /api/routing/owners", sdk.Handler(d.owners))
	return mux
}

func (d *Desk) assign(w http.ResponseWriter, r *http.Request) error {
	var req Request
	if err := sdk.DecodeJSON(r, &req, 16<<10); err != nil {
		return err
	}
	if req.LeadID == "" || req.Seats < 0 {
		return sdk.Error(http.StatusUnprocessableEntity, "bad-request",
			`The field "lead_id" is needed, and "seats" is not below 0.`)
	}
	a, fresh, err := d.Assign(r.Context(), req)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if fresh {
		status = http.StatusCreated
	}
	return sdk.WriteJSON(w, status, a)
}

func (d *Desk) show(w http.ResponseWriter, r *http.Request) error {
	a, err := d.find(r.Context(), d.db.Read(), r.PathValue("lead"))
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
