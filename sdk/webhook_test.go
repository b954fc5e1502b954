package sdk_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/sdk"
)

// The example of the Standard Webhooks libraries.
const (
	hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	hookBody   = `{"test": 2432232314}`
	hookAt     = 1614265330
)

func hookHeader() http.Header {
	return http.Header{
		"Webhook-Id": {"msg_p5jXN8AQM9LWM0D4loKWxJek"}, "Webhook-Timestamp": {strconv.Itoa(hookAt)},
		"Webhook-Signature": {"v1a,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
	}
}

// at runs f when the clock says t.
func at(t *testing.T, unix int64, f func()) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		// The clock of a bubble begins at 2000-01-01, and moves on when all wait.
		<-time.After(time.Until(time.Unix(unix, 0)))
		f()
	})
}

func TestAWebhookOfAnotherSenderIsAcceptedAndNothingElse(t *testing.T) {
	at(t, hookAt, func() {
		if err := sdk.VerifyWebhook(hookSecret, hookHeader(), []byte(hookBody)); err != nil {
			t.Errorf("the example is refused: %v", err)
		}
		if err := sdk.VerifyWebhook("whsec_b3RoZXI=,\n"+hookSecret, hookHeader(), []byte(hookBody)); err != nil {
			t.Errorf("with two secrets: %v", err)
		}
		if err := sdk.VerifyWebhook("whsec_b3RoZXI=", hookHeader(), []byte(hookBody)); fault.CodeOf(err) != sdk.CodeWebhookWrong {
			t.Errorf("with another secret: %v", err)
		}
		if err := sdk.VerifyWebhook(hookSecret, hookHeader(), []byte(hookBody+" ")); fault.CodeOf(err) != sdk.CodeWebhookWrong {
			t.Errorf("with another body: %v", err)
		}
		for _, secret := range []string{"", " , ", "whsec_", "whsec_!"} {
			if err := sdk.VerifyWebhook(secret, hookHeader(), []byte(hookBody)); fault.CodeOf(err) != sdk.CodeWebhookSecret {
				t.Errorf("secret %q: %v", secret, err)
			}
		}
		for name, values := range map[string][]string{
			"Webhook-Id":        {"other.1614265330"},
			"Webhook-Timestamp": {"now", "-1", "01614265330", "9999999999999"},
			"Webhook-Signature": {"g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "v1", "v2,AAAA", "v1,!"},
		} {
			for _, value := range values {
				h := hookHeader()
				h.Set(name, value)
				if err := sdk.VerifyWebhook(hookSecret, h, []byte(hookBody)); fault.CodeOf(err) != sdk.CodeWebhookMalformed {
					t.Errorf("%s %q: %v", name, value, err)
				}
			}
			h := hookHeader()
			h.Add(name, h.Get(name))
			if err := sdk.VerifyWebhook(hookSecret, h, []byte(hookBody)); fault.CodeOf(err) != sdk.CodeWebhookMalformed {
				t.Errorf("%s twice: %v", name, err)
			}
			h.Del(name)
			if err := sdk.VerifyWebhook(hookSecret, h, []byte(hookBody)); fault.CodeOf(err) != sdk.CodeWebhookMissing {
				t.Errorf("without %s: %v", name, err)
			}
		}
	})
}

func TestAWebhookIsGoodForFiveMinutesInEitherDirection(t *testing.T) {
	for off, want := range map[int64]fault.Code{-301: sdk.CodeWebhookExpired, -300: "", 300: "", 301: sdk.CodeWebhookExpired} {
		at(t, hookAt+off, func() {
			if err := sdk.VerifyWebhook(hookSecret, hookHeader(), []byte(hookBody)); fault.CodeOf(err) != want {
				t.Errorf("%d s off: %v", off, err)
			}
		})
	}
}

func FuzzVerifyWebhook(f *testing.F) {
	f.Add("msg_1", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", []byte(hookBody))
	f.Fuzz(func(t *testing.T, id, signature string, body []byte) {
		now := strconv.FormatInt(time.Now().Unix(), 10)
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {now}, "Webhook-Signature": {signature}}
		mac := hmac.New(sha256.New, []byte("key"))
		mac.Write([]byte(id + "." + now + "." + string(body)))
		good := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
		if err := sdk.VerifyWebhook("whsec_a2V5", h, body); err == nil {
			t.Errorf("id %q, signature %q: accepted", id, signature)
		}
		h.Set("Webhook-Signature", signature+" "+good)
		err := sdk.VerifyWebhook("whsec_a2V5", h, body)
		if fault.CodeOf(err) == sdk.CodeWebhookWrong {
			t.Errorf("id %q: a good signature is not found in %q", id, signature+" "+good)
		}
	})
}
