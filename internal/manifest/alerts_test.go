package manifest_test

import (
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/manifest"
)

func TestThresholdsAndSharesAreReadInTheUnitsTheyAreWrittenIn(t *testing.T) {
	for text, want := range map[string]manifest.Threshold{
		"0.05": {Value: 0.05}, "-3": {Value: -3}, ".5": {Value: 0.5}, "1e3": {Value: 1000}, "5%": {Value: 0.05, Unit: manifest.UnitShare}, "-0.1%": {Value: -0.001, Unit: manifest.UnitShare},
		"800ms": {Value: 0.8, Unit: manifest.UnitSeconds}, "2s": {Value: 2, Unit: manifest.UnitSeconds}, "1.5m": {Value: 90, Unit: manifest.UnitSeconds}, "2h": {Value: 7200, Unit: manifest.UnitSeconds},
	} {
		var got manifest.Threshold
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s is %+v (%v), want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "%", "x", "1 s", "1d", "5%%", "1e999", "NaN", "1m30s"} {
		var got manifest.Threshold
		if got.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is taken for the threshold %+v", text, got)
		}
	}
	for text, want := range map[string]float64{"0%": 0, "99.9%": 0.999, "100%": 1, "100.0%": 1, "12.5%": 0.125} {
		var got manifest.Percent
		if err := got.UnmarshalText([]byte(text)); err != nil || got.Ratio() < want-1e-12 || got.Ratio() > want+1e-12 {
			t.Errorf("%s is %v (%v), want %v", text, got.Ratio(), err, want)
		}
	}
	for _, text := range []string{"", "%", "100.1%", "-1%", "99", "1e1%", "100%%"} {
		var got manifest.Percent
		if got.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is taken for the share %v", text, got)
		}
	}
}

const alertsApp = `app: shop
services: [{service: orders, run: x, publishes: [a]}]
alerts:
  plain: {logs: level = error | count(), above: 10}
  quoted: {spans: "status = error | rate()", above: 1}
  block:
    metrics: |
      up
      + 1
    below: 1
  orders-slo: {slo: {service: orders, objective: 99.9%}}
telemetry: {metrics: {age: 720h}}
environments:
  night: {alerts: {plain: {above: 20}}, telemetry: {keep: {size: 5GB}, sample: 10%}}
`

func loadAlerts(t *testing.T, environment string) *manifest.App {
	t.Helper()
	app, faults := manifest.Load(t.TempDir(), &manifest.Options{Environment: environment, Overlay: map[string][]byte{manifest.AppFile: []byte(alertsApp)}})
	if faults.HasErrors() {
		t.Fatal(faults)
	}
	return app
}

func TestAColumnOfAQueryIsAColumnOfItsFileWhereItStandsOnOneLine(t *testing.T) {
	app := loadAlerts(t, "")
	for _, c := range []struct {
		alert, key         string
		column, line, want int
	}{
		{"plain", "logs", 1, 4, 17},
		{"plain", "logs", 15, 4, 31},
		{"quoted", "spans", 1, 5, 20},
		{"quoted", "spans", 0, 5, 19},
		{"block", "metrics", 3, 7, 14},
		{"block", "logs", 1, 6, 3}, // not written: the alert itself
	} {
		at, source := app.Alerts[c.alert].Place(c.key, c.column)
		if at.Line != c.line || at.Column != c.want || source == "" {
			t.Errorf("column %d of %s of %s is at %v in %q, want %d:%d", c.column, c.key, c.alert, at, source, c.line, c.want)
		}
	}
}

func TestAnEnvironmentChangesWhatItNamesOfAnAlertAndNothingElse(t *testing.T) {
	app := loadAlerts(t, "night")
	a := app.Alerts["plain"]
	if key, text := a.QueryKey(); key != "logs" || text != "level = error | count()" || a.Above.Value != 20 || a.Within.Std() != 5*time.Minute || a.Severity != manifest.SeverityWarning {
		t.Errorf("the alert is %+v", a)
	}
	if tel := app.Telemetry; tel.Sample.Ratio() != 0.1 || tel.Keep.Size != 5_000_000_000 || tel.Keep.Age.Std() != 168*time.Hour || tel.OTLP.GRPC != "127.0.0.1:4317" {
		t.Errorf("telemetry is %+v", tel)
	}
	if names := app.AlertsByName(); len(names) != 4 || names[0].Name != "block" || names[3].Name != "quoted" {
		t.Errorf("the alerts are %v", names)
	}
	if group := app.Alerting.Group; len(group) != 2 {
		t.Errorf("alerts are grouped by %v", group)
	}
}
