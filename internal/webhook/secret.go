package webhook

import (
	"encoding/base64"
	"strings"

	"github.com/atollhq/atoll/internal/fault"
)

// maxSecrets bounds the work that one verification takes.
const maxSecrets = 10

// standardPrefix marks a symmetric secret of Standard Webhooks.
const standardPrefix = "whsec_"

// parseSecrets reads the secrets out of a value that holds several, one a line or separated by commas.
func parseSecrets(scheme Scheme, value string) ([][]byte, *fault.Error) {
	var keys [][]byte
	for i, text := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		key := []byte(text)
		if scheme == SchemeStandard {
			var ok bool
			if key, ok = decodeStandard(text); !ok {
				return nil, fault.New(fault.CodeWebhookSecret, "secret %d is not one of Standard Webhooks", i+1).
					Fix("set it to whsec_ and the base64 that the sender shows, several one a line")
			}
		}
		keys = append(keys, key)
	}
	switch {
	case len(keys) == 0:
		return nil, fault.New(fault.CodeWebhookSecret, "there is no secret to verify webhooks with").
			Fix("set the secret to the one that the sender shows for this webhook")
	case len(keys) > maxSecrets:
		return nil, fault.New(fault.CodeWebhookSecret, "there are %d secrets, at most %d are tried", len(keys), maxSecrets).
			Fix("remove those that are no longer in use")
	}
	return keys, nil
}

// decodeStandard reads a symmetric secret of Standard Webhooks; the prefix may be left out, as may padding.
func decodeStandard(text string) ([]byte, bool) {
	digits := strings.TrimRight(strings.TrimPrefix(text, standardPrefix), "=")
	key, err := base64.RawStdEncoding.DecodeString(digits)
	return key, err == nil && len(key) > 0
}

// encodeStandard writes a key as Standard Webhooks shows it.
func encodeStandard(key []byte) string {
	return standardPrefix + base64.StdEncoding.EncodeToString(key)
}
