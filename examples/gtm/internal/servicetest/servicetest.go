// Package servicetest calls a service in its tests, as clients and sagas do, and holds every answer to the contract.
package servicetest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"example.com/gtm/internal/contracttest"
)

// Service is a service that is served.
type Service struct {
	*contracttest.Contract

	t      *testing.T
	url    string
	client *http.Client
}

// Serve serves h until the test ends; contract is the file of its OpenAPI document.
func Serve(t *testing.T, h http.Handler, contract string) *Service {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c := contracttest.Load(t, contract)
	return &Service{Contract: c, t: t, url: srv.URL, client: c.Client()}
}

// Do calls a step of a saga, whose name is that of the instance and the step, and decodes its answer into out, if that is not
// nil. It returns the status, and after that the code if the answer is a problem: "200", "409 out-of-stock".
func (s *Service) Do(path, step string, in, out any) string {
	s.t.Helper()
	return s.call(http.MethodPost, path, step+"/do", in, out)
}

// Undo is Do of the step's undoing.
func (s *Service) Undo(path, step string, in, out any) string {
	s.t.Helper()
	return s.call(http.MethodPost, path, step+"/undo", in, out)
}

// Call is what a person does: a request without a key.
func (s *Service) Call(method, path string, in, out any) string {
	s.t.Helper()
	return s.call(method, path, "", in, out)
}

func (s *Service) call(method, path, key string, in, out any) string {
	s.t.Helper()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			s.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, &body)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode >= 400 {
		var problem struct{ Code string }
		if err := json.Unmarshal(answer, &problem); err != nil {
			s.t.Fatalf("%s %s: %s: %v", method, path, answer, err)
		}
		return strconv.Itoa(resp.StatusCode) + " " + problem.Code
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			s.t.Fatalf("%s %s: %s: %v", method, path, answer, err)
		}
	}
	return strconv.Itoa(resp.StatusCode)
}
