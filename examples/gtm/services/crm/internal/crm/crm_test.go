package crm_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.com/gtm/internal/contracttest"
	"example.com/gtm/internal/eventtest"
	"example.com/gtm/services/crm/internal/crm"
)

func open(t *testing.T) *crm.Store {
	t.Helper()
	s, _ := openFile(t)
	return s
}

func openFile(t *testing.T) (*crm.Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "crm.db")
	s, err := crm.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, path
}

func lead(id, email string) crm.Lead {
	return crm.Lead{
		LeadID: id, Email: email, Name: "Ada Kim", JobTitle: "Head of Platform", Domain: "stripe.com",
		Company: "Stripe", Country: "US", Owner: "emea-1",
	}
}

// routed is the event about a lead that has an owner.
func routed(l crm.Lead) map[string]any {
	first, last, _ := strings.Cut(l.Name, " ")
	return map[string]any{
		"lead": map[string]any{
			"id": l.LeadID, "email": l.Email, "first_name": first, "last_name": last, "job_title": l.JobTitle, "synthetic": true, "more": 1,
		},
		"company":    map[string]any{"domain": l.Domain, "name": l.Company, "country": l.Country},
		"judgement":  map[string]any{"verdict": "MQL"},
		"assignment": map[string]any{"owner": l.Owner},
	}
}

func deliver(t *testing.T, s *crm.Store, topic, id string, data any) {
	t.Helper()
	if code := eventtest.Deliver(t, crm.Handler(s), "/events/"+topic, id, data); code/100 != 2 {
		t.Errorf("%s %s: answered with %d", topic, id, code)
	}
}

// take delivers lead.routed, and returns the newest deal.
func take(t *testing.T, s *crm.Store, l crm.Lead) crm.Opportunity {
	t.Helper()
	deliver(t, s, "lead-routed", "routed-"+l.LeadID, routed(l))
	deals, _, err := s.Opportunities(t.Context(), crm.Filter{Limit: 1})
	if err != nil || len(deals) != 1 {
		t.Fatal(deals, err)
	}
	return deals[0]
}

func TestALeadThatIsDeliveredOftenIsTakenAndPublishedOnce(t *testing.T) {
	s, path := openFile(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { deliver(t, s, "lead-routed", fmt.Sprint(i%2), routed(lead("1", "ada@stripe.com"))) })
	}
	wg.Wait()
	deals, _, err := s.Opportunities(t.Context(), crm.Filter{Limit: 10})
	if err != nil || len(deals) != 1 {
		t.Errorf("%d deals, %v", len(deals), err)
	}
	if events := eventtest.Outbox(t, path); len(events) != 1 {
		t.Errorf("published %+v", events)
	}
}

func TestWhoIsToBeKeptInTouchWithIsAContactWithoutADeal(t *testing.T) {
	s, path := openFile(t)
	for _, verdict := range []string{"nurture", "MQL", "disqualified"} {
		e := routed(lead(verdict, verdict+"@stripe.com"))
		e["judgement"] = map[string]any{"verdict": verdict}
		deliver(t, s, "lead-qualified", verdict, e)
	}
	contacts, _, err := s.Contacts(t.Context(), crm.Filter{Limit: 10})
	if err != nil || len(contacts) != 1 || contacts[0].Email != "nurture@stripe.com" || contacts[0].Name != "Ada Kim" || !contacts[0].Synthetic {
		t.Errorf("got %+v %v", contacts, err)
	}
	if events := eventtest.Outbox(t, path); len(events) != 0 {
		t.Errorf("published %+v", events)
	}
}

func TestASignalIsKeptWithTheCompanyAlsoBeforeItIsAnAccount(t *testing.T) {
	s := open(t)
	signal := map[string]any{"rule": "pricing", "text": "saw the prices", "company": "Stripe.com", "at": "2026-11-22T10:00:00Z"}
	deliver(t, s, "signal-detected", "1", signal)
	deliver(t, s, "signal-detected", "1", signal)
	deliver(t, s, "signal-detected", "2", map[string]any{"rule": "pricing", "text": "who is it?", "at": "2026-11-22T10:00:00Z"})
	account, err := s.Account(t.Context(), take(t, s, lead("1", "ada@stripe.com")).AccountID)
	if err != nil || len(account.Activities) != 1 || account.Activities[0].Text != "saw the prices" {
		t.Errorf("got %+v %v", account, err)
	}
}

func TestPeopleOfOneCompanyShareItsOpenDealAsBuyingCommittee(t *testing.T) {
	s := open(t)
	first := take(t, s, lead("1", "ada@stripe.com"))
	other := lead("2", "ben@stripe.com")
	other.JobTitle = "Procurement Manager"
	second := take(t, s, other)
	if first.ID != second.ID || first.AccountID != second.AccountID {
		t.Fatalf("got %+v and %+v", first, second)
	}
	deal, err := s.Deal(t.Context(), first.ID)
	if err != nil || len(deal.Committee) != 2 || deal.Committee[0].Role != crm.RoleDecisionMaker ||
		deal.Committee[1].Role != crm.RoleProcurement {
		t.Errorf("got %+v, %v", deal.Committee, err)
	}
}

func TestStagesChangeOnlyAlongLegalTransitions(t *testing.T) {
	s := open(t)
	deal := take(t, s, lead("1", "ada@stripe.com")).ID
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
	lost := take(t, s, lead("1", "ada@stripe.com")).ID
	if err := s.Move(t.Context(), lost, crm.StageClosedLost, "budget"); err != nil {
		t.Fatal(err)
	}
	if fresh := take(t, s, lead("2", "ben@stripe.com")).ID; fresh == lost {
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

func TestEveryChangeOfADealIsPublishedInOrderWithItsLeads(t *testing.T) {
	s, path := openFile(t)
	deal := take(t, s, lead("1", "ada@stripe.com")).ID
	take(t, s, lead("2", "ben@stripe.com"))
	if err := s.Move(t.Context(), deal, crm.StageDiscovery, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Move(t.Context(), deal, crm.StageDiscovery, ""); err != nil { // no change, no event
		t.Fatal(err)
	}
	events := eventtest.Outbox(t, path)
	want := []string{
		`{"opportunity_id":1,"stage":"new","leads":["1"]}`, `{"opportunity_id":1,"stage":"new","leads":["2"]}`,
		`{"opportunity_id":1,"stage":"discovery","leads":["1","2"]}`,
	}
	if len(events) != len(want) {
		t.Fatalf("published %+v", events)
	}
	for i, e := range events {
		eventtest.Conforms(t, "../../events/deal.changed.json", e.Data)
		if string(e.Data) != want[i] || e.Key != "deal-1" {
			t.Errorf("published %s of key %s, want %s", e.Data, e.Key, want[i])
		}
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
	take(t, s, lead("1", "ada@stripe.com"))
	deliver(t, s, "signal-detected", "1", map[string]any{"rule": "r", "text": "x", "company": "stripe.com", "at": "2026-11-22T10:00:00Z"})
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
