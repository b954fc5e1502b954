package qualification_test

import (
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"example.com/gtm/internal/contracttest"
	"example.com/gtm/services/qualification/internal/qualification"
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

func TestTheContractIsTrue(t *testing.T) {
	srv := httptest.NewServer(qualification.Handler(shipped(t)))
	defer srv.Close()
	c := contracttest.Load(t, "../../openapi.yaml")
	for body, want := range map[string]int{
		`{"lead_id":"1","email_kind":"work","interest":"demo"}`: 200, `{"lead_id":"1","email_kind":"disposable"}`: 200,
		`{}`: 422, `{`: 400, `{"nonsense":1}`: 400,
	} {
		resp, err := c.Client().Post(srv.URL+"/qualify", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want {
			t.Errorf("%s: %s", body, resp.Status)
		}
	}
	if _, err := c.Client().Get(srv.URL + "/rules"); err != nil {
		t.Fatal(err)
	}
	c.AllSeen()
}
