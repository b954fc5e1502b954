package qualification_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"example.com/gtm/internal/contracttest"
	"example.com/gtm/internal/eventtest"
	"example.com/gtm/services/qualification/internal/qualification"
	"github.com/atollhq/atoll/sdk"
)

// shipped are the rules that the service runs with.
func shipped(t *testing.T) qualification.Rules {
	t.Helper()
	text, err := os.ReadFile("../../rules.json")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := qualification.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func TestJudgementsFollowTheRulesAndSayWhy(t *testing.T) {
	head := qualification.Subject{
		EmailKind: "work", Company: "Stripe", Country: "US", JobTitle: "Head of Platform", Seats: 80, Interest: "demo",
	}
	tests := map[string]struct {
		change  func(*qualification.Subject)
		verdict qualification.Verdict
		reason  string
	}{
		"fit and intent":             {func(*qualification.Subject) {}, "MQL", "asked for a demo (+50)"},
		"several people":             {func(s *qualification.Subject) { s.AccountContacts = 2; s.Interest = "webinar" }, "MQA", "others of the same company"},
		"no intent":                  {func(s *qualification.Subject) { s.Interest = "newsletter" }, "nurture", "intent is 10, 35 are needed"},
		"no fit":                     {func(s *qualification.Subject) { *s = qualification.Subject{Interest: "demo", EmailKind: "free"} }, "nurture", "fit is 0, 50 are needed"},
		"disposable":                 {func(s *qualification.Subject) { s.EmailKind = "disposable" }, "disqualified", "disposable"},
		"a job":                      {func(s *qualification.Subject) { s.Interest = "job" }, "disqualified", "looks for a job"},
		"word, not part of one":      {func(s *qualification.Subject) { s.JobTitle = "Studentship Director" }, "MQL", "decides on budgets"},
		"upper case":                 {func(s *qualification.Subject) { s.JobTitle = "STUDENT" }, "disqualified", "does not buy"},
		"many people, but none fits": {func(s *qualification.Subject) { *s = qualification.Subject{AccountContacts: 9, Interest: "demo"} }, "nurture", "fit is 0"},
	}
	rules := shipped(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := head
			test.change(&s)
			j := rules.Judge(s)
			if j.Verdict != test.verdict || !strings.Contains(strings.Join(j.Reasons, "; "), test.reason) {
				t.Errorf("got %+v, want %s because %q", j, test.verdict, test.reason)
			}
		})
	}
}

func TestOnlyTheFirstMatchingRuleOfAFieldCounts(t *testing.T) {
	j := shipped(t).Judge(qualification.Subject{Seats: 5000})
	if j.Fit != 20 {
		t.Errorf("5000 seats give %d points, want those of the first rule, 20", j.Fit)
	}
}

func TestRulesThatMakeNoSenseAreRefusedByName(t *testing.T) {
	for text, want := range map[string]string{
		`{"fit":[{"when":{"field":"shoe_size","known":true},"reason":"x"}]}`:               `fit[0]: the field "shoe_size" is not known`,
		`{"intent":[{"when":{"field":"interest"},"reason":"x"}]}`:                          "intent[0]: one of in,",
		`{"fit":[{"when":{"field":"company","at_least":3},"reason":"x"}]}`:                 "cannot be compared",
		`{"fit":[{"when":{"field":"company","known":true}}]}`:                              "the reason is missing",
		`{"disqualify":[{"when":{"field":"seats","known":true},"reason":"x"}],"trust":[]}`: "trust",
	} {
		if _, err := qualification.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

// enriched is an event about a lead of a company that fits.
func enriched(domain string) map[string]any {
	return map[string]any{
		"lead": map[string]any{
			"id": "ld_1", "email": "ada@stripe.com", "job_title": "Head of Platform", "seats": 80, "interest": "webinar", "more": 1,
		},
		"company": map[string]any{"domain": domain, "name": "Stripe", "country": "US"},
		"facts":   map[string]any{"email_kind": map[string]any{"value": "work", "source": "lists"}},
	}
}

// desk is qualification with a bus and a leads service that remember what they were asked.
type desk struct {
	handler   http.Handler
	published []sdk.Event
	asked     []string
	broken    error
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{}
	d.handler = qualification.Handler(shipped(t), d, d)
	return d
}

func (d *desk) Publish(_ context.Context, topic string, events ...sdk.Event) error {
	if topic != "lead.qualified" {
		return errors.New("published to " + topic)
	}
	d.published = append(d.published, events...)
	return d.broken
}

func (d *desk) JSON(_ context.Context, _, path string, _, out any) error {
	d.asked = append(d.asked, path)
	return json.Unmarshal([]byte(`{"contacts":2}`), out)
}

func TestALeadIsPublishedWithItsJudgementAndWhatCameBefore(t *testing.T) {
	d := newDesk(t)
	if code := eventtest.Deliver(t, d.handler, "/events/lead-enriched", "1", enriched("stripe.com")); code/100 != 2 {
		t.Fatalf("got %d", code)
	}
	e := d.published[0]
	eventtest.Conforms(t, "../../events/lead.qualified.json", e.Data)
	var got struct {
		Lead      map[string]any
		Company   map[string]any
		Judgement qualification.Judgement
	}
	if err := e.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if e.Key != "ld_1" || got.Judgement.Verdict != qualification.MQA || got.Lead["more"] != 1.0 || got.Company["name"] != "Stripe" {
		t.Errorf("published %s of key %s", e.Data, e.Key)
	}
	if len(d.asked) != 1 || d.asked[0] != "/companies/stripe.com" {
		t.Errorf("asked %v for people of the same company", d.asked)
	}
}

func TestAnEventThatComesAgainIsPublishedUnderTheSameID(t *testing.T) {
	d := newDesk(t)
	for range 2 {
		eventtest.Deliver(t, d.handler, "/events/lead-enriched", "1", enriched(""))
	}
	if d.published[0].ID == "" || d.published[0].ID != d.published[1].ID || len(d.asked) != 0 {
		t.Errorf("ids %q and %q, asked %v", d.published[0].ID, d.published[1].ID, d.asked)
	}
}

func TestWhatCouldNotBePublishedIsDeliveredAgainAndNonsenseIsNot(t *testing.T) {
	d := newDesk(t)
	d.broken = errors.New("the bus is away")
	if code := eventtest.Deliver(t, d.handler, "/events/lead-enriched", "1", enriched("")); code != http.StatusInternalServerError {
		t.Errorf("got %d", code)
	}
	if code := eventtest.Deliver(t, d.handler, "/events/lead-enriched", "1", map[string]any{"lead": 7}); code != http.StatusUnprocessableEntity {
		t.Errorf("got %d", code)
	}
}

func TestTheContractIsTrue(t *testing.T) {
	srv := httptest.NewServer(newDesk(t).handler)
	defer srv.Close()
	c := contracttest.Load(t, "../../openapi.yaml")
	resp, err := c.Client().Get(srv.URL + "/rules")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	c.AllSeen()
}
