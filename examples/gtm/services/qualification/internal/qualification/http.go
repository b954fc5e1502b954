package qualification

import (
	"net/http"

	"github.com/atollhq/atoll/sdk"
)

// Handler answers over HTTP; openapi.yaml is its contract.
func Handler(rules Rules) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /qualify", sdk.Handler(func(w http.ResponseWriter, r *http.Request) error {
		var s Subject
		if err := sdk.DecodeJSON(r, &s, 64<<10); err != nil {
			return err
		}
		if s.LeadID == "" {
			return sdk.Error(http.StatusUnprocessableEntity, "no-lead", `The field "lead_id" is missing.`)
		}
		return sdk.WriteJSON(w, http.StatusOK, rules.Judge(s))
	}))
	mux.Handle("GET /rules", sdk.Handler(func(w http.ResponseWriter, _ *http.Request) error {
		return sdk.WriteJSON(w, http.StatusOK, rules)
	}))
	return mux
}
