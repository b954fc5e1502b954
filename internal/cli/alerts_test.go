package cli_test

import (
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/cli"
	"github.com/atollhq/atoll/internal/control/api"
)

func TestAlertsFitATerminalAndHoldNoControlCharacters(t *testing.T) {
	now := time.Date(2031, 1, 1, 12, 0, 0, 0, time.UTC)
	list := &api.Alerts{
		Alerts: []api.Alert{
			{Alert: "error-ratio", State: api.AlertFiring, Severity: "critical", Labels: map[string]string{"alert": "error-ratio", "severity": "critical", "service": "orders"}, ValueText: "12%", Since: now.Add(-3 * time.Minute), Summary: "12% of the requests to orders fail"},
			{Alert: "latency", State: api.AlertFiring, Severity: "warning", Labels: map[string]string{"service": "st\x1b[2Jock"}, ValueText: "2s", Since: now, Silenced: []string{"x"}, Summary: "slow " + strings.Repeat("x", 200)},
			{Alert: "crash-loop", State: api.AlertFiring, Severity: "critical", Since: now, NoDataSince: now},
		},
		Rules: []api.AlertRule{
			{Alert: "latency", Default: true, Source: "metrics", Query: "a\n  b", Firing: 1, Asked: now},
			{Alert: "bad", Source: "logs", Error: "no such field"},
			{Alert: "goal", Source: "slo", SLO: &api.AlertSLO{Service: "orders", Objective: 0.999, Window: "720h0m0s"}},
		},
		Receivers: []api.AlertReceiver{{Name: "ops", Groups: 1, Since: now.Add(-time.Minute)}, {Name: "mail", Severity: "critical", Error: "it answered 500", Since: now}},
	}
	for _, width := range []int{0, 60, 80, 120} {
		alerts, rules, receivers := cli.AlertLines(list, width, now)
		for _, line := range append(append(alerts, rules...), receivers...) {
			if width > 0 && len([]rune(line)) > width || strings.Contains(line, "\x1b") {
				t.Errorf("at %d columns: %q", width, line)
			}
		}
		all := strings.Join(alerts, "\n")
		if !strings.Contains(all, "error-ratio") || !strings.Contains(all, "firing (silenced)") || !strings.Contains(all, "firing (no data)") || !strings.Contains(all, "of the requests") {
			t.Errorf("at %d columns:\n%s", width, all)
		}
	}
	_, rules, receivers := cli.AlertLines(list, 0, now)
	all := strings.Join(append(rules, receivers...), "\n")
	for _, want := range []string{"latency (default)", "a b", "no such field", "99.9% of the requests to orders are good, over 720h0m0s", "told 1m ago", "failing for 0s: it answered 500"} {
		if !strings.Contains(all, want) {
			t.Errorf("there is no %q in\n%s", want, all)
		}
	}
}
