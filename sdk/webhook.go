package sdk

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// WebhookTolerance is how far the time of a webhook may lie from now, in either direction.
const WebhookTolerance = 5 * time.Minute

// VerifyWebhook tells whether a webhook comes from who shares the secret, after Standard Webhooks 1.0.0
// (https://github.com/standard-webhooks/standard-webhooks), as Atoll and others send them. The secret is whsec_ and base64;
// while it is changed, several may be given, separated by commas or line ends. The body is the request's, byte by byte: read
// it before anything decodes it.
//
// The error is a fault whose code is one of CodeWebhookMissing, CodeWebhookMalformed, CodeWebhookExpired, CodeWebhookWrong, or
// CodeWebhookSecret if it is the secret that cannot be used. What is verified can still come twice: the header webhook-id names
// it.
func VerifyWebhook(secret string, h http.Header, body []byte) error {
	keys, err := webhookKeys(secret)
	if err != nil {
		return err
	}
	w, err := readWebhook(h)
	if err != nil {
		return err
	}
	if off := time.Since(time.Unix(w.at, 0)); off.Abs() > WebhookTolerance {
		return fault.New(CodeWebhookExpired, "The webhook was signed at another time.").
			Fix("compare the clocks of sender and receiver")
	}
	matches := 0
	for _, key := range keys { // all of them, so that the time does not tell which came near
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(w.id + "." + strconv.FormatInt(w.at, 10) + "."))
		mac.Write(body)
		want := mac.Sum(nil)
		for _, signature := range w.signatures {
			if hmac.Equal(want, signature) {
				matches++
			}
		}
	}
	if matches == 0 {
		return fault.New(CodeWebhookWrong, "The webhook's signature does not fit its body.").
			Fix("compare the secret with the sender's, and verify the body as it came")
	}
	return nil
}

// webhookKeys reads the secrets, all of which will do.
func webhookKeys(secret string) ([][]byte, error) {
	var keys [][]byte
	for text := range strings.FieldsFuncSeq(secret, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' || r == ' ' }) {
		key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimPrefix(text, "whsec_"), "="))
		if err != nil || len(key) == 0 {
			return nil, fault.New(CodeWebhookSecret, "The secret of the webhook is not whsec_ and base64.").
				Fix("copy it as it was shown when the webhook was created")
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fault.New(CodeWebhookSecret, "There is no secret to verify webhooks with.").
			Fix("copy it as it was shown when the webhook was created")
	}
	return keys, nil
}

// signedWebhook is what the header of a webhook says.
type signedWebhook struct {
	id         string
	at         int64
	signatures [][]byte
}

func readWebhook(h http.Header) (signedWebhook, error) {
	var w signedWebhook
	for _, name := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		switch values := h.Values(name); {
		case len(values) == 0 || values[0] == "":
			return w, fault.New(CodeWebhookMissing, "The webhook has no header %s.", name).Fix("take signed webhooks only")
		case len(values) > 1:
			return w, malformedWebhook(name)
		}
	}
	w.id = h.Get("Webhook-Id")
	stamp := h.Get("Webhook-Timestamp")
	var err error
	if w.at, err = strconv.ParseInt(stamp, 10, 64); err != nil || strconv.FormatInt(w.at, 10) != stamp || w.at < 0 || len(stamp) > 12 {
		return w, malformedWebhook("Webhook-Timestamp")
	}
	if strings.Contains(w.id, ".") { // else what follows the id could be taken for a part of it
		return w, malformedWebhook("Webhook-Id")
	}
	for entry := range strings.FieldsSeq(h.Get("Webhook-Signature")) {
		text, ok := strings.CutPrefix(entry, "v1,")
		if signature, err := base64.StdEncoding.DecodeString(text); ok && err == nil {
			w.signatures = append(w.signatures, signature)
		}
	}
	if len(w.signatures) == 0 {
		return w, malformedWebhook("Webhook-Signature")
	}
	return w, nil
}

func malformedWebhook(header string) error {
	return fault.New(CodeWebhookMalformed, "The webhook's header %s cannot be read.", header).
		Fix("take webhooks that are signed after Standard Webhooks, with v1")
}
