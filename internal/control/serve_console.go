package control

import (
	"net/http"

	"github.com/atollhq/atoll/internal/control/api"
)

// consoleOperations are those that the console has beside all others.
func (s *server) consoleOperations() map[string]handlerFunc {
	return map[string]handlerFunc{
		"GET /v1/services/{service}/contract":    s.contract,
		"GET /v1/services/{service}/environment": s.environment,
		"GET /v1/routes":                         s.routes,
		"POST /v1/try":                           s.try,
		"POST /v1/console/links":                 s.consoleLink,
		"GET /v1/watch":                          s.watch,
	}
}

func (s *server) contract(w http.ResponseWriter, r *http.Request) error {
	text, err := s.app.Contract(r.PathValue("service"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(text)
	return err
}

func (s *server) environment(w http.ResponseWriter, r *http.Request) error {
	list, err := s.app.Environment(r.PathValue("service"))
	return answer(w)(map[string]any{"variables": list}, err)
}

func (s *server) routes(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, map[string]any{"routes": s.app.Routes()})
}

func (s *server) try(w http.ResponseWriter, r *http.Request) error {
	var body api.Try
	if err := readJSON(r, &body, `{"method": "GET", "path": "/api/leads?limit=1"}`); err != nil {
		return err
	}
	return answer(w)(s.app.Try(r.Context(), &body))
}

func (s *server) consoleLink(w http.ResponseWriter, _ *http.Request) error {
	return answer(w)(s.app.ConsoleLink())
}
