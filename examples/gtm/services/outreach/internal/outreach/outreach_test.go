package outreach_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"example.com/gtm/internal/contracttest"
	"example.com/gtm/internal/eventtest"
	"example.com/gtm/services/outreach/internal/outreach"
)

// postman is a mail server that remembers.
type postman struct {
	sent   []outreach.Mail
	broken error
	during func() // what happens while a mail is on its way
}

func (p *postman) Send(_ context.Context, m outreach.Mail) error {
	if p.broken != nil {
		return p.broken
	}
	p.sent = append(p.sent, m)
	if during := p.during; during != nil {
		p.during = nil
		during()
	}
	return nil
}

func (p *postman) to(address string) (n int) {
	for _, m := range p.sent {
		if m.To.Address == address {
			n++
		}
	}
	return n
}

// office is a desk with its postman.
type office struct {
	t    *testing.T
	path string
	post *postman
	http.Handler
}

func shipped(t *testing.T, day time.Duration) outreach.Sequence {
	t.Helper()
	s, err := outreach.Load(os.DirFS("../../sequence"), day)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, path: filepath.Join(t.TempDir(), "o.db"), post: &postman{}}
	signer, err := outreach.NewSigner("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	desk, err := outreach.Open(t.Context(), outreach.Config{
		Path: o.path, Sequence: shipped(t, 24*time.Hour), Mailer: o.post, Signer: signer,
		From: mail.Address{Name: "Atoll", Address: "hello@gtm.example"}, Public: "https://gtm.example/", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = desk.Close() })
	o.Handler = desk.Handler()
	return o
}

func (o *office) deliver(topic, id string, data any) int {
	o.t.Helper()
	return eventtest.Deliver(o.t, o, "/events/"+topic, id, data)
}

// route begins a sequence with a lead.
func (o *office) route(id, email string) {
	o.t.Helper()
	code := o.deliver("lead-routed", "routed-"+id, map[string]any{
		"lead":       map[string]any{"id": id, "email": email, "first_name": "Ada", "last_name": "Kim\r\nBcc: x@y.example", "more": 1},
		"company":    map[string]any{"domain": "stripe.com", "name": "Stripe <b>"},
		"assignment": map[string]any{"owner": "emea-1", "owner_name": "EMEA desk 1"},
	})
	if code/100 != 2 {
		o.t.Fatalf("lead.routed is answered with %d", code)
	}
}

func (o *office) step(lead string, n int) int {
	o.t.Helper()
	return o.deliver("step-due", fmt.Sprintf("due-%s-%d", lead, n), map[string]any{"lead": lead, "step": n})
}

func (o *office) state(lead string) string {
	o.t.Helper()
	w := httptest.NewRecorder()
	o.ServeHTTP(w, httptest.NewRequestWithContext(o.t.Context(), http.MethodGet, "/api/outreach/leads/"+lead, nil))
	var e struct{ State string }
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
		o.t.Fatal(err)
	}
	return e.State
}

// click posts the link of a mail.
func (o *office) click(method string, m outreach.Mail) int {
	o.t.Helper()
	u, err := url.Parse(m.Unsubscribe)
	if err != nil {
		o.t.Fatal(err)
	}
	w := httptest.NewRecorder()
	o.ServeHTTP(w, httptest.NewRequestWithContext(o.t.Context(), method, u.Path, strings.NewReader("List-Unsubscribe=One-Click")))
	return w.Code
}

func TestASequenceIsAChainOfAppointmentsInTheOutbox(t *testing.T) {
	o := open(t)
	began := time.Now()
	o.route("ld_1", "ada@stripe.com")
	for n := range 3 {
		if code := o.step("ld_1", n); code/100 != 2 {
			t.Fatalf("step %d: %d", n, code)
		}
	}
	events := eventtest.Outbox(t, o.path)
	if len(events) != 3 || len(o.post.sent) != 3 || o.state("ld_1") != "finished" {
		t.Fatalf("%d appointments, %d mails, %s", len(events), len(o.post.sent), o.state("ld_1"))
	}
	for i, days := range []int{0, 2, 4} {
		eventtest.Conforms(t, "../../events/outreach.step.due.json", events[i].Data)
		if events[i].Topic != "outreach.step.due" || events[i].Key != "ld_1" || (events[i].At == "") != (days == 0) {
			t.Fatalf("published %+v", events[i])
		}
		if at, err := time.Parse(time.RFC3339Nano, events[i].At); days > 0 && (err != nil || at.Before(began.AddDate(0, 0, days).Add(-time.Second))) {
			t.Errorf("step %d is due at %s, want %d days from now", i, events[i].At, days)
		}
	}
}

