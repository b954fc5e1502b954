package alert_test

import (
	"slices"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/alert"
	"github.com/atollhq/atoll/internal/manifest"
)

func rulesOf(t *testing.T, text string) map[string]*alert.Rule {
	t.Helper()
	app, faults := manifest.Load(t.TempDir(), &manifest.Options{Overlay: map[string][]byte{manifest.AppFile: []byte("app: shop\nservices: [{service: orders, run: x, publishes: [a]}]\n" + text)}})
	if faults.HasErrors() {
		t.Fatal(faults)
	}
	byName := map[string]*alert.Rule{}
	for _, r := range alert.Rules(app) {
		byName[r.Name] = r
	}
	return byName
}

func TestDefaultRulesAreThoseThatTheManifestKnows(t *testing.T) {
	var names []string
	for _, r := range alert.Defaults() {
		names = append(names, r.Name)
		if r.Summary == "" || r.Query == "" || r.Every <= 0 || !r.Default {
			t.Errorf("%s is not complete: %+v", r.Name, r)
		}
	}
	if known := manifest.DefaultAlerts(); !slices.Equal(names, known) {
		t.Errorf("there are %v, the manifest knows %v", names, known)
	}
}

func TestRulesOfAManifestTakeThePlaceOfDefaultOnesOrSwitchThemOff(t *testing.T) {
	if all := rulesOf(t, ""); len(all) != len(alert.Defaults()) {
		t.Errorf("without a word there are %d rules", len(all))
	}
	if none := rulesOf(t, "alerting: {off: all}\n"); len(none) != 0 {
		t.Errorf("with all off there are %v", none)
	}
	rules := rulesOf(t, `alerting: {off: [crash-loop, event-lag]}
alerts:
  latency: {spans: "x | quantile(0.99, duration) by service", above: 800ms, within: 10m, for: 2m, severity: critical}
  few: {metrics: up, below: 5%, labels: {team: a}}
  slo: {slo: {service: orders, objective: 99.5%, latency: 300ms}}
`)
	if rules["crash-loop"] != nil || rules["event-lag"] != nil || len(rules) != len(alert.Defaults())-2+2 {
		t.Errorf("the rules are %v", rules)
	}
	latency := rules["latency"]
	if latency.Default || latency.Source != alert.SourceSpans || latency.Threshold != 0.8 || latency.Unit != alert.UnitSeconds || latency.Within != 10*time.Minute ||
		latency.Policy.For != 2*time.Minute || latency.Severity != alert.Critical {
		t.Errorf("latency is %+v", latency)
	}
	if few := rules["few"]; few.Compare != alert.Below || few.Threshold != 0.05 || few.Unit != alert.UnitShare || few.Within != 0 || few.Labels["team"] != "a" {
		t.Errorf("few is %+v", few)
	}
	if slo := rules["slo"]; slo.SLO == nil || slo.SLO.Budget() < 0.00499 || slo.SLO.Budget() > 0.00501 || slo.SLO.Window != 720*time.Hour {
		t.Errorf("slo is %+v", slo)
	}
}

func TestValuesAreWrittenAsPeopleReadThem(t *testing.T) {
	for _, c := range []struct {
		value float64
		unit  alert.Unit
		want  string
	}{
		{0.0523, alert.UnitShare, "5.23%"},
		{0.8, alert.UnitSeconds, "800ms"},
		{2.5, alert.UnitSeconds, "2.5s"},
		{360, alert.UnitSeconds, "6m0s"},
		{14.4, alert.UnitBurn, "14.4 times too fast"},
		{3, alert.UnitNone, "3"},
		{1234567, alert.UnitNone, "1234567"},
		{1.23456, alert.UnitNone, "1.23"},
		{1.7976931348623157e308, alert.UnitNone, "+Inf"},
		{1e300, alert.UnitSeconds, "1e+300"},
	} {
		if got := alert.FormatValue(c.value, c.unit); got != c.want {
			t.Errorf("%v %s is %q, want %q", c.value, c.unit, got, c.want)
		}
	}
}

func FuzzMatchersThatAreReadAreWrittenTheSame(f *testing.F) {
	for _, seed := range []string{"service=orders", `route=~"/api/.*"`, `a!="x \"y\" \\"`, "a!~b|c", "a=", "=x", "a=~(", "a = b "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := alert.ParseMatcher(text)
		if err != nil {
			return
		}
		again, err := alert.ParseMatcher(m.String())
		if err != nil {
			t.Fatalf("%q is written %q, which cannot be read: %v", text, m.String(), err)
		}
		if l := (alert.Labels{m.Label: m.Value}); m.Matches(l) != again.Matches(l) || again.Value != m.Value || again.Op != m.Op {
			t.Fatalf("%q is written %q, which is %+v", text, m.String(), again)
		}
	})
}
