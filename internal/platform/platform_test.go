package platform_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/platform"
)

func TestFollowersGetEveryEventOnceAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := platform.NewEvents()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		var got []int64
		platform.Add(events, api.Event{})
		go func() {
			done <- platform.Read(events, ctx, 0, true, func(e api.Event) error {
				got = append(got, e.Seq)
				return nil
			})
		}()
		for range 99 {
			platform.Add(events, api.Event{})
		}
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if len(got) != 100 || !slices.IsSorted(got) || got[0] != 1 || got[99] != 100 {
			t.Errorf("got %d events: %v", len(got), got)
		}
	})
}

func TestWhoFollowsTooSlowlyIsToldHowMuchWasMissed(t *testing.T) {
	events := platform.NewEvents()
	for range 3 * platform.MaxEvents {
		platform.Add(events, api.Event{})
	}
	var first api.Event
	count, stop := 0, errors.New("enough")
	err := platform.Read(events, t.Context(), 10, false, func(e api.Event) error {
		if count == 0 {
			first = e
		}
		count++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if count > platform.MaxEvents || first.Missed != first.Seq-11 {
		t.Errorf("%d kept, the first is %d and says that %d were missed", count, first.Seq, first.Missed)
	}
	if err := platform.Read(events, t.Context(), 0, true, func(api.Event) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of the reader comes back as %v", err)
	}
}

func TestAFileThatChangesAllTheTimeIsMutedAndNoOther(t *testing.T) {
	var r platform.Restless
	now := time.Unix(0, 0)
	rebuilds, muted := 0, 0
	for range 100 { // as source tells it of a log that grows all the time
		now = now.Add(2 * time.Second)
		worth, found := platform.Filter(&r, "orders", []string{"data.log"}, now)
		rebuilds, muted = rebuilds+len(worth), muted+len(found)
	}
	if rebuilds > 10 || muted != 1 {
		t.Errorf("%d rebuilds, told %d times", rebuilds, muted)
	}
	for range 100 { // as somebody saves who works
		now = now.Add(6 * time.Second)
		if worth, found := platform.Filter(&r, "orders", []string{"main.go", "data.log"}, now); len(worth) != 1 || len(found) != 0 {
			t.Fatalf("a file that is worked on: %v, muted %v", worth, found)
		}
	}
	if worth, _ := platform.Filter(&r, "pay", []string{"data.log"}, now); len(worth) != 1 {
		t.Error("the file of another service is muted too")
	}
}

func TestTheOperatorsLogStaysSmall(t *testing.T) {
	dir := t.TempDir()
	log, err := platform.OpenOperatorLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	line := bytes.Repeat([]byte("x"), 1<<20)
	for range 40 {
		if _, err := log.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, name := range []string{"atoll.log", "atoll.log.1"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total < 8<<20 || total > 20<<20 {
		t.Errorf("of 40 MiB written it keeps %d bytes", total)
	}
}

func shop() *manifest.App {
	call := func(names ...string) (calls []manifest.Call) {
		for _, n := range names {
			calls = append(calls, manifest.Call{Service: n})
		}
		return calls
	}
	return &manifest.App{
		Services: []*manifest.Service{
			{Name: "mail"}, {Name: "orders", Calls: call("pay")}, {Name: "pay", Calls: call("stock", "orders")}, {Name: "stock"}, {Name: "web", Calls: call("orders")},
		},
		Gateway: manifest.Gateway{Routes: []manifest.Route{{Path: "/", To: "web"}, {Path: "/o", To: "orders"}}},
	}
}

func TestNamedServicesRunWithWhatTheyCallAndNothingElse(t *testing.T) {
	app, err := platform.Only(shop(), []string{"orders"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range app.Services {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"orders", "pay", "stock"}) {
		t.Errorf("got %v", names)
	}
	if len(app.Gateway.Routes) != 1 || app.Gateway.Routes[0].To != "orders" {
		t.Errorf("routes to what does not run: %v", app.Gateway.Routes)
	}
	if _, err := platform.Only(shop(), []string{"order"}); fault.CodeOf(err) != fault.CodeServiceUnknown {
		t.Errorf("an unknown name: %v", err)
	}
}

func TestServicesGetNothingOfAtollsOwnEnvironmentButWhatProgramsNeed(t *testing.T) {
	for name, want := range map[string]bool{
		"PATH": true, "HOME": true, "LC_ALL": true, "TZ": true,
		"AWS_SECRET_ACCESS_KEY": false, "STRIPE_KEY": false, "ATOLL_POSTGRES": false, "DATABASE_URL": false, "PORT": false, "LD_PRELOAD": false,
	} {
		if platform.Passed(name) != want {
			t.Errorf("%s: passed %t, want %t", name, !want, want)
		}
	}
}

func TestWhatLooksLikeASecretIsNotShown(t *testing.T) {
	s := &manifest.Service{Env: map[string]string{}, Written: map[string]string{}}
	for name, text := range map[string]string{
		"LOG_LEVEL": "info", "API_TOKEN": "t", "DB": "postgres://u:p@h/d", "CATALOG_URL": "${calls.catalog.url}",
		"smtp_password": "x", "ARGS": "--as ${env.MINE}",
	} {
		s.Env[name], s.Written["env."+name] = "put in", text
	}
	got := platform.Shown(s, func(string) string { return "127.0.0.1:1" })
	visible := map[string]string{"ARGS": "--as ${env.MINE}", "LOG_LEVEL": "info", "CATALOG_URL": "http://127.0.0.1:1"}
	for name, value := range visible {
		if got[name] != value {
			t.Errorf("%s is hidden", name)
		}
		delete(got, name)
	}
	for _, value := range slices.Collect(maps.Values(got)) {
		if value != "********" {
			t.Errorf("shown: %v", got)
		}
	}
}
