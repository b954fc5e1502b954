package manifest

import (
	"net"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/fault"
)

// The least and the most of alerts' settings.
const (
	minWithin    = Duration(10 * time.Second)
	maxWithin    = Duration(24 * time.Hour)
	maxFor       = Duration(7 * 24 * time.Hour)
	minSLOWindow = Duration(7 * 24 * time.Hour)
	maxSLOWindow = Duration(90 * 24 * time.Hour)
	minRepeat    = Duration(time.Minute)
	longestShare = 10 // of a window, what the longest of the windows that alert is
)

var labelForm = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// alerts checks the rules. What a query says is checked where queries are known.
func (c *checker) alerts() {
	all := lookup(c.root, "alerts")
	for _, a := range c.app.AlertsByName() {
		n := lookup(all, a.Name)
		c.name(keyNode(all, a.Name), a.Name, "an alert")
		c.alertLabels(n, a)
		if !c.oneOf(n, "an alert", "metrics", "spans", "logs", "slo") {
			continue
		}
		if a.SLO != nil {
			c.slo(n, a.SLO)
			continue
		}
		if (a.Above == nil) == (a.Below == nil) {
			c.add(c.fault(n, fault.CodeMissingKey, "an alert wants exactly one of above and below").Fix("write the threshold, such as above: 0.05"))
		}
		between(c, lookup(n, "for"), a.For, 0, maxFor)
		switch within := value(n, "within"); {
		case within != nil && a.Metrics != "":
			c.add(c.fault(within, fault.CodeBadValue, "a query in PromQL says itself over how much of the past it asks").Fix("take within away, and write the range into the query: rate(…[5m])"))
		case a.Metrics == "":
			between(c, lookup(n, "within"), a.Within, minWithin, maxWithin)
		}
	}
}

// oneOf tells whether exactly one of some keys of a mapping is written, and refuses it otherwise.
func (c *checker) oneOf(n *yaml.Node, what string, keys ...string) bool {
	var written []string
	for _, key := range keys {
		if v := value(n, key); v != nil && (v.Kind != yaml.ScalarNode || v.Value != "") {
			written = append(written, key)
		}
	}
	list := strings.Join(keys[:len(keys)-1], ", ") + " and " + keys[len(keys)-1]
	switch {
	case len(written) == 1:
		return true
	case len(written) == 0:
		c.add(c.fault(n, fault.CodeBadValue, "%s wants exactly one of %s", what, list).Fix("write one of them"))
	default:
		c.add(c.fault(keyNode(n, written[1]), fault.CodeBadValue, "%s wants exactly one of %s, and has %s", what, list, strings.Join(written, " and ")).
			Fix("keep one of them, and write the other as an entry of its own"))
	}
	return false
}

func (c *checker) alertLabels(n *yaml.Node, a *Alert) {
	for name := range a.Labels {
		at := keyNode(lookup(n, "labels"), name)
		switch {
		case !labelForm.MatchString(name):
			c.add(c.fault(at, fault.CodeBadName, "%q is not the name of a label", name).Fix("use letters, digits and underscores, with no digit first"))
		case name == "alert" || name == "severity":
			c.add(c.fault(at, fault.CodeBadName, "the label %s is set by Atoll", name).Fix("give the label another name"))
		}
	}
}

// slo checks an objective.
func (c *checker) slo(n *yaml.Node, s *SLO) {
	at := lookup(n, "slo")
	if s.Service != "" && c.app.Service(s.Service) == nil {
		c.noService(lookup(at, "service"), "watch", s.Service)
	}
	if o := value(at, "objective"); o != nil && (s.Objective >= 100 || s.Objective == 0 && percentForm.MatchString(o.Value)) {
		c.add(c.fault(o, fault.CodeBadValue, "an objective of %s leaves nothing to alert on", s.Objective).
			Fix("write a share between 0%% and 100%%, such as 99.9%%"))
	}
	between(c, lookup(at, "window"), s.Window, minSLOWindow, maxSLOWindow)
	if kept := c.app.Telemetry.Metrics.Age; s.Window/longestShare > kept {
		c.add(c.fault(lookup(at, "window"), fault.CodeBadValue, "metrics are kept for %s, and an objective over %s is watched over %s", kept, s.Window, s.Window/longestShare).
			Fix("write telemetry: {metrics: {age: %s}}, or a shorter window", s.Window/longestShare))
	}
	for _, key := range []string{"above", "below", "for", "within", "severity"} {
		if v := value(n, key); v != nil {
			c.add(c.fault(keyNode(n, key), fault.CodeBadValue, "an slo has no %s: its windows say when it alerts, and how urgent that is", key).Fix("take the line away"))
		}
	}
}

