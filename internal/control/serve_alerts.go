package control

import (
	"net/http"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
)

// alertOperations are those of alerts and silences.
func (s *server) alertOperations() map[string]handlerFunc {
	return map[string]handlerFunc{
		"GET /v1/alerts":               s.alerts,
		"GET /v1/alerts/history":       s.alertHistory,
		"POST /v1/alerts/{alert}/test": s.testAlert,
		"GET /v1/silences":             s.silences,
		"POST /v1/silences":            s.addSilence,
		"DELETE /v1/silences/{id}":     s.endSilence,
	}
}

func (s *server) alerts(w http.ResponseWriter, r *http.Request) error {
	return answer(w)(s.app.Alerts(r.Context()))
}

func (s *server) alertHistory(w http.ResponseWriter, r *http.Request) error {
	_, limit, err := page(r, "from")
	if err != nil {
		return err
	}
	list, err := s.app.AlertHistory(r.Context(), limit)
	return answer(w)(map[string]any{"changes": list}, err)
}

func (s *server) testAlert(w http.ResponseWriter, r *http.Request) error {
	return answer(w)(s.app.TestAlert(r.Context(), r.PathValue("alert")))
}

func (s *server) silences(w http.ResponseWriter, r *http.Request) error {
	list, err := s.app.Silences(r.Context())
	return answer(w)(map[string]any{"silences": list}, err)
}

func (s *server) addSilence(w http.ResponseWriter, r *http.Request) error {
	var body api.SilenceSpec
	if err := readJSON(r, &body, `{"matchers": ["alert=latency", "service=orders"], "for": "2h", "by": "ann"}`); err != nil {
		return err
	}
	lasts, err := time.ParseDuration(body.For)
	if err != nil || lasts <= 0 {
		return fault.New(fault.CodeSilenceInvalid, "%.40q does not say how long the silence lasts", body.For).Fix("write a time span such as 30m or 2h")
	}
	return answer(w)(s.app.AddSilence(r.Context(), &body, lasts))
}

func (s *server) endSilence(w http.ResponseWriter, r *http.Request) error {
	return answer(w)(s.app.EndSilence(r.Context(), r.PathValue("id")))
}
