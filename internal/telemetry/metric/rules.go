package metric

import (
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/util/annotations"
)

type ruleGroup struct {
	Name           string    `json:"name"`
	File           string    `json:"file"`
	Rules          []ruleOut `json:"rules"`
	Interval       float64   `json:"interval"`
	Limit          int       `json:"limit"`
	EvaluationTime float64   `json:"evaluationTime"`
	LastEvaluation time.Time `json:"lastEvaluation"`
}

type ruleOut struct {
	State          string            `json:"state"`
	Name           string            `json:"name"`
	Query          string            `json:"query"`
	Duration       float64           `json:"duration"`
	KeepFiringFor  float64           `json:"keepFiringFor"`
	Labels         map[string]string `json:"labels"`
	Annotations    map[string]string `json:"annotations"`
	Alerts         []alertOut        `json:"alerts"`
	Health         string            `json:"health"`
	LastError      string            `json:"lastError,omitempty"`
	EvaluationTime float64           `json:"evaluationTime"`
	LastEvaluation time.Time         `json:"lastEvaluation"`
	Type           string            `json:"type"`
}

type alertOut struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	State       string            `json:"state"`
	ActiveAt    time.Time         `json:"activeAt"`
	Value       string            `json:"value"`
}

func (a *api) ruleInfos() []RuleInfo {
	if a.opts.Rules == nil {
		return nil
	}
	return a.opts.Rules()
}

func (a *api) rules(r *http.Request) (any, annotations.Annotations, error) {
	groups := []*ruleGroup{}
	byName := map[string]*ruleGroup{}
	infos := a.ruleInfos()
	if r.Form.Get("type") == "record" {
		infos = nil // there are alerts alone
	}
	for _, info := range infos {
		g := byName[info.Group]
		if g == nil {
			g = &ruleGroup{Name: info.Group, File: "atoll"}
			byName[info.Group] = g
			groups = append(groups, g)
		}
		g.Rules = append(g.Rules, ruleJSON(info))
		g.EvaluationTime += info.Took.Seconds()
		if info.LastEvaluation.After(g.LastEvaluation) {
			g.LastEvaluation = info.LastEvaluation
		}
	}
	return map[string]any{"groups": groups}, nil, nil
}

func (a *api) alerts(*http.Request) (any, annotations.Annotations, error) {
	out := []alertOut{}
	for _, info := range a.ruleInfos() {
		out = append(out, alertsJSON(info)...)
	}
	return map[string]any{"alerts": out}, nil, nil
}

func ruleJSON(info RuleInfo) ruleOut {
	out := ruleOut{
		State: "inactive", Name: info.Name, Query: info.Query, Duration: info.For.Seconds(), Labels: orEmpty(info.Labels),
		Annotations: orEmpty(info.Annotations), Alerts: alertsJSON(info), Health: info.Health, LastError: info.LastError,
		EvaluationTime: info.Took.Seconds(), LastEvaluation: info.LastEvaluation, Type: "alerting",
	}
	if out.Health == "" {
		out.Health = "unknown"
	}
	for _, al := range info.Active {
		if al.State == "firing" || out.State == "inactive" {
			out.State = al.State
		}
	}
	return out
}

func alertsJSON(info RuleInfo) []alertOut {
	out := []alertOut{}
	for _, al := range info.Active {
		ls := map[string]string{}
		maps.Copy(ls, al.Labels)
		ls["alertname"] = info.Name
		out = append(out, alertOut{
			Labels: ls, Annotations: orEmpty(al.Annotations), State: al.State, ActiveAt: al.Since,
			Value: strconv.FormatFloat(al.Value, 'e', -1, 64),
		})
	}
	return out
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