func TestAnEventThatIsDeliveredAgainSendsNothingAndAppointsNothing(t *testing.T) {
	o := open(t)
	for range 3 {
		o.route("ld_1", "ada@stripe.com")
		o.step("ld_1", 0)
	}
	if n := len(eventtest.Outbox(t, o.path)); len(o.post.sent) != 1 || n != 2 {
		t.Errorf("%d mails, %d appointments", len(o.post.sent), n)
	}
}

func TestAStepThatIsDeliveredTwiceAtOnceAppointsTheNextOnce(t *testing.T) {
	o := open(t)
	o.route("ld_1", "ada@stripe.com")
	o.post.during = func() { o.step("ld_1", 0) } // the mail server took so long that the bus gave up waiting
	o.step("ld_1", 0)
	if n := len(eventtest.Outbox(t, o.path)); n != 2 || o.post.sent[0].MessageID != o.post.sent[1].MessageID {
		t.Errorf("%d appointments, mails %s and %s", n, o.post.sent[0].MessageID, o.post.sent[1].MessageID)
	}
}

func TestAStepThatIsTakenAgainAfterACrashHasTheSameMessageID(t *testing.T) {
	ids := map[string]bool{}
	for range 2 { // two desks that know nothing of each other: the second has lost what it noted
		o := open(t)
		o.route("ld_1", "ada@stripe.com")
		o.step("ld_1", 0)
		ids[o.post.sent[0].MessageID] = true
	}
	if len(ids) != 1 || !ids["<ld_1.hello@gtm.example>"] {
		t.Errorf("got %v", ids)
	}
}

func TestAMailServerThatIsAwayDelaysAStepAndOneThatRefusesEndsTheSequence(t *testing.T) {
	o := open(t)
	o.route("ld_1", "ada@stripe.com")
	o.post.broken = errors.New("connection refused")
	if code := o.step("ld_1", 0); code != http.StatusInternalServerError || o.state("ld_1") != "active" {
		t.Errorf("away: answered with %d, %s", code, o.state("ld_1"))
	}
	o.post.broken = fmt.Errorf("%w: 550 no such user", outreach.ErrRefused)
	if code := o.step("ld_1", 0); code/100 != 2 || o.state("ld_1") != "refused" {
		t.Errorf("refused: answered with %d, %s", code, o.state("ld_1"))
	}
	o.post.broken = nil
	o.route("ld_2", "ada@stripe.com")
	if o.step("ld_2", 0); len(o.post.sent) != 0 {
		t.Error("an address that was refused is written to again")
	}
}

func TestWhoUnsubscribesGetsNoMailThatWasPlannedBeforeOrIsPlannedAfter(t *testing.T) {
	o := open(t)
	o.route("ld_1", "Ada@stripe.com")
	o.step("ld_1", 0)
	if code := o.click(http.MethodGet, o.post.sent[0]); code != 200 || o.state("ld_1") != "active" {
		t.Errorf("looking at the link: %d, %s", code, o.state("ld_1"))
	}
	if code := o.click(http.MethodPost, o.post.sent[0]); code != 200 || o.state("ld_1") != "unsubscribed" {
		t.Errorf("one click: %d, %s", code, o.state("ld_1"))
	}
	o.step("ld_1", 1)
	o.route("ld_2", "ada@stripe.com")
	o.step("ld_2", 0)
	if n := o.post.to("ada@stripe.com"); n != 1 {
		t.Errorf("%d mails", n)
	}
	if code := o.click(http.MethodPost, o.post.sent[0]); code != 200 {
		t.Errorf("a second click: %d", code)
	}
}

func TestAnAnswerEndsItsSequenceAndNoOther(t *testing.T) {
	o := open(t)
	o.route("ld_1", "ada@stripe.com")
	o.route("ld_2", "ben@stripe.com")
	o.step("ld_1", 0)
	o.step("ld_2", 0)
	o.deliver("mail-replied", "r1", map[string]any{"from": "ada@stripe.com", "in_reply_to": o.post.sent[0].MessageID})
	if code := o.deliver("mail-replied", "r2", map[string]any{"from": "x@y.example", "in_reply_to": "<other@y.example>"}); code/100 != 2 {
		t.Errorf("an answer to somebody else's mail is answered with %d", code)
	}
	o.step("ld_1", 1)
	o.step("ld_2", 1)
	if o.state("ld_1") != "replied" || o.state("ld_2") != "active" || o.post.to("ada@stripe.com") != 1 || o.post.to("ben@stripe.com") != 2 {
		t.Errorf("%s, %s, sent %d and %d", o.state("ld_1"), o.state("ld_2"), o.post.to("ada@stripe.com"), o.post.to("ben@stripe.com"))
	}
}

