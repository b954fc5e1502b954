package leads_test

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.com/gtm/internal/eventtest"
	"example.com/gtm/services/leads/internal/leads"
)

func open(t *testing.T, path string) *leads.Store {
	t.Helper()
	s, err := leads.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func fresh(t *testing.T) *leads.Store {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "leads.db"))
}

func submission(t *testing.T, email string) leads.Submission {
	t.Helper()
	s, err := leads.Submission{Email: email, FirstName: "Ada", LastName: "Kim", Interest: "demo", Seats: 20}.Normal()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func accept(t *testing.T, s *leads.Store, email string) leads.Accepted {
	t.Helper()
	a, err := s.Accept(t.Context(), 0, []leads.Submission{submission(t, email)})
	if err != nil {
		t.Fatal(err)
	}
	return a[0]
}

func TestOnePersonIsOneLeadHoweverTheAddressIsSpelled(t *testing.T) {
	s := fresh(t)
	for _, spellings := range [][]string{
		{"Ada@Stripe.com", "ada@stripe.com", "ADA+news@stripe.COM"},
		{"a.d.a@gmail.com", "ada@googlemail.com", "ada+x@gmail.com"},
	} {
		first := accept(t, s, spellings[0])
		for _, other := range spellings[1:] {
			if again := accept(t, s, other); again.ID != first.ID || !again.Duplicate {
				t.Errorf("%s is not %s", other, spellings[0])
			}
		}
	}
	if a, b := accept(t, s, "a.b@stripe.com"), accept(t, s, "ab@stripe.com"); a.ID == b.ID {
		t.Error("dots matter elsewhere than at Gmail")
	}
}

func TestWhatAPersonSendsAgainIsKept(t *testing.T) {
	s := fresh(t)
	first := accept(t, s, "ada@stripe.com")
	for _, message := range []string{"please call", "please call", "today"} {
		sub := submission(t, "ada+x@stripe.com")
		sub.Message = message
		if _, err := s.Accept(t.Context(), 0, []leads.Submission{sub}); err != nil {
			t.Fatal(err)
		}
	}
	accept(t, s, "ada@stripe.com") // the same again
	lead, err := s.Get(t.Context(), first.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(lead.Later) != 2 || lead.Later[0].Message != "today" || lead.Later[1].Message != "please call" || lead.Message != "" {
		t.Errorf("kept %+v", lead.Later)
	}
}

func TestTheSamePersonSentManyTimesAtOnceIsOneLead(t *testing.T) {
	s := fresh(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids, news := map[string]bool{}, 0
	for range 50 {
		wg.Go(func() {
			a, err := s.Accept(t.Context(), 0, []leads.Submission{submission(t, "ada@stripe.com")})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids[a[0].ID] = true
			if !a[0].Duplicate {
				news++
			}
		})
	}
	wg.Wait()
	if len(ids) != 1 || news != 1 {
		t.Errorf("%d leads, %d of them new", len(ids), news)
	}
}

// deliver sends an event of the pipeline.
func deliver(t *testing.T, s *leads.Store, topic, id string, data map[string]any) int {
	t.Helper()
	return eventtest.Deliver(t, leads.Handler(s), "/events/"+topic, id, data)
}

func get(t *testing.T, s *leads.Store, id string) leads.Lead {
	t.Helper()
	lead, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return lead
}

// pipeline are the events about one lead, as the other services publish them.
func pipeline(id string) map[string]map[string]any {
	ref := map[string]any{"id": id}
	return map[string]map[string]any{
		"lead-enriched": {
			"lead": ref, "company": map[string]any{"domain": "stripe.com"},
			"facts": map[string]any{"company": map[string]any{"value": "Stripe", "source": "test"}},
		},
		"lead-qualified": {"lead": ref, "judgement": map[string]any{"verdict": "MQL", "score": 70, "reasons": []string{"x"}}},
		"lead-routed":    {"lead": ref, "assignment": map[string]any{"owner": "emea-1", "owner_name": "EMEA desk 1"}},
		"deal-changed":   {"leads": []string{id}, "opportunity_id": 7, "stage": "new"},
	}
}

func TestALeadAndItsEventAreStoredTogetherAndOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leads.db")
	s := open(t, path)
	id := accept(t, s, "ada@mail.stripe.com").ID
	accept(t, s, "ada@mail.stripe.com") // the same person: no second lead, no second event
	bad := submission(t, "ben@stripe.com")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Accept(ctx, 0, []leads.Submission{bad}); err == nil {
		t.Fatal("accepted after the client had gone")
	}
	events := eventtest.Outbox(t, path)
	if len(events) != 1 || events[0].Topic != "lead.captured" || events[0].Key != id {
		t.Fatalf("published %+v", events)
	}
	eventtest.Conforms(t, "../../events/lead.captured.json", events[0].Data)
	if text := string(events[0].Data); !strings.Contains(text, `"company_domain":"stripe.com"`) {
		t.Errorf("published %s", text)
	}
}

func TestEventsInAnyOrderMakeTheSameLead(t *testing.T) {
	s := fresh(t)
	for _, order := range [][]string{
		{"lead-enriched", "lead-qualified", "lead-routed", "deal-changed"},
		{"deal-changed", "lead-routed", "lead-qualified", "lead-enriched"},
		{"lead-qualified", "deal-changed", "lead-enriched", "lead-routed"},
	} {
		id := accept(t, s, order[0]+"@stripe.com").ID
		for _, topic := range order {
			if code := deliver(t, s, topic, topic+id, pipeline(id)[topic]); code/100 != 2 {
				t.Fatalf("%s: %d", topic, code)
			}
		}
		l := get(t, s, id)
		if l.State != leads.StateDone || l.Verdict != "MQL" || l.Owner != "emea-1" || l.OpportunityID != 7 || l.Stage != "new" ||
			l.Account != "stripe.com" || l.DoneAt == nil || len(l.Facts) != 1 {
			t.Errorf("%v: got %+v", order, l)
		}
	}
}

func TestAStageThatWasDeliveredAgainDoesNotComeBack(t *testing.T) {
	s := fresh(t)
	id := accept(t, s, "ada@stripe.com").ID
	stage := func(event, name string) {
		deliver(t, s, "deal-changed", event, map[string]any{"leads": []string{id}, "opportunity_id": 7, "stage": name})
	}
	stage("1", "new")
	stage("2", "discovery")
	stage("1", "new")
	if l := get(t, s, id); l.Stage != "discovery" {
		t.Errorf("the stage is %q again", l.Stage)
	}
}

func TestALeadThatIsNotForSalesIsDoneWhenItIsJudged(t *testing.T) {
	s := fresh(t)
	id := accept(t, s, "ada@gmail.com").ID
	deliver(t, s, "lead-qualified", "1", map[string]any{
		"lead": map[string]any{"id": id}, "judgement": map[string]any{"verdict": "nurture"},
	})
	if l := get(t, s, id); l.State != leads.StateDone || l.DoneAt == nil {
		t.Errorf("got %+v", l)
	}
}

func TestAnEventAboutALeadThatIsNotKnownIsADeadLetter(t *testing.T) {
	if code := deliver(t, fresh(t), "lead-routed", "1", pipeline("ld_none")["lead-routed"]); code != http.StatusUnprocessableEntity {
		t.Errorf("got %d", code)
	}
}

func TestNormalRefusesWhatIsNoLeadAndSaysWhy(t *testing.T) {
	for want, s := range map[string]leads.Submission{
		"email: is missing":                         {},
		"is no email address":                       {Email: "a b@c.example"},
		"has no web domain":                         {Email: "a@localhost"},
		`"Ada <ada@b.example>"`:                     {Email: "Ada <ada@b.example>"},
		"country: \"GERMANY\" is no code":           {Email: "a@b.example", Country: "Germany"},
		"first_name: is longer than 200 characters": {Email: "a@b.example", FirstName: strings.Repeat("é", 201)},
		"last_name: has control characters":         {Email: "a@b.example", LastName: "x\x00y"},
		"company: is not UTF-8":                     {Email: "a@b.example", Company: "\xff"},
		"domain: \"javascript:1\" is no web domain": {Email: "a@b.example", Domain: "javascript:1"},
		"seats: -1":                                 {Email: "a@b.example", Seats: -1},
	} {
		_, err := s.Normal()
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
