package platform_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/alert"
	"github.com/atollhq/atoll/internal/alert/memory"
	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/platform"
)

// answers answers every question alike.
type answers struct{ value float64 }

func (a answers) Evaluate(context.Context, *alert.Rule, time.Time) ([]alert.Sample, error) {
	return []alert.Sample{{Labels: alert.Labels{"service": "orders"}, Value: a.value}}, nil
}

func (a answers) Requests(context.Context, *alert.SLO, time.Duration, time.Time) (alert.Requests, error) {
	return alert.Requests{}, errors.New("no metrics yet")
}

func TestWhatTheEngineKnowsOfAlertsIsWhatTheAPIShows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform.Platform{}
		if list, err := p.Alerts(t.Context()); err != nil || list.Alerts == nil || list.Rules == nil || list.Receivers == nil {
			t.Errorf("before the engine runs it shows %+v (%v)", list, err)
		}
		if _, err := p.TestAlert(t.Context(), "x"); fault.CodeOf(err) != fault.CodeAlertUnknown {
			t.Error(err)
		}
		e, err := alert.Open(t.Context(), alert.Config{Store: &memory.Store{}, Evaluator: answers{0.12}})
		if err != nil {
			t.Fatal(err)
		}
		p.SetAlerts(e)
		slo := &alert.Rule{Name: "goal", Source: alert.SourceSLO, SLO: &alert.SLO{Service: "orders", Objective: 0.999, Window: 720 * time.Hour}, Every: time.Second}
		e.Apply(alert.Settings{Rules: append(alert.Defaults(), slo)})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		<-time.After(time.Minute)
		added, err := p.AddSilence(t.Context(), &api.SilenceSpec{Matchers: []string{"alert=error-ratio"}, By: "ann", Comment: "x"}, time.Hour)
		if err != nil || added.State != api.SilenceActive || len(added.Matchers) != 1 || added.Matchers[0] != "alert=error-ratio" {
			t.Errorf("added %+v (%v)", added, err)
		}
		list, err := p.Alerts(t.Context())
		if err != nil || len(list.Alerts) == 0 || len(list.Rules) != len(alert.Defaults())+1 {
			t.Fatalf("it shows %+v (%v)", list, err)
		}
		for _, a := range list.Alerts {
			if a.Alert == "error-ratio" && (a.State != api.AlertFiring || a.ValueText != "12%" || a.Labels["service"] != "orders" || len(a.Silenced) != 1 || a.Fingerprint == "") {
				t.Errorf("the alert is %+v", a)
			}
		}
		for _, r := range list.Rules {
			if r.Alert == "goal" && (r.SLO == nil || r.Error == "" || r.Compare != "" || r.Severity != "") {
				t.Errorf("the objective is %+v", r)
			}
		}
		test, err := p.TestAlert(t.Context(), "error-ratio")
		if err != nil || len(test.Results) != 1 || !test.Results[0].Wrong || test.Results[0].ValueText != "12%" {
			t.Errorf("the test answers %+v (%v)", test, err)
		}
		history, err := p.AlertHistory(t.Context(), 1)
		if err != nil || len(history) != 1 || history[0].Kind != "silenced" || history[0].By != "ann" || history[0].Subject != added.ID {
			t.Errorf("the history is %+v (%v)", history, err)
		}
		if ended, err := p.EndSilence(t.Context(), added.ID); err != nil || ended.State != api.SilenceEnded {
			t.Errorf("ended %+v (%v)", ended, err)
		}
		if list, err := p.Silences(t.Context()); err != nil || len(list) != 1 {
			t.Errorf("silences are %+v (%v)", list, err)
		}
		if _, err := p.AddSilence(t.Context(), &api.SilenceSpec{Matchers: []string{"?"}, By: "ann"}, time.Hour); fault.CodeOf(err) != fault.CodeSilenceInvalid {
			t.Error(err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
