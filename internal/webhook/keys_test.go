package webhook_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/webhook"
)

func keys(tb testing.TB, s webhook.Settings) *webhook.Keys {
	tb.Helper()
	k, err := webhook.NewKeys(s)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func signedHeader(fields []webhook.Field) http.Header {
	h := http.Header{}
	for _, f := range fields {
		h.Add(f.Name, f.Value)
	}
	return h
}

// vector is a webhook that somebody else signed.
type vector struct {
	settings webhook.Settings
	at       int64
	header   http.Header
	body     string
	id, kind string // of the delivery
}

// vectors are, for standard and github, what the schemes' own documentation gives; for stripe, whose documentation gives
// none with its secret, and for hmac, what Python's hmac computes.
func vectors() map[string]vector {
	return map[string]vector{
		"standard": {
			settings: webhook.Settings{Scheme: webhook.SchemeStandard, Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
			at:       1614265330,
			header: header("Webhook-Id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "Webhook-Timestamp", "1614265330",
				"Webhook-Signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
			body: `{"test": 2432232314}`,
			id:   "msg_p5jXN8AQM9LWM0D4loKWxJek",
		},
		"github": {
			settings: webhook.Settings{Scheme: webhook.SchemeGitHub, Secret: "It's a Secret to Everybody"},
			header: header("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
				"X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958", "X-GitHub-Event", "push"),
			body: "Hello, World!",
			id:   "72d3162e-cc78-11e3-81ab-4c9367dc0958", kind: "push",
		},
		"stripe": {
			settings: webhook.Settings{Scheme: webhook.SchemeStripe, Secret: "whsec_test_secret"},
			at:       1492774577,
			header: header("Stripe-Signature", "t=1492774577,v1=4d38cd5139c7f60e624bf8299775d217793a8e4af46b24f70e9099b0eafff76c,"+
				"v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"),
			body: `{"id":"evt_1","object":"event","type":"invoice.paid"}`,
			id:   "evt_1", kind: "invoice.paid",
		},
		"hmac": {
			settings: webhook.Settings{
				Scheme: webhook.SchemeHMAC, Secret: "shop secret", Header: "X-Shop-Hmac-Sha256",
				Encoding: webhook.EncodingBase64,
			},
			header: header("X-Shop-Hmac-Sha256", "PA4szP+BxkdUSFsy0il2RDNG+Ps4Uy7bHlK8/cym+PU="),
			body:   `{"order":1}`,
			id:     "sha256-a781679e01308cfef90983a4c1350319a7e3993c3a3f5a8c8439781a326d7c8d",
		},
	}
}

func TestWhatOthersSignedIsAccepted(t *testing.T) {
	for name, v := range vectors() {
		k := keys(t, v.settings)
		if err := k.Verify(time.Unix(v.at, 0), v.header, []byte(v.body)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if id, kind := k.Delivery(v.header, []byte(v.body)); id != v.id || kind != v.kind {
			t.Errorf("%s: delivery %q of %q", name, id, kind)
		}
	}
}

func TestWeSignAsOthersDo(t *testing.T) {
	for name, v := range vectors() {
		h := signedHeader(keys(t, v.settings).Sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(v.at, 0), []byte(v.body)))
		for field := range h {
			got, want := h.Get(field), v.header.Get(field)
			if got != want && !strings.HasPrefix(want, got+",v0=") {
				t.Errorf("%s: %s is %q, want %q", name, field, got, want)
			}
		}
	}
}

func TestNothingElseIsAccepted(t *testing.T) {
	for name, v := range vectors() {
		other := v.settings
		other.Secret = "whsec_c29tZWJvZHkgZWxzZSdzIHNlY3JldA=="
		now := time.Unix(v.at, 0)
		if err := keys(t, other).Verify(now, v.header, []byte(v.body)); fault.CodeOf(err) != fault.CodeWebhookSignatureWrong {
			t.Errorf("%s: with another secret: %v", name, err)
		}
		for _, body := range []string{"", v.body + " ", v.body[1:]} {
			if err := keys(t, v.settings).Verify(now, v.header, []byte(body)); fault.CodeOf(err) != fault.CodeWebhookSignatureWrong {
				t.Errorf("%s: body %q: %v", name, body, err)
			}
		}
		for field := range v.header {
			if strings.HasPrefix(field, "X-Github-") {
				continue
			}
			h := v.header.Clone()
			h.Del(field)
			if err := keys(t, v.settings).Verify(now, h, []byte(v.body)); fault.CodeOf(err) != fault.CodeWebhookSignatureMissing {
				t.Errorf("%s: without %s: %v", name, field, err)
			}
			h = v.header.Clone()
			h.Add(field, v.header.Get(field))
			if err := keys(t, v.settings).Verify(now, h, []byte(v.body)); fault.CodeOf(err) != fault.CodeWebhookSignatureMalformed {
				t.Errorf("%s: with %s twice: %v", name, field, err)
			}
		}
	}
}

func TestIDAndTimeAreSignedToo(t *testing.T) {
	v := vectors()["standard"]
	for field, value := range map[string]string{"Webhook-Id": "msg_other", "Webhook-Timestamp": "1614265331"} {
		h := v.header.Clone()
		h.Set(field, value)
		err := keys(t, v.settings).Verify(time.Unix(v.at, 0), h, []byte(v.body))
		if fault.CodeOf(err) != fault.CodeWebhookSignatureWrong {
			t.Errorf("%s %s: %v", field, value, err)
		}
	}
	// The signed content of id "a", time T, body "T2.b" is also that of id "a.T", time T2, body "b".
	k := keys(t, v.settings)
	h := signedHeader(k.Sign("a", time.Unix(v.at, 0), []byte("1614265330.b")))
	h.Set("Webhook-Id", "a.1614265330")
	if err := k.Verify(time.Unix(v.at, 0), h, []byte("b")); fault.CodeOf(err) != fault.CodeWebhookSignatureMalformed {
		t.Errorf("a body whose beginning became id and time: %v", err)
	}
}

func TestAnOldOrFutureSignatureIsRefusedAtTheTolerance(t *testing.T) {
	for _, name := range []string{"standard", "stripe"} {
		v := vectors()[name]
		for tolerance, edge := range map[time.Duration]int64{0: 300, time.Minute: 60} {
			v.settings.Tolerance = tolerance
			k := keys(t, v.settings)
			for _, off := range []int64{-edge, edge} {
				if err := k.Verify(time.Unix(v.at+off, 0), v.header, []byte(v.body)); err != nil {
					t.Errorf("%s: %d s off: %v", name, off, err)
				}
			}
			for _, off := range []int64{-edge - 1, edge + 1, -1 << 40, 1 << 40} {
				if err := k.Verify(time.Unix(v.at+off, 0), v.header, []byte(v.body)); fault.CodeOf(err) != fault.CodeWebhookSignatureExpired {
					t.Errorf("%s: %d s off: %v", name, off, err)
				}
			}
		}
	}
}

func TestHeadersThatCannotBeReadAreMalformedNotWrong(t *testing.T) {
	set := map[string]map[string][]string{
		"standard": {
			"Webhook-Timestamp": {"now", "-1", "+1614265330", "01614265330", "1614265330.0", "99999999999999999999", "1614265330 "},
			"Webhook-Signature": {"v1", "v1,", "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "v1,zzz=", "v1,g0hM", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
		},
		"github": {"X-Hub-Signature-256": {"sha1=757107ea", "sha256=", "sha256=75", "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}},
		"stripe": {"Stripe-Signature": {
			"t=1492774577", "v1=4d38cd5139c7f60e624bf8299775d217793a8e4af46b24f70e9099b0eafff76c", "t=,v1=", "=,=,",
			"t=1492774577,t=1492774577,v1=4d38cd5139c7f60e624bf8299775d217793a8e4af46b24f70e9099b0eafff76c",
			"t=1492774577,v0=4d38cd5139c7f60e624bf8299775d217793a8e4af46b24f70e9099b0eafff76c",
		}},
		"hmac": {"X-Shop-Hmac-Sha256": {"!", "PA4szP+BxkdUSFsy0il2RDNG+Ps4Uy7bHlK8/cym+P", "3c0e2c"}},
	}
	for name, fields := range set {
		v := vectors()[name]
		for field, values := range fields {
			for _, value := range values {
				h := v.header.Clone()
				h.Set(field, value)
				if err := keys(t, v.settings).Verify(time.Unix(v.at, 0), h, []byte(v.body)); fault.CodeOf(err) != fault.CodeWebhookSignatureMalformed {
					t.Errorf("%s: %s %q: %v", name, field, value, err)
				}
			}
		}
	}
}

func TestARotationIsSeenByNobody(t *testing.T) {
	for name, v := range vectors() {
		sender, receiver := v.settings, v.settings
		receiver.Secret = "whsec_bmV3IHNlY3JldCBvZiB0aGUgc2VuZGVy,\n" + v.settings.Secret // the receiver knows both already
		sign := func(s webhook.Settings) http.Header {
			return signedHeader(keys(t, s).Sign("m", time.Unix(v.at, 0), []byte("b")))
		}
		verify := func(s webhook.Settings, h http.Header) error {
			return keys(t, s).Verify(time.Unix(v.at, 0), h, []byte("b"))
		}
		if err := verify(receiver, sign(sender)); err != nil {
			t.Errorf("%s: the old secret is no longer taken: %v", name, err)
		}
		sender.Secret = "whsec_bmV3IHNlY3JldCBvZiB0aGUgc2VuZGVy"
		if err := verify(receiver, sign(sender)); err != nil {
			t.Errorf("%s: the new secret is not yet taken: %v", name, err)
		}
		if name != "standard" && name != "stripe" {
			continue // their header has room for one signature only
		}
		sender.Secret += "\n" + v.settings.Secret
		if err := verify(v.settings, sign(sender)); err != nil {
			t.Errorf("%s: of two signatures none fits the old secret: %v", name, err)
		}
	}
}

func TestARefusalNeverTellsTheRightSignature(t *testing.T) {
	for name, v := range vectors() {
		k := keys(t, v.settings)
		good := signedHeader(k.Sign("m", time.Unix(v.at, 0), []byte("forged")))
		err := k.Verify(time.Unix(v.at, 0), v.header, []byte("forged"))
		f, ok := err.(*fault.Error) //nolint:errorlint // Verify promises it as it is
		if !ok {
			t.Fatalf("%s: %v", name, err)
		}
		for field := range good {
			for part := range strings.FieldsFuncSeq(good.Get(field), func(r rune) bool { return r == ',' || r == ' ' }) {
				part = strings.TrimPrefix(strings.TrimPrefix(part, "v1="), "sha256=")
				if len(part) > 20 && strings.Contains(f.Error()+f.Remedy, part) {
					t.Errorf("%s: %q tells it", name, f)
				}
			}
		}
		if f.Cause != nil {
			t.Errorf("%s: the cause %v goes into a log", name, f.Cause)
		}
	}
}

func TestADeliveryWithoutAFitNameIsNamedByItsBody(t *testing.T) {
	k := keys(t, webhook.Settings{Scheme: webhook.SchemeGitHub, Secret: "s"})
	want, _ := k.Delivery(header(), []byte("body"))
	for _, id := range []string{"", "two words", "new\x00", "ä", strings.Repeat("x", 257)} {
		got, _ := k.Delivery(header("X-GitHub-Delivery", id), []byte("body"))
		if got != want || !strings.HasPrefix(got, "sha256-") {
			t.Errorf("%q became %q", id, got)
		}
	}
	if other, _ := k.Delivery(header(), []byte("other")); other == want {
		t.Error("two bodies have one name")
	}
}

func TestSettingsThatCannotVerifyAreRefusedBeforeTheFirstWebhook(t *testing.T) {
	for name, c := range map[string]struct {
		settings webhook.Settings
		code     fault.Code
	}{
		"no scheme":           {webhook.Settings{Secret: "s"}, fault.CodeWebhookSettings},
		"unknown scheme":      {webhook.Settings{Scheme: "paypal", Secret: "s"}, fault.CodeWebhookSettings},
		"hmac without header": {webhook.Settings{Scheme: webhook.SchemeHMAC, Secret: "s"}, fault.CodeWebhookSettings},
		"unknown encoding":    {webhook.Settings{Scheme: webhook.SchemeHMAC, Header: "X", Encoding: "base32", Secret: "s"}, fault.CodeWebhookSettings},
		"negative tolerance":  {webhook.Settings{Scheme: webhook.SchemeStripe, Tolerance: -1, Secret: "s"}, fault.CodeWebhookSettings},
		"no secret":           {webhook.Settings{Scheme: webhook.SchemeStripe, Secret: " ,\n"}, fault.CodeWebhookSecret},
		"not base64":          {webhook.Settings{Scheme: webhook.SchemeStandard, Secret: "whsec_!!"}, fault.CodeWebhookSecret},
		"an empty key":        {webhook.Settings{Scheme: webhook.SchemeStandard, Secret: "whsec_"}, fault.CodeWebhookSecret},
		"a public key":        {webhook.Settings{Scheme: webhook.SchemeStandard, Secret: "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, fault.CodeWebhookSecret},
		"eleven secrets":      {webhook.Settings{Scheme: webhook.SchemeStripe, Secret: strings.Repeat("s\n", 11)}, fault.CodeWebhookSecret},
	} {
		_, err := webhook.NewKeys(c.settings)
		if fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "MfKQ9") {
			t.Errorf("%s: the secret is in %v", name, err)
		}
	}
}
