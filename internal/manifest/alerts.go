package manifest

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/fault"
)

// Severity is how urgent an alert is.
type Severity string

// The severities.
const (
	SeverityCritical Severity = "critical" // somebody must act now
	SeverityWarning  Severity = "warning"  // somebody must act, tomorrow is soon enough
)

// Alert is a rule that tells when something is wrong. Of Metrics, Spans, Logs and SLO exactly one is set, and but for an SLO one of Above
// and Below.
type Alert struct {
	Metrics  string            `key:"metrics" doc:"Query in PromQL; each series of its result is an alert of its own, told apart by its labels. An alert has exactly one of metrics, spans, logs and slo."`
	Spans    string            `key:"spans" doc:"Query about spans that ends in one function, such as: service = orders | quantile(0.99, duration) by service. Each row of its table is an alert of its own."`
	Logs     string            `key:"logs" doc:"Query about log records that ends in one function, such as: \"card refused\" | count() by service. Each row of its table is an alert of its own."`
	SLO      *SLO              `key:"slo" doc:"An objective for the requests of a service. It alerts when the error budget is used up too fast, by several windows and burn rates."`
	Above    *Threshold        `key:"above" doc:"It is wrong when the result is more than this: a number, a share such as 5%, or a time span such as 800ms. Time spans count in seconds, also those of spans."`
	Below    *Threshold        `key:"below" doc:"It is wrong when the result is less than this."`
	For      Duration          `key:"for" default:"0s" doc:"How long it must have been wrong, without a break, before the alert fires."`
	Within   Duration          `key:"within" default:"5m" doc:"Only of spans and logs: over how much of the past the query is asked; from 10s to 24h."`
	Severity Severity          `key:"severity" enum:"critical,warning" default:"warning" doc:"How urgent it is: critical means that somebody must act now. Of an slo each window has its own, and this is not written."`
	Summary  string            `key:"summary" doc:"What is wrong, in one sentence for the person who is told; {{LABEL}} stands for a label and {{value}} for the result."`
	Labels   map[string]string `key:"labels" doc:"Further labels of the alert, for grouping and for those who are told."`

	Name   string                `key:"-"`
	places map[string]alertPlace `key:"-"` // of the values of its keys; "" is the alert itself
}

// alertPlace is where a value of an alert stands.
type alertPlace struct {
	at     fault.Position
	source string
	plain  bool // the value's text stands on one line, as it is
	quote  int  // columns before the text
}

// SLO is an objective for the requests of a service: those at the gateway and those by other services.
type SLO struct {
	Service   string   `key:"service" required:"true" doc:"Name of the service."`
	Objective Percent  `key:"objective" required:"true" doc:"Share of the requests that must be good, such as 99.9%. A request is good that was answered, and not with a 5xx."`
	Latency   Duration `key:"latency" doc:"A request is good only if it took no longer than this."`
	Window    Duration `key:"window" default:"720h" doc:"Over how much time the objective is meant; from 168h to 2160h. What is kept of metrics (telemetry.metrics.age) must reach over a tenth of it."`
}

// Alerting is who is told of alerts, and how often.
type Alerting struct {
	Off           []string `key:"off" doc:"Names of default alerts that are not wanted; all stands for all of them. An alert of your own with the name of a default one takes its place."`
	Group         []string `key:"group" doc:"Labels that alerts have in common that are told of together. Default [alert, service]; [] tells of all together."`
	GroupWait     Duration `key:"group_wait" default:"30s" doc:"How long the first alert of a group waits for others, before they are told of."`
	GroupInterval Duration `key:"group_interval" default:"5m" doc:"How long a group that was told of waits before its changes are told of."`
	Repeat        Duration `key:"repeat" default:"4h" doc:"After what time a group that is still firing, without a change, is told of again."`
	Notify        []Notify `key:"notify" doc:"Who is told. Without it alerts are only shown."`
}

// Notify is a way to tell of alerts. Exactly one of Webhook, Slack and Email is set.
type Notify struct {
	Webhook  string   `key:"webhook" doc:"URL that gets groups of alerts as JSON, of the form that Alertmanager sends (version 4). An entry has exactly one of webhook, slack and email."`
	Secret   string   `key:"secret" doc:"Only of webhook: name of the secret that requests are signed with, after Standard Webhooks."`
	Slack    string   `key:"slack" doc:"Name of the secret that holds the URL of an incoming webhook of Slack, or of what takes the same form."`
	Email    *Email   `key:"email" doc:"Mail, by SMTP."`
	Severity Severity `key:"severity" enum:"critical,warning" doc:"Tell only of alerts of this severity; default of all."`
}

// Email is how mail is sent.
type Email struct {
	To       []string `key:"to" required:"true" doc:"Addresses that get the mail."`
	From     string   `key:"from" required:"true" doc:"Address that the mail comes from."`
	SMTP     string   `key:"smtp" required:"true" doc:"Server and port, such as smtp.example.com:587. Mail and password go over TLS, by STARTTLS or on port 465 from the start; only a server on loopback may have none."`
	User     string   `key:"user" doc:"Name to log in with; without it nobody logs in."`
	Password string   `key:"password" doc:"Name of the secret that holds the password of user."`
}

// AllDefaultAlerts is written in off for all default alerts.
const AllDefaultAlerts = "all"

// DefaultAlerts are the names of the alerts that every application has without a word.
func DefaultAlerts() []string {
	return []string{"crash-loop", "dead-letters", "error-ratio", "event-lag", "latency", "parked-sagas"}
}

// AlertsByName lists the alerts of an application, sorted by name.
func (a *App) AlertsByName() []*Alert {
	return slices.SortedFunc(maps.Values(a.Alerts), func(x, y *Alert) int { return cmp.Compare(x.Name, y.Name) })
}

// QueryKey is the key that a query is written in, and its text; of an SLO "slo" and "".
func (a *Alert) QueryKey() (key, text string) {
	switch {
	case a.Metrics != "":
		return "metrics", a.Metrics
	case a.Spans != "":
		return "spans", a.Spans
	case a.Logs != "":
		return "logs", a.Logs
	}
	return "slo", ""
}

// Place is where the value of a key stands, or the alert where it is not written. With a column of the value's text, counted
// from 1, it is that column where the text is on one line as written, and the value's beginning where it is not; column 0 is the whole value.
func (a *Alert) Place(key string, column int) (fault.Position, string) {
	p, ok := a.places[key]
	if !ok {
		p = a.places[""]
	}
	if column > 0 && p.plain {
		p.at.Column += p.quote + column - 1
		p.at.Width = 1
	}
	return p.at, p.source
}

// alerts names the alerts and notes where they stand.
func (l *loader) alerts() {
	all := value(l.root, "alerts")
	for name, a := range l.app.Alerts {
		n := value(all, name)
		a.Name = name
		at, source := l.position(keyNode(all, name))
		a.places = map[string]alertPlace{"": {at: at, source: source}}
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			v := n.Content[i+1]
			at, source := l.position(v)
			p := alertPlace{at: at, source: source, plain: v.Kind == yaml.ScalarNode && strings.Contains(source, v.Value)}
			if v.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
				p.quote = 1
			}
			a.places[n.Content[i].Value] = p
		}
	}
	if l.app.Alerting.Group == nil {
		l.app.Alerting.Group = []string{"alert", "service"}
	}
}
