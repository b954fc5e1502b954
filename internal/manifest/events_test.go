package manifest_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/atollhq/atoll/internal/manifest"
)

// loaded is the App of a case of the corpus that has no faults.
func loaded(t *testing.T, name string) *manifest.App {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	app, faults := manifest.Load(unpack(t, a), optionsOf(a))
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return app
}

func TestAShortFormHasTheDefaultsOfTheLongOne(t *testing.T) {
	leads := loaded(t, "valid-events.txtar").Service("leads")
	want := manifest.Subscription{
		To: "nats", Concurrency: 16, Attempts: 16, Timeout: 30e9, Backoff: 500e6, MaxBackoff: 600e9, Order: manifest.OrderKey,
	}
	if got := leads.Subscribes["repo.pushed"]; got != want || !got.Direct() {
		t.Errorf("got %+v", got)
	}
	want.Attempts = 3 // the environment's word
	if got := leads.Subscribes["lead.enriched"]; got != want {
		t.Errorf("an overlay did not replace a short form: %+v", got)
	}
	if got := leads.Publishes[0]; got != (manifest.Publish{Topic: "lead.created"}) {
		t.Errorf("got %+v", got)
	}
}

func TestEventsAreTakenFromTheEnvironmentInForce(t *testing.T) {
	got := loaded(t, "valid-events.txtar").Events
	want := manifest.Events{
		NATS: "nats://a:4222,tls://b:4222", Credentials: "nats_credentials", Replicas: 3,
		Keep: manifest.Keep{Age: manifest.Duration(720 * 3600e9), Size: 50e9},
	}
	if got != want {
		t.Errorf("got %+v", got)
	}
	if keep := loaded(t, "valid-minimal.txtar").Events.Keep; keep.Age.String() != "168h0m0s" || keep.Size != 10e9 {
		t.Errorf("the default is %+v", keep)
	}
}

func TestTopicsKnowEverybodyThatHasToDoWithThem(t *testing.T) {
	app := loaded(t, "valid-events.txtar")
	topics := app.Topics()
	var names []string
	for _, topic := range topics {
		names = append(names, topic.Name)
	}
	if want := []string{"lead.captured", "lead.created", "lead.enriched", "mail.bounced", "payment.reported", "repo.pushed"}; !slices.Equal(names, want) {
		t.Fatalf("got %q", names)
	}
	captured, bounced := topics[0], topics[3]
	if captured.Summary != "Somebody left an address." || filepath.Base(captured.Schema) != "same.json" || !filepath.IsAbs(captured.Schema) ||
		!slices.Equal(captured.Publishers, []string{"import", "leads"}) {
		t.Errorf("got %+v", captured)
	}
	if len(bounced.Routes) != 1 || !slices.Equal(bounced.Routes[0].Methods, []string{"POST"}) || !slices.Equal(bounced.Subscribers, []string{"leads"}) {
		t.Errorf("got %+v", bounced)
	}
}

func TestDataOfAScheduleIsTheJSONThatTheYAMLSays(t *testing.T) {
	data := loaded(t, "valid-events.txtar").Service("leads").Schedules[1].Data
	want := `{"kind":"report","size":16,"ratio":0.5,"live":true,"none":null,"day":"2026-11-22","to":["a@b.example","x\"<y>"]}`
	if string(data) != want || !json.Valid([]byte(data)) {
		t.Errorf("got  %s\nwant %s", data, want)
	}
}

func TestCronIsReadAsCronReadsIt(t *testing.T) {
	const all, days, months, week = 1<<60 - 1, 1<<32 - 2, 1<<13 - 2, 1<<7 - 1
	for text, want := range map[string]manifest.Cron{
		"* * * * *":           {Minute: all, Hour: 1<<24 - 1, Day: days, Month: months, Weekday: week},
		"*/20 1-3 * * *":      {Minute: 1 | 1<<20 | 1<<40, Hour: 0b1110, Day: days, Month: months, Weekday: week},
		"5/25 0 1,15 * *":     {Minute: 1<<5 | 1<<30 | 1<<55, Hour: 1, Day: 1<<1 | 1<<15, Month: months, Weekday: week},
		"0 0 * Jan,jun MON-3": {Minute: 1, Hour: 1, Day: days, Month: 1<<1 | 1<<6, Weekday: 0b1110},
		"0 0 13 * 5":          {Minute: 1, Hour: 1, Day: 1 << 13, Month: months, Weekday: 1 << 5, EitherDay: true},
		"0 0 */2 * 5-7":       {Minute: 1, Hour: 1, Day: 0b10101010101010101010101010101010, Month: months, Weekday: 0b1100001},
		"@Weekly":             {Minute: 1, Hour: 1, Day: days, Month: months, Weekday: 1},
		"0 0 29 2 *":          {Minute: 1, Hour: 1, Day: 1 << 29, Month: 1 << 2, Weekday: week},
		"0 0 31 2 mon":        {Minute: 1, Hour: 1, Day: 1 << 31, Month: 1 << 2, Weekday: 1 << 1, EitherDay: true},
	} {
		var got manifest.Cron
		if err := got.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got.String() != text {
			t.Errorf("%q is shown as %q", text, got.String())
		}
		if got.Minute != want.Minute || got.Hour != want.Hour || got.Day != want.Day || got.Month != want.Month || got.Weekday != want.Weekday || got.EitherDay != want.EitherDay {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
	for _, text := range []string{
		"", "@", "@never", "* * * *", "* * * * * *", "-1 * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *",
		"* * * * 8", "* * * foo *", "* * * an *", "*/ * * * *", "*/0 * * * *", "1- * * * *", "3-1 * * * *", ", * * * *", "+1 * * * *", "1.5 * * * *",
		"0 0 31 4,6,9,11 *", "*/99999 * * * *",
	} {
		if err := new(manifest.Cron).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
