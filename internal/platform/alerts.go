package platform

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/alert"
	"github.com/atollhq/atoll/internal/alert/file"
	"github.com/atollhq/atoll/internal/alert/notify"
	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/metric"
)

// watchman runs the alerts of an application.
type watchman struct {
	engine *alert.Engine
	end    context.CancelFunc
	done   sync.WaitGroup
}

// startAlerts opens the engine with what an earlier run knew, and lets it run.
func (p *Platform) startAlerts(ctx context.Context, _ *manifest.App) error {
	engine, err := alert.Open(ctx, alert.Config{
		Store: file.New(p.state.path("alerts.json")), Evaluator: evaluator{p.telemetry}, Tell: p.alertChange,
	})
	if err != nil {
		return err
	}
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	w := &watchman{engine: engine, end: end}
	w.done.Go(func() {
		if err := engine.Run(running); err != nil {
			p.log.Error("alerts end", "error", err)
		}
	})
	p.onEnd("alerts", func(context.Context) error {
		w.end()
		w.done.Wait()
		return nil
	})
	p.alerts.Store(engine)
	return nil
}

// alertChange tells of what happened to alerts. It must not block.
func (p *Platform) alertChange(c alert.Change) {
	p.log.Info("alert", "event", string(c.Kind), "alert", c.Rule, "labels", c.Labels.String(), "value", c.Value, "error", c.Err)
	if c.Kind != alert.EventFiring && c.Kind != alert.EventResolved {
		return
	}
	level := telemetry.LevelInfo
	if c.Kind == alert.EventFiring {
		level = telemetry.LevelWarn
	}
	service := c.Labels[alert.LabelService]
	if service == "" {
		service = scopeName
	}
	body := fmt.Sprintf("%s %s: %s", c.Rule, c.Kind, c.Summary)
	p.telemetry.collector.offer(p.eventRecord(c.At, "atoll.alert."+string(c.Kind), service, "", level, body,
		text("atoll.alert.name", c.Rule), text("atoll.alert.labels", c.Labels.String())))
	p.events.add(api.Event{Time: c.At, Kind: api.EventNotice, Service: c.Labels[alert.LabelService], Text: "alert " + body})
}

// alertSettings are what the engine is to do for an App.
func (p *Platform) alertSettings(app *manifest.App) alert.Settings {
	a := &app.Alerting
	s := alert.Settings{
		Rules: alert.Rules(app), Group: a.Group,
		Timing: alert.Timing{Wait: a.GroupWait.Std(), Interval: a.GroupInterval.Std(), Repeat: a.Repeat.Std()},
	}
	client := notify.NewClient()
	host, _ := os.Hostname()
	named := map[string]int{}
	for _, n := range a.Notify {
		r := alert.Receiver{Severity: alert.Severity(n.Severity)}
		switch {
		case n.Webhook != "":
			w := &notify.Webhook{URL: n.Webhook, Client: client}
			if secret, ok := app.Secret(n.Secret); ok && n.Secret != "" {
				w.Key = notify.Key(secret)
			}
			r.Name, r.Notifier = "webhook "+n.Webhook, w
		case n.Slack != "":
			url, _ := app.Secret(n.Slack)
			r.Name, r.Notifier = "slack "+n.Slack, &notify.Slack{URL: url, Client: client}
		case n.Email != nil:
			m := &notify.Email{Server: n.Email.SMTP, From: n.Email.From, To: n.Email.To, User: n.Email.User, Name: cmp.Or(host, "localhost"), Refused: func(to string, err error) {
				p.log.Warn("mail of alerts is not taken for a recipient", "recipient", to, "error", err)
			}}
			m.Password, _ = app.Secret(n.Email.Password)
			server, _, err := net.SplitHostPort(n.Email.SMTP)
			if err != nil {
				server = n.Email.SMTP
			}
			r.Name, r.Notifier = fmt.Sprintf("email %v by %s", n.Email.To, server), m
		}
		named[r.Name]++
		if n := named[r.Name]; n > 1 { // what a receiver was told of is kept under its name
			r.Name += fmt.Sprintf(" (%d)", n)
		}
		s.Receivers = append(s.Receivers, r)
	}
	return s
}

// checkAlerts holds the questions of an App's own alerts against the languages that they are in, and its secrets.
func checkAlerts(app *manifest.App) fault.List {
	var faults fault.List
	for _, a := range app.AlertsByName() {
		key, query := a.QueryKey()
		var err error
		switch alert.Source(key) {
		case alert.SourceMetrics:
			_, err = metric.Parse(query)
		case alert.SourceSpans:
			err = countable(query, telemetry.Spans)
		case alert.SourceLogs:
			err = countable(query, telemetry.Logs)
		case alert.SourceSLO:
		}
		if err != nil {
			faults = append(faults, alertFault(a, key, err))
		}
	}
	return faults
}

