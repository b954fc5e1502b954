package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"example.com/gtm/internal/contracttest"
	"example.com/gtm/services/web/internal/web"
	"github.com/atollhq/atoll/sdk"
)

const evil = `<script>alert("1")</script>`

// leads answers what the leads service would.
type leads struct {
	fail error
	sent map[string]any
}

func (l *leads) JSON(_ context.Context, method, path string, in, out any) error {
	if l.fail != nil {
		return l.fail
	}
	name, err := json.Marshal(evil)
	if err != nil {
		return err
	}
	one := `{"id":"ld_1","email":"ada@stripe.com","first_name":` + string(name) + `,"job_title":` + string(name) +
		`,"company":` + string(name) + `,"message":` + string(name) + `,"state":"done","verdict":"MQL","score":71,"reasons":[` +
		string(name) + `],"owner":"emea-1","owner_name":"EMEA desk 1","routed_because":["x"],"stage":"new","facts":{"country":{"value":"US","source":` +
		string(name) + `}},"created_at":"2026-11-22T10:00:00Z"}`
	switch {
	case method == http.MethodPost:
		if in != nil {
			l.sent, _ = in.(map[string]any)
		}
		return nil
	case strings.HasPrefix(path, "/api/leads?"):
		return json.Unmarshal([]byte(`{"leads":[`+one+`],"number":7,"next":"ld_1"}`), out)
	case path == "/api/leads/ld_1":
		return json.Unmarshal([]byte(one), out)
	}
	return sdk.Error(http.StatusNotFound, "not-found", "There is no such lead or import.")
}

func serve(t *testing.T, l *leads) (*httptest.Server, *http.Client, *contracttest.Contract) {
	t.Helper()
	h, err := web.Handler(l, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c := contracttest.Load(t, "../../openapi.yaml")
	return srv, c.Client(), c
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestALeadNamedScriptStaysText(t *testing.T) {
	srv, c, _ := serve(t, &leads{})
	for _, path := range []string{"/leads", "/leads/ld_1", "/leads?q=" + url.QueryEscape(evil)} {
		_, body := get(t, c, srv.URL+path)
		if strings.Contains(body, "<script>alert") {
			t.Errorf("%s: what a lead says of itself is markup", path)
		}
		if !strings.Contains(body, "&lt;script&gt;alert") {
			t.Errorf("%s: the text is missing", path)
		}
	}
}

func TestEveryAnswerForbidsForeignScripts(t *testing.T) {
	srv, c, _ := serve(t, &leads{})
	for _, path := range []string{"/", "/leads", "/leads/ld_1", "/leads/none", "/nowhere", "/static/style.css"} {
		req, _ := http.NewRequest(http.MethodGet, srv.URL+path, nil)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		policy := resp.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'; script-src 'self'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: %q", path, policy)
		}
	}
	if _, body := get(t, c, srv.URL+"/leads"); strings.Contains(body, " style=") || strings.Contains(body, " on") && strings.Contains(body, "onclick") {
		t.Error("the page has inline style or handlers, which the policy forbids")
	}
}

func TestTheFormReachesTheLeadsServiceAndKeepsItsValuesWhenRefused(t *testing.T) {
	l := &leads{}
	srv, c, _ := serve(t, l)
	form := url.Values{"email": {"ada@stripe.com"}, "seats": {"20"}, "interest": {"demo"}, "state": {"done"}}
	resp, err := c.PostForm(srv.URL+"/", form)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSeeOther || l.sent["email"] != "ada@stripe.com" || l.sent["seats"] != 20 || l.sent["state"] != nil {
		t.Errorf("got %s, sent %v", resp.Status, l.sent)
	}
	l.fail = sdk.Error(http.StatusUnprocessableEntity, "bad-email", `The field "email" is odd.`)
	form.Set("company", evil)
	resp, err = c.PostForm(srv.URL+"/", form)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 422 || !strings.Contains(string(body), "is odd.") || !strings.Contains(string(body), `value="ada@stripe.com"`) ||
		strings.Contains(string(body), "<script>alert") {
		t.Errorf("got %s %s", resp.Status, body)
	}
	l.fail = errors.New("dial tcp 127.0.0.1:4711: connection refused")
	resp, err = c.PostForm(srv.URL+"/", form)
	if err != nil {
		t.Fatal(err)
	}
	body, _ = io.ReadAll(resp.Body)
	if resp.StatusCode != 503 || !strings.Contains(string(body), `value="ada@stripe.com"`) || strings.Contains(string(body), "4711") {
		t.Errorf("while the service is away: got %s %s", resp.Status, body)
	}
}

func TestTheLandingPageHoldsTheWholeForm(t *testing.T) {
	srv, c, _ := serve(t, &leads{})
	_, body := get(t, c, srv.URL+"/")
	for _, name := range []string{"email", "first_name", "last_name", "company", "job_title", "country", "seats", "interest", "message"} {
		if !strings.Contains(body, `name="`+name+`"`) {
			t.Errorf("there is no field %s", name)
		}
	}
}

func TestAServiceThatIsAwayGivesAPageThatHelpsAndNoInternalText(t *testing.T) {
	srv, c, _ := serve(t, &leads{fail: errors.New("dial tcp 127.0.0.1:4711: connection refused")})
	resp, body := get(t, c, srv.URL+"/leads")
	if resp.StatusCode != 503 || strings.Contains(body, "4711") || !strings.Contains(body, "try again") {
		t.Errorf("got %s %s", resp.Status, body)
	}
}

func TestAnotherSiteCannotSubmitTheForm(t *testing.T) {
	l := &leads{}
	srv, c, _ := serve(t, l)
	req, err := http.NewRequest(http.MethodPost, srv.URL+"/nowhere", strings.NewReader("email=a%40b.example"))
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Path = "/"
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden || l.sent != nil {
		t.Errorf("got %s, sent %v", resp.Status, l.sent)
	}
	_ = c
}

func TestTheContractIsTrue(t *testing.T) {
	srv, c, contract := serve(t, &leads{})
	for path, want := range map[string]int{"/": 200, "/thanks": 200, "/leads": 200, "/leads/ld_1": 200, "/leads/none": 404} {
		if resp, _ := get(t, c, srv.URL+path); resp.StatusCode != want {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	for _, path := range []string{"/"} {
		resp, err := c.PostForm(srv.URL+path, url.Values{"email": {"a@b.example"}})
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusSeeOther {
			t.Errorf("POST %s: %s", path, resp.Status)
		}
	}
	contract.AllSeen()
}
