package routing_test

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.com/gtm/internal/contracttest"
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

func assign(t *testing.T, d *routing.Desk, r routing.Request) routing.Assignment {
	t.Helper()
	a, _, err := d.Assign(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestPlaceFollowsCountryAndSeatsAndSaysWhy(t *testing.T) {
	desk := open(t, filepath.Join(t.TempDir(), "r.db"), shipped(t))
	tests := []struct {
		req                routing.Request
		territory, segment string
		reason             string
	}{
		{routing.Request{Country: "DE", Seats: 49}, "EMEA", "small", "49 seats make segment small"},
		{routing.Request{Country: "us", Seats: 50}, "Americas", "mid-market", "US is in territory Americas"},
		{routing.Request{Country: "JP", Seats: 1000}, "APAC", "enterprise", "it is the turn of APAC desk 1"},
		{routing.Request{Country: "", Seats: 0}, "Global", "small", "the country is not known"},
		{routing.Request{Country: "AQ", Seats: 7}, "Global", "small", "no territory has AQ"},
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
		got.WriteString(assign(t, desk, routing.Request{LeadID: fmt.Sprint(i)}).Owner)
		if err := desk.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if want := "aabacaa" + "aabacaa"; got.String() != want { // the sequence that nginx documents for 5, 1, 1
		t.Errorf("got %s, want %s", got.String(), want)
	}
}

func TestALeadIsAssignedOnceHoweverOftenItIsAsked(t *testing.T) {
	desk := open(t, filepath.Join(t.TempDir(), "r.db"), shipped(t))
	var wg sync.WaitGroup
	owners := make([]string, 50)
	for i := range owners {
		wg.Go(func() {
			a, _, err := desk.Assign(t.Context(), routing.Request{LeadID: "one", Country: "DE", Seats: i + 1})
			if err != nil {
				t.Error(err)
			}
			owners[i] = a.Owner
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
	for _, o := range owners {
		if o != owners[0] || sum != 1 {
			t.Fatalf("owners %v, %d assignments", owners, sum)
		}
	}
}

func TestAnAccountKeepsItsOwner(t *testing.T) {
	desk := open(t, filepath.Join(t.TempDir(), "r.db"), shipped(t))
	first := assign(t, desk, routing.Request{LeadID: "1", Account: "stripe.com", Country: "US", Seats: 5})
	for i := range 5 {
		a := assign(t, desk, routing.Request{LeadID: fmt.Sprint("x", i), Account: "stripe.com", Country: "DE", Seats: 5000})
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
	srv := httptest.NewServer(open(t, filepath.Join(t.TempDir(), "r.db"), shipped(t)).Handler())
	defer srv.Close()
	c := contracttest.Load(t, "../../openapi.yaml")
	for _, test := range []struct {
		body string
		want int
	}{{`{"lead_id":"1","country":"DE"}`, 201}, {`{"lead_id":"1"}`, 200}, {`{}`, 422}, {`[]`, 400}} {
		resp, err := c.Client().Post(srv.URL+"/api/routing/assignments", "application/json", strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != test.want {
			t.Errorf("%s: %s", test.body, resp.Status)
		}
	}
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
