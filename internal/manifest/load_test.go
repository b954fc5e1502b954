package manifest_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

func loadCase(t *testing.T, name string) (*manifest.App, fault.List) {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	return manifest.Load(unpack(t, a), optionsOf(a))
}

func TestLoadKeepsWhatTheManifestSays(t *testing.T) {
	app, faults := loadCase(t, "valid-everything")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	orders, mailer := app.Service("orders"), app.Service("mailer")
	checks := map[string]bool{
		"overlay of the gateway":          app.Gateway.Listen == "0.0.0.0:443",
		"overlay of replicas":             orders.Replicas == manifest.Replicas{Min: 3, Max: 12},
		"overlay of limits":               orders.Limits.Memory == 1<<30 && orders.Limits.CPU == 2,
		"what an overlay leaves":          orders.Owner == "checkout" && orders.Grace.Std() == 5*time.Second,
		"default of a service":            mailer.Grace.Std() == 10*time.Second && mailer.Ready.Kind == manifest.ReadyTCP,
		"default of a variable":           orders.Env["LOG_LEVEL"] == "info",
		"numbers and truths as text":      mailer.Env["N"] == "5" && mailer.Env["ON"] == "true",
		"what is the shell's":             mailer.Run == "python3 mail.py --port $PORT ${HOME}",
		"folder of a service in place":    mailer.Dir == filepath.Join(app.Dir, "tools"),
		"folder of a service":             orders.Dir == filepath.Join(app.Dir, "services/orders"),
		"patience of a call":              mailer.Calls[0] == manifest.Call{Service: "orders", Timeout: manifest.Duration(2 * time.Second), Tries: 1},
		"secret with quotes":              app.Env["STRIPE_KEY"] == `sk # "1"`,
		"secret with a comment behind":    app.Env["PARTNER_KEYS"] == "acme:k1",
		"gateway's body for a route":      app.Gateway.Routes[0].Body == 1<<20,
		"body of a route":                 app.Gateway.Routes[1].Body == 512,
		"no time-out":                     app.Gateway.Routes[1].Timeout.Std() == 0,
		"gateway's time-out":              app.Gateway.Routes[0].Timeout.Std() == 15*time.Second,
		"limit with burst and header":     app.Gateway.Routes[1].Limit[1] == manifest.Limit{Count: 1000, Per: time.Minute, Burst: 50, By: manifest.LimitByHeader, Header: "X-Tenant"},
		"a list of one":                   len(app.Gateway.Routes[0].Auth) == 1 && app.Gateway.Routes[0].Auth[0] == "staff",
		"methods in upper case":           app.Gateway.Routes[1].Methods[1] == "POST",
		"truth that differs from default": !*app.Gateway.Security && *app.Gateway.AccessLog,
	}
	for what, ok := range checks {
		if !ok {
			t.Errorf("%s: not as written", what)
		}
	}
}

func TestACallWrittenAsANameHasTheDefaultPatience(t *testing.T) {
	app, _ := loadCase(t, "call-cycle")
	want := manifest.Call{Service: "pay", Timeout: manifest.Duration(30 * time.Second), Tries: 3}
	if got := app.Service("orders").Calls[0]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestExpandCallsPutsAddressesIn(t *testing.T) {
	got := manifest.ExpandCalls("${calls.pay.url}/x ${calls.pay.addr} $${calls.pay.url} ${HOME}", func(string) string { return "127.0.0.1:7" })
	if want := "http://127.0.0.1:7/x 127.0.0.1:7 ${calls.pay.url} ${HOME}"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSizesAreReadAndWrittenAlike(t *testing.T) {
	for text, bytes := range map[string]manifest.Size{
		"0": 0, "512": 512, "7B": 7, "64KB": 64_000, "1KiB": 1024, "10MB": 10_000_000, "3GiB": 3 << 30, "2TB": 2e12, "1TiB": 1 << 40,
	} {
		var s, again manifest.Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != bytes {
			t.Errorf("%s: got %d (%v), want %d", text, s, err, bytes)
		}
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%s is written %s, which reads as %d (%v)", text, s, again, err)
		}
	}
	var s manifest.Size
	for _, bad := range []string{"", "-1", "1.5MB", "9223372036854775807KB", "5 MB", "KB"} {
		if s.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q is taken for a size", bad)
		}
	}
}

func TestFindGoesUpToTheApplication(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "services", "orders")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := manifest.Find(deep); fault.CodeOf(err) != fault.CodeManifestMissing {
		t.Errorf("without a manifest: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "atoll.yaml"), []byte("app: a\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := manifest.Find(deep); err != nil || got != dir {
		t.Errorf("got %q (%v), want %q", got, err, dir)
	}
}

func FuzzLoadNeverPanicsAndFaultsAlwaysHaveAPlace(f *testing.F) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		app, service := []byte{}, []byte{}
		for _, file := range a.Files {
			switch filepath.Base(file.Name) {
			case manifest.AppFile:
				app = file.Data
			case manifest.ServiceFile:
				service = file.Data
			}
		}
		f.Add(app, service, []byte("A=1"))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, app, service, env []byte) {
		_, faults := manifest.Load(dir, &manifest.Options{Environment: "prod", Overlay: map[string][]byte{
			manifest.AppFile: app, "services/orders/service.yaml": service, manifest.EnvFile: env,
		}})
		for _, e := range faults {
			if e.Code == "" || e.Text == "" || e.File == "" || e.Remedy == "" {
				t.Errorf("a fault without code, text, file or remedy: %+v", e)
			}
			if e.Source != "" && e.Column < 1 {
				t.Errorf("a fault with a source line and no column: %+v", e)
			}
		}
	})
}
