package crm_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/gtm/internal/contracttest"
	"example.com/gtm/services/crm/internal/crm"
)

func open(t *testing.T) *crm.Store {
	t.Helper()
	s, err := crm.Open(t.Context(), filepath.Join(t.TempDir(), "crm.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func lead(id, email string) crm.Lead {
	return crm.Lead{
		LeadID: id, Email: email, Name: "Ada Kim", JobTitle: "Head of Platform", Domain: "stripe.com",
		Company: "Stripe", Country: "US", Owner: "emea-1", Opportunity: true, Synthetic: true,
	}
}

func take(t *testing.T, s *crm.Store, l crm.Lead) crm.Taken {
	t.Helper()
	taken, err := s.Intake(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return taken
}

func TestALeadTakenTwiceChangesNothing(t *testing.T) {
	s := open(t)
	first := take(t, s, lead("1", "ada@stripe.com"))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if again, err := s.Intake(t.Context(), lead("1", "ada@stripe.com")); err != nil || again != first {
				t.Errorf("got %+v %v, want %+v", again, err, first)
			}
		})
	}
	wg.Wait()
	deals, _, err := s.Opportunities(t.Context(), crm.Filter{Limit: 10})
	if err != nil || len(deals) != 1 {
		t.Errorf("%d deals, %v", len(deals), err)
	}
}

func TestPeopleOfOneCompanyShareItsOpenDealAsBuyingCommittee(t *testing.T) {
	s := open(t)
	first := take(t, s, lead("1", "ada@stripe.com"))
	other := lead("2", "ben@stripe.com")
	other.JobTitle = "Procurement Manager"
	second := take(t, s, other)
	if first.OpportunityID != second.OpportunityID || first.AccountID != second.AccountID {
		t.Fatalf("got %+v and %+v", first, second)
	}
	deal, err := s.Deal(t.Context(), first.OpportunityID)
	if err != nil || len(deal.Committee) != 2 || deal.Committee[0].Role != crm.RoleDecisionMaker ||
		deal.Committee[1].Role != crm.RoleProcurement {
		t.Errorf("got %+v, %v", deal.Committee, err)
	}
}

