package webhook_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/webhook"
)

// FuzzVerify gives every scheme headers that it must survive, and may accept only if they hold what it would sign itself.
func FuzzVerify(f *testing.F) {
	all := vectors()
	for _, v := range all {
		f.Add(v.header.Get("Webhook-Id"), v.header.Get("Webhook-Timestamp"), v.header.Get("Webhook-Signature")+
			v.header.Get("Stripe-Signature")+v.header.Get("X-Hub-Signature-256")+v.header.Get("X-Shop-Hmac-Sha256"), v.body)
	}
	f.Fuzz(func(t *testing.T, id, stamp, signature, body string) {
		for name, v := range all {
			k := keys(t, v.settings)
			h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {stamp}}
			for _, field := range []string{"Webhook-Signature", "Stripe-Signature", "X-Hub-Signature-256", "X-Shop-Hmac-Sha256"} {
				h.Set(field, signature)
			}
			err := k.Verify(time.Unix(v.at, 0), h, []byte(body))
			if err != nil {
				if !strings.HasPrefix(string(fault.CodeOf(err)), "webhook-signature-") {
					t.Errorf("%s: refused with %v", name, err)
				}
				continue
			}
			if !holdsOwn(k, v, id, stamp, signature, body) {
				t.Errorf("%s: accepted id %q, time %q, signature %q", name, id, stamp, signature)
			}
		}
	})
}

// holdsOwn tells whether a header holds the signature that the keys make for some time within the tolerance.
func holdsOwn(k *webhook.Keys, v vector, id, stamp, signature, body string) bool {
	for off := int64(-300); off <= 300; off++ {
		h := signedHeader(k.Sign(id, time.Unix(v.at+off, 0), []byte(body)))
		switch {
		case h.Get("Webhook-Signature") != "":
			if h.Get("Webhook-Timestamp") == stamp && strings.Contains(signature, h.Get("Webhook-Signature")) {
				return true
			}
		case h.Get("Stripe-Signature") != "":
			_, digits, _ := strings.Cut(h.Get("Stripe-Signature"), "v1=")
			if strings.Contains(strings.ToLower(signature), digits) {
				return true
			}
		default:
			for _, values := range h {
				if strings.EqualFold(signature, values[0]) {
					return true
				}
			}
		}
	}
	return false
}

func FuzzWhatIsSignedIsAccepted(f *testing.F) {
	f.Add("msg_1", int64(1614265330), []byte("body"))
	f.Fuzz(func(t *testing.T, id string, at int64, body []byte) {
		if at < 0 || at > 1<<38 || id == "" || strings.Contains(id, ".") {
			return
		}
		for name, v := range vectors() {
			k := keys(t, v.settings)
			h := signedHeader(k.Sign(id, time.Unix(at, 0), body))
			if err := k.Verify(time.Unix(at, 0), h, body); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if k.Verify(time.Unix(at, 0), h, append(bytes.Clone(body), 'x')) == nil {
				t.Errorf("%s: a longer body is accepted", name)
			}
		}
	})
}
