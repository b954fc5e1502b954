package gateway_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/gateway"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
)

// password is a verifier that takes bodies with the secret in a header, and names them by another.
type password struct{ secret string }

func (p password) Verify(h relay.Header, _ []byte) error {
	if h.Get("X-Password") != p.secret {
		return fault.New(fault.CodeWebhookSignatureWrong, "wrong")
	}
	return nil
}

func (password) Delivery(h relay.Header, body []byte) (id, kind string) {
	return h.Get("X-Delivery"), string(body[:1])
}

// shelf is a publisher that keeps what it is given.
type shelf struct {
	mu      sync.Mutex // guards what follows
	took    []gateway.Message
	refusal *relay.Reply
}

func (s *shelf) Publish(_ context.Context, m gateway.Message) (string, *relay.Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusal != nil {
		return "", s.refusal
	}
	s.took = append(s.took, m)
	if m.ID == "" {
		return "made", nil
	}
	return m.ID, nil
}

func webhookOptions(s *shelf) *gateway.Options {
	return &gateway.Options{
		Publisher: s,
		Webhook: func(m manifest.Webhook, secret string) (gateway.Verifier, error) {
			if m.Scheme != manifest.WebhookHMAC {
				return nil, fault.New(fault.CodeWebhookSettings, "no such scheme").Fix("write hmac")
			}
			return password{secret}, nil
		},
	}
}

func webhookApp() *manifest.App {
	signed := &manifest.Webhook{Scheme: manifest.WebhookHMAC, Secret: "pw"}
	return app(func(m *manifest.Gateway) {
		m.Body = 100
		m.Auth = map[string]manifest.Auth{"partner": {APIKey: &manifest.APIKey{Keys: "keys"}}}
		m.CORS = &manifest.CORS{Origins: []string{"https://page.example"}}
		m.Routes = []manifest.Route{
			{Path: "/crm/hook", To: "crm", Webhook: signed},
			{Path: "/hooks/shop", Publish: "order.paid", Webhook: signed, Limit: []manifest.Limit{{Count: 3, Per: 1 << 40, By: manifest.LimitByRoute}}},
			{Path: "/ingest/*", Publish: "signal.seen", Auth: []string{"partner"}},
		}
	})
}

func webhookSecrets() map[string]string {
	return map[string]string{"pw": "open sesame", "keys": "acme:key-of-acme"}
}

// post sends a body and returns the status, the problem's code or the answer's id, and the header.
func post(t *testing.T, url, body string, fields ...string) (status int, codeOrID string, h http.Header) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Code, ID string }
	_ = json.Unmarshal(text, &answer) // what a service answers is no JSON
	return res.StatusCode, answer.Code + answer.ID, res.Header
}

func TestOnlySignedRequestsReachTheService(t *testing.T) {
	_, addr := serveWith(t, webhookOptions(&shelf{}), webhookApp(), webhookSecrets())
	url := "http://" + addr + "/crm/hook"
	if status, code, h := post(t, url, "body"); status != 401 || code != "webhook-signature-wrong" || h.Get("WWW-Authenticate") != "Webhook" {
		t.Errorf("unsigned: %d %s %v", status, code, h)
	}
	if status, code, _ := post(t, url, "body", "X-Password", "open sesame"); status != 200 {
		t.Errorf("signed: %d %s", status, code)
	}
	if status, code, _ := post(t, url, strings.Repeat("x", 101), "X-Password", "open sesame"); status != 413 {
		t.Errorf("beyond the route's limit: %d %s", status, code)
	}
}

