// Package receiver verifies webhooks with the standard library alone.
package receiver

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Verify tells whether a webhook is signed with the secret (whsec_…). The body is the request's, byte by byte.
func Verify(secret string, h http.Header, body []byte) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	at, timeErr := strconv.ParseInt(h.Get("Webhook-Timestamp"), 10, 64)
	if err != nil || timeErr != nil || time.Since(time.Unix(at, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(h.Get("Webhook-Id") + "." + h.Get("Webhook-Timestamp") + "." + string(body)))
	want, good := "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)), false
	for signature := range strings.FieldsSeq(h.Get("Webhook-Signature")) { // two while the secret is changed
		good = hmac.Equal([]byte(signature), []byte(want)) || good
	}
	return good
}
