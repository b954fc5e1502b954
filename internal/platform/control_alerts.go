package platform

import (
	"context"
	"time"

	"github.com/atollhq/atoll/internal/alert"
	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
)

// noAlerts says that nothing watches the application.
func noAlerts() error {
	return fault.New(fault.CodeAlertUnknown, "nothing watches this application yet").Fix("wait until it has started")
}

// Alerts lists alerts, rules and receivers.
func (p *Platform) Alerts(context.Context) (api.Alerts, error) {
	out := api.Alerts{Alerts: []api.Alert{}, Rules: []api.AlertRule{}, Receivers: []api.AlertReceiver{}}
	e := p.alerts.Load()
	if e == nil {
		return out, nil
	}
	for _, a := range e.Alerts() {
		out.Alerts = append(out.Alerts, api.Alert{
			Alert: a.Rule, State: string(a.Phase), Severity: string(a.Severity), Labels: a.Labels, Summary: a.Summary, Value: a.Value, Unit: string(a.Unit),
			ValueText: alert.FormatValue(a.Value, a.Unit), Since: a.Since, Started: a.Started, Ended: a.Ended, NoDataSince: a.NoData, Silenced: a.Silenced,
			Fingerprint: a.Labels.Fingerprint(),
		})
	}
	for _, r := range e.Rules() {
		out.Rules = append(out.Rules, alertRule(&r))
	}
	for _, r := range e.Receivers() {
		out.Receivers = append(out.Receivers, api.AlertReceiver{
			Name: r.Name, Severity: string(r.Severity), Groups: r.Groups, Fails: r.Fails, Error: r.Error, Since: r.Since, Next: r.Next, Dropped: r.Dropped,
		})
	}
	return out, nil
}

func alertRule(s *alert.RuleStatus) api.AlertRule {
	r := s.Rule
	out := api.AlertRule{
		Alert: r.Name, Default: r.Default, Source: string(r.Source), Query: r.Query, Unit: string(r.Unit), Severity: string(r.Severity), Firing: s.Firing, Pending: s.Pending,
		Asked: s.Asked, TookMS: float64(s.Took) / float64(time.Millisecond), Error: s.Error, ErrorSince: s.Since, Dropped: s.Dropped,
		For: spanText(r.Policy.For), Within: spanText(r.Within),
	}
	if r.SLO != nil {
		out.SLO = &api.AlertSLO{Service: r.SLO.Service, Objective: r.SLO.Objective, Latency: spanText(r.SLO.Latency), Window: r.SLO.Window.String()}
		out.Severity = ""
		return out
	}
	out.Compare, out.Threshold = string(r.Compare), r.Threshold
	return out
}

// spanText is a time span, or "" for none.
func spanText(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return d.String()
}

// AlertHistory lists the newest changes.
func (p *Platform) AlertHistory(_ context.Context, limit int) ([]api.AlertChange, error) {
	out := []api.AlertChange{}
	e := p.alerts.Load()
	if e == nil {
		return out, nil
	}
	for _, c := range e.History(limit) {
		entry := api.AlertChange{
			At: c.At, Kind: string(c.Kind), Alert: c.Rule, Labels: c.Labels, Value: c.Value, Summary: c.Summary, Reason: string(c.Reason), Subject: c.Subject, By: c.By,
		}
		if c.Reason != "" {
			entry.ValueText = alert.FormatValue(c.Value, c.Unit)
		}
		out = append(out, entry)
	}
	return out, nil
}

// TestAlert asks a rule's question.
func (p *Platform) TestAlert(ctx context.Context, name string) (api.AlertTest, error) {
	e := p.alerts.Load()
	if e == nil {
		return api.AlertTest{}, noAlerts()
	}
	rule, list, err := e.Test(ctx, name)
	if err != nil {
		return api.AlertTest{}, err
	}
	out := api.AlertTest{Alert: rule.Name, Query: rule.Query, Results: []api.AlertTestResult{}}
	for _, r := range list {
		out.Results = append(out.Results, api.AlertTestResult{
			Labels: r.Labels, Value: r.Value, ValueText: alert.FormatValue(r.Value, r.Unit), Wrong: r.Wrong, Summary: r.Summary,
		})
	}
	return out, nil
}

// Silences lists silences.
func (p *Platform) Silences(context.Context) ([]api.Silence, error) {
	out := []api.Silence{}
	e := p.alerts.Load()
	if e == nil {
		return out, nil
	}
	for _, s := range e.Silences() {
		out = append(out, silenceOf(&s))
	}
	return out, nil
}

func silenceOf(s *alert.Silence) api.Silence {
	out := api.Silence{ID: s.ID, State: api.SilenceEnded, Matchers: []string{}, From: s.From, Until: s.Until, By: s.By, Comment: s.Comment}
	if s.Active(time.Now()) {
		out.State = api.SilenceActive
	}
	for _, m := range s.Matchers {
		out.Matchers = append(out.Matchers, m.String())
	}
	return out
}

// AddSilence adds a silence that begins now.
func (p *Platform) AddSilence(ctx context.Context, spec *api.SilenceSpec, lasts time.Duration) (api.Silence, error) {
	e := p.alerts.Load()
	if e == nil {
		return api.Silence{}, noAlerts()
	}
	s := alert.Silence{Until: time.Now().Add(lasts), By: spec.By, Comment: spec.Comment}
	for _, text := range spec.Matchers {
		m, err := alert.ParseMatcher(text)
		if err != nil {
			return api.Silence{}, err
		}
		s.Matchers = append(s.Matchers, m)
	}
	added, err := e.Silence(ctx, s)
	return silenceOf(&added), err
}

// EndSilence ends a silence.
func (p *Platform) EndSilence(ctx context.Context, id string) (api.Silence, error) {
	e := p.alerts.Load()
	if e == nil {
		return api.Silence{}, noAlerts()
	}
	s, err := e.EndSilence(ctx, id)
	return silenceOf(&s), err
}