// checkReceivers tells which secrets those need that are told of alerts and that have no value.
func checkReceivers(app *manifest.App) error {
	for _, n := range app.Alerting.Notify {
		secrets := []string{n.Secret, n.Slack}
		if n.Email != nil {
			secrets = append(secrets, n.Email.Password)
		}
		for _, secret := range secrets {
			if _, ok := app.Secret(secret); secret != "" && !ok {
				return fault.New(fault.CodeSecretUnset, "the secret %s, by which alerts are told, has no value", secret).
					Fix("put a line %s=… into .env, or set that environment variable", manifest.SecretVariable(secret))
			}
		}
	}
	return nil
}

// countable tells why a query of rows has no number to compare.
func countable(text string, signal telemetry.Signal) error {
	q, err := telemetry.ParseQuery(text, signal)
	if err != nil {
		return err
	}
	if q.Tell == nil || len(q.Tell.Funcs) != 1 || q.Tell.Every > 0 {
		return fault.New(fault.CodeQueryInvalid, "an alert needs one number for each group, and this query gives rows, several numbers, or buckets of time").
			Fix("end it with one function, such as | count() by service")
	}
	return nil
}

// alertFault is an error of a question, at its place in the manifest.
func alertFault(a *manifest.Alert, key string, err error) *fault.Error {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return fault.New(fault.CodeInternal, "the query of the alert %s could not be looked at", a.Name).Fix("look at the operator's log, .atoll/atoll.log").Because(err)
	}
	column := 1
	if e.Position.Column > 0 {
		column = e.Position.Column
	}
	return fault.New(e.Code, "the query of the alert %s: %s", a.Name, e.Text).Fix("%s", e.Remedy).At(a.Place(key, column))
}

// evaluator answers the questions of alerts.
type evaluator struct{ o *observatory }

var _ alert.Evaluator = evaluator{}

// Evaluate implements alert.Evaluator.
func (e evaluator) Evaluate(ctx context.Context, r *alert.Rule, at time.Time) ([]alert.Sample, error) {
	switch r.Source {
	case alert.SourceMetrics:
		table, err := e.o.metrics.Instant(ctx, r.Query, at)
		if err != nil {
			return nil, err
		}
		var out []alert.Sample
		for _, s := range table.Series {
			if len(s.Points) > 0 {
				out = append(out, alert.Sample{Labels: labelsOf(s.Labels), Value: s.Points[len(s.Points)-1].V})
			}
		}
		return out, nil
	case alert.SourceSpans:
		return e.rows(ctx, telemetry.Spans, r, at)
	case alert.SourceLogs:
		return e.rows(ctx, telemetry.Logs, r, at)
	case alert.SourceSLO:
	}
	return nil, fmt.Errorf("a rule of source %s is not asked so", r.Source)
}

func labelsOf(labels map[string]string) alert.Labels {
	out := alert.Labels{}
	for name, value := range labels {
		if name != "__name__" {
			out[name] = value
		}
	}
	return out
}

func (e evaluator) rows(ctx context.Context, signal telemetry.Signal, r *alert.Rule, at time.Time) ([]alert.Sample, error) {
	q, err := telemetry.ParseQuery(r.Query, signal)
	if err != nil {
		return nil, err
	}
	if q.Tell == nil || len(q.Tell.Funcs) != 1 {
		return nil, countable(r.Query, signal)
	}
	table, _, err := e.o.store.Tell(ctx, signal, telemetry.Range{From: at.Add(-r.Within), To: at}, q)
	if err != nil {
		return nil, err
	}
	f, groups := q.Tell.Funcs[0], len(q.Tell.By)
	var out []alert.Sample
	for _, row := range table.Rows {
		labels := alert.Labels{}
		for i, field := range q.Tell.By {
			labels[field.Name] = row[i].Text()
		}
		value, ok := row[groups].Number()
		if !ok {
			continue
		}
		if f.Field.Name == telemetry.FieldDuration && f.Kind != telemetry.FuncCount && f.Kind != telemetry.FuncRate && f.Kind != telemetry.FuncDistinct {
			value /= float64(time.Second)
		}
		out = append(out, alert.Sample{Labels: labels, Value: value})
	}
	counts := f.Kind == telemetry.FuncCount || f.Kind == telemetry.FuncRate || f.Kind == telemetry.FuncDistinct
	if len(out) == 0 && groups == 0 && counts {
		out = append(out, alert.Sample{Labels: alert.Labels{}})
	}
	return out, nil
}

// Requests implements alert.Evaluator.
func (e evaluator) Requests(ctx context.Context, s *alert.SLO, window time.Duration, at time.Time) (alert.Requests, error) {
	bounds := requestBounds()
	var out alert.Requests
	for _, ask := range []struct {
		query string
		to    *float64
	}{{s.All(window), &out.All}, {s.Bad(window, bounds[:]), &out.Bad}} {
		table, err := e.o.metrics.Instant(ctx, ask.query, at)
		if err != nil {
			return out, err
		}
		if len(table.Series) > 0 && len(table.Series[0].Points) > 0 {
			*ask.to = table.Series[0].Points[0].V
		}
	}
	return out, nil
}
