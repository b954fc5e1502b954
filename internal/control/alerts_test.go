package control_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
)

func labels() map[string]string { return map[string]string{"alert": "latency", "service": "orders"} }

func silence() api.Silence {
	return api.Silence{ID: "s1", State: api.SilenceActive, Matchers: []string{"service=orders"}, From: at(), Until: at(), By: "ann", Comment: "x"}
}

func (a *app) Alerts(context.Context) (api.Alerts, error) {
	return api.Alerts{
		Alerts: []api.Alert{{
			Alert: "latency", State: api.AlertFiring, Severity: "warning", Labels: labels(), Summary: "slow", Value: 2, Unit: "seconds", ValueText: "2s", Since: at(), Started: at(),
			Ended: at(), NoDataSince: at(), Silenced: []string{"s1"}, Fingerprint: "ab",
		}},
		Rules: []api.AlertRule{{
			Alert: "latency", Default: true, Source: "metrics", Query: "up", Compare: "above", Threshold: 1, Unit: "seconds", For: "5m0s", Within: "1m0s", Severity: "warning",
			SLO: &api.AlertSLO{Service: "orders", Objective: 0.999, Latency: "1s", Window: "720h"}, Firing: 1, Asked: at(), TookMS: 0.5, Error: "no", ErrorSince: at(), Dropped: 1,
		}},
		Receivers: []api.AlertReceiver{{Name: "ops", Severity: "critical", Groups: 1, Fails: 1, Error: "no", Since: at(), Next: at(), Dropped: 1}},
	}, nil
}

func (a *app) AlertHistory(_ context.Context, limit int) ([]api.AlertChange, error) {
	return []api.AlertChange{{At: at(), Kind: "firing", Alert: "latency", Labels: labels(), Value: float64(limit), ValueText: "2s", Summary: "slow", Reason: "wrong", Subject: "x", By: "ann"}}, nil
}

func (a *app) TestAlert(_ context.Context, name string) (api.AlertTest, error) {
	if name != "latency" {
		return api.AlertTest{}, fault.New(fault.CodeAlertUnknown, "there is none").Fix("look")
	}
	return api.AlertTest{Alert: name, Query: "up", Results: []api.AlertTestResult{{Labels: labels(), Value: 2, ValueText: "2s", Wrong: true, Summary: "slow"}}}, nil
}

func (a *app) Silences(context.Context) ([]api.Silence, error) { return []api.Silence{silence()}, nil }

func (a *app) AddSilence(_ context.Context, s *api.SilenceSpec, lasts time.Duration) (api.Silence, error) {
	if len(s.Matchers) == 0 || lasts != 2*time.Hour {
		return api.Silence{}, fault.New(fault.CodeSilenceInvalid, "everything").Fix("say which")
	}
	return silence(), nil
}

func (a *app) EndSilence(_ context.Context, id string) (api.Silence, error) {
	if id != "s1" {
		return api.Silence{}, fault.New(fault.CodeSilenceUnknown, "there is none").Fix("look")
	}
	return silence(), nil
}

func TestAnswersAboutAlertsAreAsTheDescriptionSays(t *testing.T) {
	_, h := serve(t)
	_, schema := description(t)
	for _, c := range []struct {
		request, body string
		status        int
		schema        string
	}{
		{"GET /v1/alerts", "", 200, "Alerts"},
		{"GET /v1/alerts/history?limit=5", "", 200, "AlertChanges"},
		{"GET /v1/alerts/history?limit=x", "", 400, "Problem"},
		{"POST /v1/alerts/latency/test", "", 200, "AlertTest"},
		{"POST /v1/alerts/none/test", "", 404, "Problem"},
		{"GET /v1/silences", "", 200, "Silences"},
		{"POST /v1/silences", `{"matchers": ["service=orders"], "for": "2h", "by": "ann", "comment": "x"}`, 200, "Silence"},
		{"POST /v1/silences", `{"matchers": [], "for": "2h", "by": "ann"}`, 400, "Problem"},
		{"POST /v1/silences", `{"matchers": ["a=b"], "for": "soon", "by": "ann"}`, 400, "Problem"},
		{"POST /v1/silences", `{"matchers": ["a=b"], "for": "-2h", "by": "ann"}`, 400, "Problem"},
		{"POST /v1/silences", `{"matcher": "a=b"}`, 400, "Problem"},
		{"DELETE /v1/silences/s1", "", 200, "Silence"},
		{"DELETE /v1/silences/none", "", 404, "Problem"},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		w := do(t, h, method, path, c.body)
		if w.Code != c.status {
			t.Errorf("%s %s: status %d, want %d: %s", c.request, c.body, w.Code, c.status, w.Body)
			continue
		}
		v, err := jsonschema.UnmarshalJSON(w.Body)
		if err != nil {
			t.Fatalf("%s: %v", c.request, err)
		}
		if err := schema(c.schema).Validate(v); err != nil {
			t.Errorf("%s: %v", c.request, err)
		}
	}
}
