package gateway_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/gateway"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/webhook"
)

// verifier lets keys verify at the gateway, as the composition root does.
type verifier struct{ *webhook.Keys }

func (v verifier) Verify(h relay.Header, body []byte) error {
	return v.Keys.Verify(time.Now(), h, body)
}

func (v verifier) Delivery(h relay.Header, body []byte) (id, kind string) {
	return v.Keys.Delivery(h, body)
}

func TestWhatEachSchemeSignsPassesTheGatewayOverTheWire(t *testing.T) {
	s := &shelf{}
	secrets := map[string]string{"shared": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
	o := &gateway.Options{Publisher: s, Webhook: func(m manifest.Webhook, secret string) (gateway.Verifier, error) {
		k, err := webhook.NewKeys(webhook.Settings{
			Scheme: webhook.Scheme(m.Scheme), Secret: secret, Tolerance: m.Tolerance.Std(),
			Header: m.Header, Prefix: m.Prefix, Encoding: webhook.Encoding(m.Encoding),
		})
		if err != nil {
			return nil, err
		}
		return verifier{k}, nil
	}}
	settings := []manifest.Webhook{
		{Scheme: manifest.WebhookStandard, Secret: "shared"},
		{Scheme: manifest.WebhookGitHub, Secret: "shared"},
		{Scheme: manifest.WebhookStripe, Secret: "shared"},
		{Scheme: manifest.WebhookHMAC, Secret: "shared", Header: "x-shop_sum", Prefix: "sum:", Encoding: "base64"},
	}
	a := app(func(m *manifest.Gateway) {
		m.Routes = nil
		for i := range settings {
			m.Routes = append(m.Routes, manifest.Route{Path: "/" + strconv.Itoa(i), Publish: "taken", Webhook: &settings[i]})
		}
	})
	_, addr := serveWith(t, o, a, secrets)
	for i, m := range settings {
		v, err := o.Webhook(m, secrets["shared"])
		if err != nil {
			t.Fatal(err)
		}
		body := `{"id":"evt_1","type":"invoice.paid","of":"` + string(m.Scheme) + `"}`
		fields := []string{"X-GitHub-Delivery", "d-1", "X-GitHub-Event", "push"}
		for _, f := range v.(verifier).Sign("msg_1", time.Now(), []byte(body)) {
			fields = append(fields, f.Name, f.Value)
		}
		url := "http://" + addr + "/" + strconv.Itoa(i)
		if status, id, _ := post(t, url, body, fields...); status != 202 || id == "" {
			t.Errorf("%s: %d %s", m.Scheme, status, id)
		}
		if status, code, _ := post(t, url, body+"\n", fields...); status != 401 || code != "webhook-signature-wrong" {
			t.Errorf("%s: another body: %d %s", m.Scheme, status, code)
		}
		if status, code, _ := post(t, url, body); status != 401 || code != "webhook-signature-missing" {
			t.Errorf("%s: unsigned: %d %s", m.Scheme, status, code)
		}
	}
	var names []string
	for _, m := range s.took {
		names = append(names, m.ID+" "+m.Kind)
	}
	if len(names) != 4 || names[0] != "msg_1 invoice.paid" || names[1] != "d-1 push" || names[2] != "evt_1 invoice.paid" || len(names[3]) != len("sha256- ")+64 {
		t.Errorf("deliveries %q", names)
	}
}