func TestASignedRequestBecomesAnEventThatKeepsItsDeliverysName(t *testing.T) {
	s := &shelf{}
	_, addr := serveWith(t, webhookOptions(s), webhookApp(), webhookSecrets())
	for range 2 { // the second is the sender's own repetition
		status, id, h := post(t, "http://"+addr+"/hooks/shop", "paid", "X-Password", "open sesame", "X-Delivery", "d-1", "Content-Type", "text/plain")
		if status != 202 || id != "d-1" || h.Get("X-Content-Type-Options") == "" || h.Get("RateLimit") == "" {
			t.Errorf("%d %s %v", status, id, h)
		}
	}
	if status, code, _ := post(t, "http://"+addr+"/hooks/shop", "paid"); status != 401 {
		t.Errorf("unsigned: %d %s", status, code)
	}
	if status, code, _ := post(t, "http://"+addr+"/hooks/shop", "paid", "X-Password", "open sesame"); status != 429 {
		t.Errorf("beyond the limit: %d %s", status, code)
	}
	if len(s.took) != 2 {
		t.Fatalf("published %d", len(s.took))
	}
	m := s.took[0]
	if m.Topic != "order.paid" || m.Source != "/webhooks/hooks/shop" || m.ID != "d-1" || m.Kind != "p" || string(m.Body) != "paid" ||
		m.ContentType != "text/plain" || m.Trace.ID.String() == "" {
		t.Errorf("published %+v", m)
	}
}

func TestARouteThatPublishesKeepsToItsRules(t *testing.T) {
	s := &shelf{}
	_, addr := serveWith(t, webhookOptions(s), webhookApp(), webhookSecrets())
	url := "http://" + addr + "/ingest/pages"
	if status, code, h := post(t, url, "{}"); status != 401 || code != "auth-missing" {
		t.Errorf("without a key: %d %s %v", status, code, h)
	}
	status, id, h := post(t, url, "{}", "X-Api-Key", "key-of-acme", "Origin", "https://page.example")
	if status != 202 || id != "made" || h.Get("Access-Control-Allow-Origin") != "https://page.example" {
		t.Errorf("with a key: %d %s %v", status, id, h)
	}
	if len(s.took) != 1 || s.took[0].Subject != "acme" || s.took[0].ID != "" || s.took[0].Source != "/routes/ingest/*" {
		t.Errorf("published %+v", s.took)
	}
	for _, envelope := range []string{"application/cloudevents+json", " Application/CloudEvents-Batch+JSON; charset=utf-8"} {
		status, code, _ := post(t, url, `{"specversion":"1.0"}`, "X-Api-Key", "key-of-acme", "Content-Type", envelope)
		if status != 415 || code != "event-invalid" || len(s.took) != 1 {
			t.Errorf("%s, of which the client could choose id and source: %d %s, published %+v", envelope, status, code, s.took)
		}
	}
	res, _ := get(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, url)
	if res.StatusCode != 405 || res.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
	s.refusal = relay.Refuse(503, fault.New(fault.CodeServiceBusy, "full"), relay.Field{Name: "Retry-After", Value: "7"})
	if status, code, h := post(t, url, "{}", "X-Api-Key", "key-of-acme"); status != 503 || code != "service-busy" || h.Get("Retry-After") != "7" {
		t.Errorf("refused by the publisher: %d %s %v", status, code, h)
	}
}

func TestARouteThatCannotVerifyOrPublishIsNeverOpen(t *testing.T) {
	without := webhookSecrets()
	delete(without, "pw")
	unknown := webhookApp()
	unknown.Gateway.Routes[0].Webhook = &manifest.Webhook{Scheme: "paypal", Secret: "pw"}
	for name, c := range map[string]struct {
		options *gateway.Options
		app     *manifest.App
		secrets map[string]string
		want    string
	}{
		"no secret":       {webhookOptions(&shelf{}), webhookApp(), without, `there is no secret "pw"`},
		"unknown scheme":  {webhookOptions(&shelf{}), unknown, webhookSecrets(), "no such scheme"},
		"nobody verifies": {&gateway.Options{Publisher: &shelf{}}, webhookApp(), webhookSecrets(), "cannot be verified here"},
		"nobody takes":    {&gateway.Options{Webhook: webhookOptions(nil).Webhook}, webhookApp(), webhookSecrets(), "nothing that takes events"},
	} {
		g := gateway.New(relay.NewUpstreams(nil, nil), c.options)
		err := apply(t.Context(), g, c.app, c.secrets)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