func TestStagesChangeOnlyAlongLegalTransitions(t *testing.T) {
	s := open(t)
	deal := take(t, s, lead("1", "ada@stripe.com")).OpportunityID
	legal := []crm.Stage{
		crm.StageDiscovery, crm.StageClosedLost, crm.StageDiscovery, crm.StageProposal, crm.StageNegotiation, crm.StageClosedWon,
	}
	from := crm.StageNew
	for _, to := range legal {
		for _, stage := range crm.Stages() {
			if allowed := fmt.Sprint(crm.Transitions(from)); stage != from && !strings.Contains(allowed, string(stage)) {
				if err := s.Move(t.Context(), deal, stage, ""); !errors.Is(err, crm.ErrTransition) {
					t.Errorf("%s to %s: %v", from, stage, err)
				}
			}
		}
		if err := s.Move(t.Context(), deal, to, "because"); err != nil {
			t.Fatalf("%s to %s: %v", from, to, err)
		}
		from = to
	}
	got, err := s.Deal(t.Context(), deal)
	if err != nil || len(got.History) != len(legal) || len(got.Next) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestALostDealIsNotTakenUpAgainBesideAnOpenOne(t *testing.T) {
	s := open(t)
	lost := take(t, s, lead("1", "ada@stripe.com")).OpportunityID
	if err := s.Move(t.Context(), lost, crm.StageClosedLost, "budget"); err != nil {
		t.Fatal(err)
	}
	if fresh := take(t, s, lead("2", "ben@stripe.com")).OpportunityID; fresh == lost {
		t.Error("a new lead joined a deal that is lost")
	}
	if err := s.Move(t.Context(), lost, crm.StageDiscovery, ""); !errors.Is(err, crm.ErrOpenDeal) {
		t.Errorf("got %v", err)
	}
}

func TestPagesHoldEveryRowOnceAndSearchTakesTextLiterally(t *testing.T) {
	s := open(t)
	for i := range 25 {
		l := lead(fmt.Sprint(i), fmt.Sprintf("p%d@c%d.example", i, i))
		l.Domain, l.Company = fmt.Sprintf("c%d.example", i), fmt.Sprintf("100%% Company_%d", i)
		take(t, s, l)
	}
	seen := map[int64]bool{}
	f := crm.Filter{Limit: 10}
	for more := true; more; {
		var page []crm.Account
		var err error
		if page, more, err = s.Accounts(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		for _, a := range page {
			if seen[a.ID] {
				t.Errorf("account %d comes twice", a.ID)
			}
			seen[a.ID] = true
			f.Before = a.ID
		}
	}
	if len(seen) != 25 {
		t.Errorf("%d of 25 accounts", len(seen))
	}
	for text, want := range map[string]int{"100% company_7": 1, "1%0": 0, "C_mpany": 0, "'": 0, "c3.example": 1} {
		if found, _, err := s.Accounts(t.Context(), crm.Filter{Search: text, Limit: 50}); err != nil || len(found) != want {
			t.Errorf("search %q: %d found, want %d (%v)", text, len(found), want, err)
		}
	}
}

func TestAReaderOfChangesMissesNone(t *testing.T) {
	s := open(t)
	srv := httptest.NewServer(crm.Handler(s))
	defer srv.Close()
	deal := take(t, s, lead("lead-1", "ada@stripe.com")).OpportunityID
	got := make(chan string)
	go func() {
		resp, err := srv.Client().Get(srv.URL + "/changes?after=0&wait=20")
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		got <- string(body)
	}()
	if err := s.Move(t.Context(), deal, crm.StageDiscovery, ""); err != nil {
		t.Fatal(err)
	}
	select {
	case body := <-got:
		if !strings.Contains(body, `"number":1,"stage":"discovery","leads":["lead-1"]`) {
			t.Errorf("got %s", body)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("the reader was not told")
	}
}

func TestTheContractIsTrue(t *testing.T) {
	s := open(t)
	srv := httptest.NewServer(crm.Handler(s))
	defer srv.Close()
	c := contracttest.Load(t, "../../openapi.yaml")
	call := func(method, path, body string, want int) {
		t.Helper()
		req, err := http.NewRequest(method, srv.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want {
			t.Errorf("%s %s %s: %s, want %d", method, path, body, resp.Status, want)
		}
	}
	body, err := json.Marshal(lead("1", "ada@stripe.com"))
	if err != nil {
		t.Fatal(err)
	}
	call("POST", "/intake", string(body), 200)
	call("POST", "/intake", strings.Replace(string(body), "ada@", "ben@", 1), 200)
	call("POST", "/intake", `{"lead_id":"x","email":"nobody"}`, 422)
	call("GET", "/changes", "", 200)
	call("GET", "/changes?after=x", "", 400)
	for _, name := range []string{"accounts", "contacts", "opportunities"} {
		call("GET", "/api/crm/"+name+"?q=s&limit=1", "", 200)
		call("GET", "/api/crm/"+name+"?limit=many", "", 400)
	}
	call("GET", "/api/crm/accounts/1", "", 200)
	call("GET", "/api/crm/accounts/77", "", 404)
	call("GET", "/api/crm/opportunities/1", "", 200)
	call("GET", "/api/crm/opportunities/zzz", "", 404)
	call("PUT", "/api/crm/opportunities/1/stage", `{"stage":"discovery","reason":"met"}`, 200)
	call("PUT", "/api/crm/opportunities/1/stage", `{"stage":"closed_won"}`, 409)
	call("PUT", "/api/crm/opportunities/1/stage", `{"stage":"dreaming"}`, 422)
	call("PUT", "/api/crm/opportunities/1/committee/1", `{"role":"champion"}`, 200)
	call("PUT", "/api/crm/opportunities/1/committee/99", `{"role":"champion"}`, 404)
	call("DELETE", "/api/crm/opportunities/1/committee/1", "", 200)
	c.AllSeen()
}
