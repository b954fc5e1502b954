package mailbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"example.com/gtm/internal/contracttest"
	"example.com/gtm/internal/eventtest"
	"example.com/gtm/services/mailbox/internal/mailbox"
)

const text = "From: a@b.example\r\nSubject: =?utf-8?q?Sch=C3=B6n?=\r\nMessage-ID: <one@b.example>\r\n" +
	"List-Unsubscribe: <https://b.example/u>\r\nContent-Type: multipart/alternative; boundary=x\r\n\r\n" +
	"--x\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nw=C3=B6rld\r\n" +
	"--x\r\nContent-Type: text/html\r\n\r\n<script>alert(1)</script>\r\n--x--\r\n"

// box is a server whose answers are held to the contract.
type box struct {
	t    *testing.T
	url  string
	path string
	*contracttest.Contract
}

func open(t *testing.T) *box {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.db")
	s, err := mailbox.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	h, err := mailbox.Handler(s)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return &box{t, srv.URL, path, contracttest.Load(t, "../../openapi.yaml")}
}

func (b *box) call(method, path, body string, status int) (string, http.Header) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.Client().Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		b.t.Errorf("%s %s: %s %s %v", method, path, resp.Status, answer, err)
	}
	return string(answer), resp.Header
}

func (b *box) send(data string, status int) {
	b.t.Helper()
	body, err := json.Marshal(map[string]any{"from": "a@b.example", "to": []string{"c@d.example"}, "data": data})
	if err != nil {
		b.t.Fatal(err)
	}
	b.call("POST", "/mails", string(body), status)
}

func TestTheSameMessageIDTwiceIsOneMail(t *testing.T) {
	b := open(t)
	b.send(text, 204)
	b.send(text, 204)
	b.send("Subject: none\r\n\r\nx", 204)
	b.send("Subject: none\r\n\r\nx", 204)
	if list, _ := b.call("GET", "/api/mailbox/mails", "", 200); !strings.Contains(list, `"count":3`) {
		t.Errorf("got %s", list)
	}
}

func TestAReplyIsPublishedOnceWithTheMessageIDOfTheMail(t *testing.T) {
	b := open(t)
	b.send(text, 204)
	b.call("POST", "/api/mailbox/mails/1/reply", "", 204)
	b.call("POST", "/api/mailbox/mails/1/reply", "", 204)
	events := eventtest.Outbox(t, b.path)
	if len(events) != 1 || events[0].Topic != "mail.replied" || !strings.Contains(string(events[0].Data), `one@b.example`) {
		t.Fatalf("published %+v", events)
	}
	eventtest.Conforms(t, "../../events/mail.replied.json", events[0].Data)
}

func TestAMailThatHoldsAScriptRunsNone(t *testing.T) {
	b := open(t)
	b.send(text, 204)
	if page, _ := b.call("GET", "/mailbox/1", "", 200); strings.Contains(page, "<script>") || !strings.Contains(page, "wörld") {
		t.Errorf("got %s", page)
	}
	if _, header := b.call("GET", "/mailbox/1/html", "", 200); !strings.HasPrefix(header.Get("Content-Security-Policy"), "sandbox allow-popups; default-src 'none'") {
		t.Errorf("got %v", header)
	}
}

func TestTheContractIsTrue(t *testing.T) {
	b := open(t)
	b.send(text, 204)
	b.send("no header", 422)
	if mail, _ := b.call("GET", "/api/mailbox/mails/1", "", 200); !strings.Contains(mail, `"subject":"Schön"`) || !strings.Contains(mail, `"unsubscribe":"https://b.example/u"`) {
		t.Errorf("got %s", mail)
	}
	b.call("GET", "/api/mailbox/mails?to=d.example&limit=1", "", 200)
	b.call("GET", "/api/mailbox/mails/9", "", 404)
	b.call("POST", "/api/mailbox/mails/9/reply", "", 404)
	b.call("POST", "/api/mailbox/mails/1/reply", "", 204)
	b.call("GET", "/mailbox", "", 200)
	b.call("GET", "/mailbox/1", "", 200)
	b.call("GET", "/mailbox/1/html", "", 200)
	b.call("POST", "/mailbox/1/reply", "", 303)
	b.AllSeen()
}
