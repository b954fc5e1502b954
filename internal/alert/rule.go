package alert

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"
)

// Limits of alerts.
const (
	MaxAlerts   = 1000 // of one rule
	MaxHistory  = 1000 // entries
	MaxSilences = 1000
	MaxGroups   = 1000 // of one receiver
	maxSummary  = 500  // bytes
)

// Source is what a rule asks about.
type Source string

// The sources.
const (
	SourceMetrics Source = "metrics" // in PromQL
	SourceSpans   Source = "spans"   // in the language of spans and logs
	SourceLogs    Source = "logs"    // in the same
	SourceSLO     Source = "slo"     // how fast an error budget is used up
)

// Comparison is when an answer is wrong.
type Comparison string

// The comparisons.
const (
	Above Comparison = "above"
	Below Comparison = "below"
)

// Severity is how urgent an alert is.
type Severity string

// The severities.
const (
	Critical Severity = "critical" // somebody must act now
	Warning  Severity = "warning"  // tomorrow is soon enough
)

// Unit is what a value counts in.
type Unit string

// The units.
const (
	UnitNone    Unit = ""
	UnitShare   Unit = "share"   // 1 is all
	UnitSeconds Unit = "seconds" // a time span
	UnitBurn    Unit = "burn"    // how many times too fast an error budget is used up
)

// Rule is a question and when its answer is wrong. It is never changed.
type Rule struct {
	Name      string
	Source    Source
	Query     string // empty for an SLO
	SLO       *SLO   // of SourceSLO
	Compare   Comparison
	Threshold float64
	Unit      Unit
	Within    time.Duration // of spans and logs: how much of the past the question is about
	Every     time.Duration // between two questions
	Policy    Policy
	Severity  Severity
	Summary   string // {{LABEL}} and {{value}} are put in
	Labels    Labels // further labels of its alerts
	Default   bool   // nobody wrote it
}

// Wrong tells whether an answer is wrong. What is no number is not.
func (r *Rule) Wrong(value float64) bool {
	if r.Compare == Below {
		return value < r.Threshold
	}
	return value > r.Threshold
}

// Sample is the answer for one set of labels. With a Rule of UnitSeconds it is in seconds, whatever the query says.
type Sample struct {
	Labels Labels
	Value  float64 // NaN is no answer
}

// Requests counts the requests of a service in some time.
type Requests struct{ Bad, All float64 }

// Evaluator answers questions. Its methods may be called by many goroutines at once and end with ctx. An error that is a *fault.Error is
// shown to users, of any other they see that there is one.
type Evaluator interface {
	// Evaluate answers the question of a rule that is no SLO, as of a time. A set of labels of which nothing is known is left out; where a function counts
	// rows and finds none it answers 0 for each set of labels that it can name.
	Evaluate(ctx context.Context, r *Rule, at time.Time) ([]Sample, error)
	// Requests counts the requests that an objective is about, and those that were bad, in the time before at.
	Requests(ctx context.Context, s *SLO, window time.Duration, at time.Time) (Requests, error)
}

// observation is the answer for one alert.
type observation struct {
	labels   Labels // all of the alert's
	severity Severity
	value    float64
	wrong    bool
	note     string // more about the value
}

// observe makes observations of samples.
func (r *Rule) observe(samples []Sample) []observation {
	out := make([]observation, 0, len(samples))
	for _, s := range samples {
		if math.IsNaN(s.Value) {
			continue
		}
		value := min(max(s.Value, -math.MaxFloat64), math.MaxFloat64) // JSON has no infinity
		out = append(out, observation{labels: r.labels(s.Labels, r.Severity), severity: r.Severity, value: value, wrong: r.Wrong(s.Value)})
	}
	return out
}

// labels are those of an alert of the rule.
func (r *Rule) labels(own Labels, severity Severity) Labels {
	return own.with(r.Labels).with(Labels{LabelAlert: r.Name, LabelSeverity: string(severity)})
}

// summary is what a person reads of an alert.
func (r *Rule) summary(o *observation) string {
	text := r.Summary
	if text == "" {
		text = r.Name + " is {{value}}, " + string(r.Compare) + " " + FormatValue(r.Threshold, r.Unit)
		if r.SLO != nil {
			text = r.SLO.summary()
		}
	}
	pairs := []string{"{{value}}", FormatValue(o.value, r.Unit)}
	for name, value := range o.labels {
		pairs = append(pairs, "{{"+name+"}}", value)
	}
	text = strings.NewReplacer(pairs...).Replace(text)
	if o.note != "" {
		text += " (" + o.note + ")"
	}
	return cut(text, maxSummary)
}

// cut shortens a text to so many bytes, at a rune.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// FormatValue is a value as people read it.
func FormatValue(v float64, u Unit) string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }
	switch {
	case math.Abs(v) >= math.MaxFloat64:
		return number(v * math.Inf(1))
	case math.IsNaN(v):
		return "no number"
	case u == UnitShare:
		return number(v*100) + "%"
	case u == UnitBurn:
		return number(v) + " times too fast"
	case u == UnitSeconds && math.Abs(v) < float64(math.MaxInt64)/1e9:
		d := time.Duration(v * 1e9)
		switch {
		case d.Abs() < time.Second:
			return number(v*1e3) + "ms"
		case d.Abs() < time.Minute:
			return number(v) + "s"
		}
		return d.Round(time.Second).String()
	case v == math.Trunc(v) && math.Abs(v) < 1e9:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return number(v)
}