func TestALinkOfSomebodyElsesMakingIsRefused(t *testing.T) {
	a, err := outreach.NewSigner("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	b, err := outreach.NewSigner("fedcba9876543210")
	if err != nil {
		t.Fatal(err)
	}
	token := a.Token("ada@stripe.com")
	if address, ok := a.Address(token); !ok || address != "ada@stripe.com" {
		t.Errorf("got %q", address)
	}
	left, right, _ := strings.Cut(token, ".")
	forged, _, _ := strings.Cut(a.Token("ben@stripe.com"), ".")
	for _, bad := range []string{"", ".", left, left + ".", forged + "." + right, b.Token("ada@stripe.com"), token + "A", token[:len(token)-1]} {
		if address, ok := a.Address(bad); ok {
			t.Errorf("%q is taken for %s", bad, address)
		}
	}
	if _, err := outreach.NewSigner("short"); err == nil {
		t.Error("a short key is taken")
	}
}

func TestAMailHasBothFormsAndTheHeadersOfOneClickAndNothingIsSmuggledIn(t *testing.T) {
	o := open(t)
	o.route("ld_1", "ada@stripe.com")
	o.step("ld_1", 0)
	text, err := o.post.sent[0].Bytes()
	if err != nil {
		t.Fatal(err)
	}
	m, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"List-Unsubscribe-Post": "List-Unsubscribe=One-Click", "Message-Id": "<ld_1.hello@gtm.example>",
		"Subject": "Ada, you asked about Atoll", "Bcc": "",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := m.Header.Get("List-Unsubscribe"); !strings.HasPrefix(got, "<https://gtm.example/unsubscribe/") || !strings.HasSuffix(got, ">") {
		t.Errorf("List-Unsubscribe is %q", got)
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	flat := strings.ReplaceAll(string(body), "=\r\n", "")
	for _, want := range []string{"text/plain", "text/html", "interest at Stripe <b>.", "interest at Stripe &lt;b&gt;."} {
		if !strings.Contains(flat, want) {
			t.Errorf("the mail lacks %q:\n%s", want, flat)
		}
	}
}

func TestASequenceThatCannotBeWrittenIsRefusedAtTheStart(t *testing.T) {
	const one = `{"steps":[{"name":"a","subject":"s","text":"a.txt","html":"a.html"}]}`
	for name, files := range map[string]map[string]string{
		"no step":       {"sequence.json": `{"steps":[]}`},
		"a typo":        {"sequence.json": `{"stpes":[]}`},
		"no template":   {"sequence.json": one, "a.txt": "x"},
		"unknown field": {"sequence.json": one, "a.txt": "{{.Shoe}}", "a.html": "x"},
		"the same name": {"sequence.json": strings.Replace(one, "]}", `,{"name":"a","subject":"s","text":"a.txt","html":"a.html"}]}`, 1), "a.txt": "x", "a.html": "x"},
	} {
		fs := fstest.MapFS{}
		for file, text := range files {
			fs[file] = &fstest.MapFile{Data: []byte(text)}
		}
		if _, err := outreach.Load(fs, time.Hour); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestTheContractIsTrue(t *testing.T) {
	o := open(t)
	o.route("ld_1", "ada@stripe.com")
	o.step("ld_1", 0)
	srv := httptest.NewServer(o)
	t.Cleanup(srv.Close)
	c := contracttest.Load(t, "../../openapi.yaml")
	link, err := url.Parse(o.post.sent[0].Unsubscribe)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/api/outreach/leads/ld_1", 200},
		{"GET", "/api/outreach/leads/none", 404},
		{"GET", link.Path, 200},
		{"POST", link.Path, 200},
		{"GET", "/unsubscribe/x", 404},
		{"POST", "/unsubscribe/x", 404},
	} {
		req, err := http.NewRequestWithContext(t.Context(), test.method, srv.URL+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != test.status {
			t.Errorf("%s %s: %s", test.method, test.path, resp.Status)
		}
	}
	c.AllSeen()
}