// alerting checks who is told.
func (c *checker) alerting() {
	a, n := &c.app.Alerting, lookup(c.root, "alerting")
	known := append(DefaultAlerts(), AllDefaultAlerts)
	for i, name := range a.Off {
		if slices.Contains(known, name) {
			continue
		}
		e := c.fault(lookup(n, "off", i), fault.CodeAlertUnknown, "there is no default alert %q", name).Fix("write one of %s", strings.Join(known, ", "))
		if near := nearest(name, known); near != "" {
			e = e.Fix("did you mean %q?", near)
		}
		c.add(e)
	}
	for i, label := range a.Group {
		if !labelForm.MatchString(label) {
			c.add(c.fault(lookup(n, "group", i), fault.CodeBadName, "%q is not the name of a label", label).Fix("use letters, digits and underscores, such as service"))
		}
	}
	between(c, lookup(n, "group_wait"), a.GroupWait, 0, maxWithin)
	between(c, lookup(n, "group_interval"), a.GroupInterval, minWithin, maxWithin)
	between(c, lookup(n, "repeat"), a.Repeat, minRepeat, maxFor)
	for i := range a.Notify {
		c.notify(lookup(n, "notify", i), &a.Notify[i])
	}
}

func (c *checker) notify(n *yaml.Node, w *Notify) {
	if !c.oneOf(n, "an entry of notify", "webhook", "slack", "email") {
		return
	}
	if w.Webhook != "" {
		c.httpURL(lookup(n, "webhook"), w.Webhook)
	}
	if w.Slack != "" {
		c.secret(lookup(n, "slack"), w.Slack)
	}
	switch at := value(n, "secret"); {
	case at != nil && w.Webhook == "":
		c.add(c.fault(keyNode(n, "secret"), fault.CodeBadValue, "secret belongs to a webhook").Fix("take the line away"))
	case w.Secret != "":
		c.secret(at, w.Secret)
	}
	if w.Email != nil {
		c.email(lookup(n, "email"), w.Email)
	}
}

func (c *checker) email(n *yaml.Node, e *Email) {
	address := func(at *yaml.Node, text string) {
		if a, err := mail.ParseAddress(text); text != "" && (err != nil || strings.ContainsAny(text, "\r\n") || a.Address == "") {
			c.add(c.fault(at, fault.CodeBadValue, "%q is not an address of mail", text).Fix("write NAME@HOST"))
		}
	}
	for i, to := range e.To {
		address(lookup(n, "to", i), to)
	}
	if value(n, "to") != nil && len(e.To) == 0 {
		c.add(c.fault(lookup(n, "to"), fault.CodeBadValue, "nobody gets this mail").Fix("write at least one address"))
	}
	address(lookup(n, "from"), e.From)
	host, port, err := net.SplitHostPort(e.SMTP)
	if e.SMTP != "" && (err != nil || host == "" || !validPort(port)) {
		c.add(c.fault(lookup(n, "smtp"), fault.CodeBadValue, "%q is not a server of mail", e.SMTP).Fix("write HOST:PORT, such as smtp.example.com:587"))
	}
	switch {
	case (e.User == "") != (e.Password == ""):
		c.add(c.fault(n, fault.CodeMissingKey, "who logs in needs user and password").Fix("write both, or none; password is the name of a secret"))
	case e.Password != "":
		c.secret(lookup(n, "password"), e.Password)
	}
}
