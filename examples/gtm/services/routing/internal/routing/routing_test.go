package routing_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.com/gtm/internal/contracttest"
	"example.com/gtm/internal/eventtest"
	"example.com/gtm/services/routing/internal/routing"
)

func shipped(t *testing.T) routing.Team {
	t.Helper()
	text, err := os.ReadFile("../../team.json")
	if err != nil {
		t.Fatal(err)
	}
	team, err := routing.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return team
}

func open(t *testing.T, path string, team routing.Team) *routing.Desk {
	t.Helper()
	desk, err := routing.Open(t.Context(), path, team)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = desk.Close() })
	return desk
}

// request is what routing reads of a lead that is qualified.
type request struct {
	LeadID  string
	Account string
	Country string
	Seats   int
	Verdict string // MQL, if not said
}

// send delivers lead.qualified.
func send(t *testing.T, d *routing.Desk, event string, r request) int {
	t.Helper()
	return eventtest.Deliver(t, d.Handler(), "/events/lead-qualified", event, map[string]any{
		"lead":      map[string]any{"id": r.LeadID, "email": "a@b.example", "country": r.Country, "seats": r.Seats, "more": 1},
		"company":   map[string]any{"domain": r.Account, "name": "X", "country": ""},
		"judgement": map[string]any{"verdict": cmp.Or(r.Verdict, "MQL"), "score": 70},
	})
}

func assign(t *testing.T, d *routing.Desk, r request) (a routing.Assignment) {
	t.Helper()
	if code := send(t, d, "qualified-"+r.LeadID, r); code/100 != 2 {
		t.Fatalf("the event was answered with %d", code)
	}
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/routing/assignments/"+r.LeadID, nil))
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestPlaceFollowsCountryAndSeatsAndSaysWhy(t *testing.T) {
	desk := open(t, filepath.Join(t.TempDir(), "r.db"), shipped(t))
	tests := []struct {
		req                request
		territory, segment string
		reason             string
	}{
		{request{Country: "DE", Seats: 49}, "EMEA", "small", "49 seats make segment small"},
		{request{Country: "us", Seats: 50}, "Americas", "mid-market", "US is in territory Americas"},
		{request{Country: "JP", Seats: 1000}, "APAC", "enterprise", "it is the turn of APAC desk 1"},
		{request{Country: "", Seats: 0}, "Global", "small", "the country is not known"},
		{request{Country: "AQ", Seats: 7}, "Global", "small", "no territory has AQ"},
	}
	for i, test := range tests {
		test.req.LeadID = fmt.Sprint(i)
		a := assign(t, desk, test.req)
		if a.Territory != test.territory || a.Segment != test.segment || !strings.Contains(strings.Join(a.Reasons, "; "), test.reason) {
			t.Errorf("%+v: got %+v", test.req, a)
		}
	}
}

func TestTurnsAreInProportionToCapacityAndSpreadOut(t *testing.T) {
	team := routing.Team{
		Territories: []routing.Territory{{Name: "all"}}, Segments: []routing.Segment{{Name: "any"}},
		Owners: []routing.Owner{
			{ID: "a", Territory: "all", Segments: []string{"any"}, Capacity: 5},
			{ID: "b", Territory: "all", Segments: []string{"any"}, Capacity: 1},
			{ID: "c", Territory: "all", Segments: []string{"any"}, Capacity: 1},
		},
	}
	path := filepath.Join(t.TempDir(), "r.db")
	var got strings.Builder
	for i := range 14 { // the desk is closed and opened in between: turns survive
		desk, err := routing.Open(t.Context(), path, team)
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString(assign(t, desk, request{LeadID: fmt.Sprint(i)}).Owner)
		if err := desk.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if want := "aabacaa" + "aabacaa"; got.String() != want { // the sequence that nginx documents for 5, 1, 1
		t.Errorf("got %s, want %s", got.String(), want)
	}
}

func TestALeadIsAssignedAndPublishedOnceHoweverOftenItIsDelivered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	desk := open(t, path, shipped(t))
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if code := send(t, desk, "qualified-one", request{LeadID: "one", Country: "DE", Seats: 3}); code/100 != 2 {
				t.Errorf("got %d", code)
			}
		})
	}
	wg.Wait()
	loads, err := desk.Loads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, l := range loads {
		sum += l.Leads
	}
	events := eventtest.Outbox(t, path)
	if sum != 1 || len(events) != 1 || events[0].Topic != "lead.routed" || events[0].Key != "one" {
		t.Fatalf("%d assignments, published %+v", sum, events)
	}
	eventtest.Conforms(t, "../../events/lead.routed.json", events[0].Data)
	if !strings.Contains(string(events[0].Data), `"more":1`) {
		t.Errorf("what came with the lead does not go on: %s", events[0].Data)
	}
}

func TestWhoIsNotForSalesGetsNoOwnerAndTakesNoTurn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	desk := open(t, path, shipped(t))
	for _, verdict := range []string{"nurture", "disqualified"} {
		if code := send(t, desk, verdict, request{LeadID: verdict, Verdict: verdict}); code/100 != 2 {
			t.Errorf("%s: %d", verdict, code)
		}
	}
	if events := eventtest.Outbox(t, path); len(events) != 0 {
		t.Errorf("published %+v", events)
	}
}

func TestAnAccountKeepsItsOwner(t *testing.T) {
	desk := open(t, filepath.Join(t.TempDir(), "r.db"), shipped(t))
	first := assign(t, desk, request{LeadID: "1", Account: "stripe.com", Country: "US", Seats: 5})
	for i := range 5 {
		a := assign(t, desk, request{LeadID: fmt.Sprint("x", i), Account: "stripe.com", Country: "DE", Seats: 5000})
		if a.Owner != first.Owner || !strings.Contains(strings.Join(a.Reasons, ";"), "owns the account stripe.com already") {
			t.Errorf("got %+v, want owner %s", a, first.Owner)
		}
	}
}

func TestATeamThatLeavesALeadWithoutOwnerIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"territories":[{"name":"X","countries":["DE"]}],"segments":[{"name":"s"}],"owners":[]}`:         "no territory takes",
		`{"territories":[{"name":"X","countries":[]}],"segments":[{"name":"s"}],"owners":[]}`:             "X has nobody for segment s",
		`{"territories":[],"segments":[{"name":"s","up_to":3}],"owners":[]}`:                              "last segment",
		`{"territories":[],"segments":[],"owners":[{"id":"a","name":"A","territory":"Y","segments":[]}]}`: "no territory \"Y\"",
	} {
		if _, err := routing.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestTheContractIsTrue(t *testing.T) {
	desk := open(t, filepath.Join(t.TempDir(), "r.db"), shipped(t))
	assign(t, desk, request{LeadID: "1", Country: "DE"})
	srv := httptest.NewServer(desk.Handler())
	defer srv.Close()
	c := contracttest.Load(t, "../../openapi.yaml")
	for path, want := range map[string]int{"assignments/1": 200, "assignments/2": 404, "owners": 200} {
		resp, err := c.Client().Get(srv.URL + "/api/routing/" + path)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	c.AllSeen()
}
