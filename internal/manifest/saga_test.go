package manifest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/manifest"
)

func TestLoadKeepsWhatASagaSays(t *testing.T) {
	app, faults := loadCase(t, "valid-everything")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	cash, routes := app.Saga("order-to-cash"), app.Gateway.Routes
	mail := slices.IndexFunc(app.Topics(), func(t manifest.Topic) bool { return t.Name == "mail.sent" })
	checks := map[string]bool{
		"sagas by name":              len(app.Sagas) == 2 && app.Sagas[0].Name == "line" && app.SagasByName()["line"] == app.Sagas[0],
		"file":                       cash.File == "sagas/a.yaml",
		"overlay of the store":       app.SagaStore.Database.Kind == manifest.DatabasePostgres && app.SagaStore.Keep.Std() == 240*time.Hour,
		"expressions as written":     cash.Key == "${input.order}" && cash.Steps[0].Do.Body == `{"n":1.5,"x":[true,null,"$${"]}`,
		"short form of a call":       cash.Steps[1].Do.Call == "GET orders/stock" && cash.Steps[1].Undo.None(),
		"no after":                   cash.Steps[0].After == nil,
		"after null":                 cash.Steps[4].After == nil,
		"after nothing":              cash.Steps[1].After != nil && len(*cash.Steps[1].After) == 0,
		"after steps":                slices.Equal(*cash.Steps[2].After, []string{"reserve", "look"}),
		"default of a step":          cash.Steps[0].Timeout.Std() == 30*time.Second,
		"schedule":                   cash.Start[1].Cron.String() == "0 2 * * *" && cash.Start[1].Missed == manifest.MissedSkip,
		"sagas of a service":         slices.Equal(app.Service("orders").Sagas, []string{"order-to-cash", "line"}),
		"route that starts":          routes[2].Start == "order-to-cash" && slices.Equal(routes[2].Methods, []string{"POST"}),
		"topic of a saga":            mail >= 0 && slices.Equal(app.Topics()[mail].Sagas, []string{"order-to-cash"}),
		"services of a saga":         slices.Equal(cash.Services(), []string{"orders"}),
		"list of one as its item":    app.Saga("line").Steps[0].Name == "only",
		"status as a list of one":    slices.Equal(cash.Steps[0].Undo.Done, []int{404}),
		"header's value as a number": cash.Steps[0].Do.Headers["X-Tenant"] == "7",
	}
	for what, ok := range checks {
		if !ok {
			t.Errorf("%s: not as written", what)
		}
	}
}

func TestEveryPartOfASagaHasItsPlace(t *testing.T) {
	app, _ := loadCase(t, "valid-everything")
	for path, line := range map[string]int{
		"":                            1,
		"saga":                        1,
		"steps[0].do.body.x[1]":       14,
		"steps[0].do.body.none.there": 14,
		"steps[1].do.call":            17,
		"steps[2].do.async.by":        21,
		"start[1].cron":               7,
		"nowhere":                     1,
	} {
		if at, source := app.Saga("order-to-cash").Place(path); at.File != "sagas/a.yaml" || at.Line != line || source == "" {
			t.Errorf("%s is in %s (%q), want line %d", path, at, source, line)
		}
	}
	if at, _ := app.Saga("line").Place("steps[0].do"); at.Line != 2 || at.Column != 25 {
		t.Errorf("of a list of one, written as its item: %s", at)
	}
}
