package api

import "time"

// Alerts is the alerts of an application, and who is told of them.
type Alerts struct {
	Alerts    []Alert         `json:"alerts"` // what fires first, critical before others
	Rules     []AlertRule     `json:"rules"`
	Receivers []AlertReceiver `json:"receivers"`
}

// Alert is an alert that is pending, firing or was until a while ago.
type Alert struct {
	Alert       string            `json:"alert"` // name of its rule
	State       string            `json:"state"`
	Severity    string            `json:"severity"`
	Labels      map[string]string `json:"labels"`
	Summary     string            `json:"summary"`
	Value       float64           `json:"value"`
	Unit        string            `json:"unit,omitempty"` // share, seconds or burn
	ValueText   string            `json:"value_text"`     // as people read it
	Since       time.Time         `json:"since"`          // of the state
	Started     time.Time         `json:"started"`        // when it became wrong
	Ended       time.Time         `json:"ended,omitzero"`
	NoDataSince time.Time         `json:"no_data_since,omitzero"`
	Silenced    []string          `json:"silenced,omitempty"` // ids of silences
	Fingerprint string            `json:"fingerprint"`
}

// The states of alerts.
const (
	AlertPending  = "pending"
	AlertFiring   = "firing"
	AlertResolved = "resolved"
)

// AlertRule is a rule in force, and how it is.
type AlertRule struct {
	Alert      string    `json:"alert"`
	Default    bool      `json:"default"` // nobody wrote it
	Source     string    `json:"source"`  // metrics, spans, logs or slo
	Query      string    `json:"query,omitempty"`
	Compare    string    `json:"compare,omitempty"` // above or below; not of an slo
	Threshold  float64   `json:"threshold,omitempty"`
	Unit       string    `json:"unit,omitempty"`
	For        string    `json:"for,omitempty"`
	Within     string    `json:"within,omitempty"`
	Severity   string    `json:"severity,omitempty"`
	SLO        *AlertSLO `json:"slo,omitempty"`
	Firing     int       `json:"firing"`
	Pending    int       `json:"pending"`
	Asked      time.Time `json:"asked,omitzero"`
	TookMS     float64   `json:"took_ms"`
	Error      string    `json:"error,omitempty"` // why its question cannot be answered
	ErrorSince time.Time `json:"error_since,omitzero"`
	Dropped    int       `json:"dropped,omitempty"` // alerts that did not fit
}

// AlertSLO is an objective.
type AlertSLO struct {
	Service   string  `json:"service"`
	Objective float64 `json:"objective"` // share of the requests that must be good
	Latency   string  `json:"latency,omitempty"`
	Window    string  `json:"window"`
}

// AlertReceiver is somebody who is told, and how that goes.
type AlertReceiver struct {
	Name     string    `json:"name"`
	Severity string    `json:"severity,omitempty"` // of this alone
	Groups   int       `json:"groups"`
	Fails    int       `json:"fails"` // in a row
	Error    string    `json:"error,omitempty"`
	Since    time.Time `json:"since,omitzero"` // of error; or when it was told last
	Next     time.Time `json:"next,omitzero"`  // when it is tried again
	Dropped  int       `json:"dropped,omitempty"`
}

// AlertChange is an entry of the history.
type AlertChange struct {
	At        time.Time         `json:"at"`
	Kind      string            `json:"kind"` // firing, resolved, rule-failing, tell-failing, silenced and more
	Alert     string            `json:"alert,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Value     float64           `json:"value,omitempty"`
	ValueText string            `json:"value_text,omitempty"`
	Summary   string            `json:"summary,omitempty"`
	Reason    string            `json:"reason,omitempty"`  // of firing and resolved: wrong, fine, no-data or gone
	Subject   string            `json:"subject,omitempty"` // id of a silence, or name of a receiver
	By        string            `json:"by,omitempty"`
}

// AlertTest is what a rule's question answers just now.
type AlertTest struct {
	Alert   string            `json:"alert"`
	Query   string            `json:"query,omitempty"`
	Results []AlertTestResult `json:"results"` // those that are wrong first
}

// AlertTestResult is the answer for one set of labels.
type AlertTestResult struct {
	Labels    map[string]string `json:"labels"`
	Value     float64           `json:"value"`
	ValueText string            `json:"value_text"`
	Wrong     bool              `json:"wrong"`
	Summary   string            `json:"summary"`
}

// Silence keeps alerts from being told of.
type Silence struct {
	ID       string    `json:"id"`
	State    string    `json:"state"`    // active or ended
	Matchers []string  `json:"matchers"` // such as service=orders; all must match
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`
	By       string    `json:"by"`
	Comment  string    `json:"comment,omitempty"`
}

// The states of silences.
const (
	SilenceActive = "active"
	SilenceEnded  = "ended"
)

// SilenceSpec is a silence to come.
type SilenceSpec struct {
	Matchers []string `json:"matchers"`
	For      string   `json:"for"` // such as 2h
	By       string   `json:"by"`
	Comment  string   `json:"comment,omitempty"`
}
