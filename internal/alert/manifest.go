package alert

import (
	"cmp"
	"slices"

	"github.com/atollhq/atoll/internal/manifest"
)

func byName(a, b *Rule) int { return cmp.Compare(a.Name, b.Name) }

// Rules are the rules of an application by name: its own, and the default ones that it neither wants off nor has put its own in the place of.
func Rules(app *manifest.App) []*Rule {
	off := app.Alerting.Off
	var rules []*Rule
	for _, r := range Defaults() {
		if app.Alerts[r.Name] == nil && !slices.Contains(off, r.Name) && !slices.Contains(off, manifest.AllDefaultAlerts) {
			rules = append(rules, r)
		}
	}
	for _, a := range app.AlertsByName() {
		rules = append(rules, ruleOf(a))
	}
	slices.SortFunc(rules, byName)
	return rules
}

// ruleOf is a rule of the manifest.
func ruleOf(a *manifest.Alert) *Rule {
	source, query := a.QueryKey()
	r := &Rule{
		Name: a.Name, Source: Source(source), Query: query, Compare: Above, Within: a.Within.Std(), Every: everyMetrics, Policy: DefaultPolicy(a.For.Std()),
		Severity: Severity(a.Severity), Summary: a.Summary, Labels: a.Labels,
	}
	threshold := a.Above
	if a.Below != nil {
		r.Compare, threshold = Below, a.Below
	}
	if threshold != nil {
		r.Threshold, r.Unit = threshold.Value, Unit(threshold.Unit)
	}
	switch r.Source {
	case SourceMetrics:
		r.Within = 0
	case SourceSpans, SourceLogs:
		r.Every = everyRows
	case SourceSLO:
		r.Within, r.Every, r.Unit, r.Threshold = 0, everySLO, UnitBurn, 1
		if s := a.SLO; s != nil {
			r.SLO = &SLO{Service: s.Service, Objective: s.Objective.Ratio(), Latency: s.Latency.Std(), Window: s.Window.Std()}
		}
	}
	return r
}
