package outreach

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
)

// Signer makes the tokens of unsubscribe links: the address, and a signature by which only addresses that were written to
// can be taken off.
type Signer struct{ key []byte }

// NewSigner takes a key of at least 16 bytes.
func NewSigner(key string) (Signer, error) {
	if len(key) < 16 {
		return Signer{}, errors.New("UNSUBSCRIBE_KEY has less than 16 characters")
	}
	return Signer{[]byte(key)}, nil
}

// Token is that of an address.
func (s Signer) Token(address string) string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(address)) + "." + enc.EncodeToString(s.sign(address))
}

// Address is whom a token was made for.
func (s Signer) Address(token string) (string, bool) {
	enc := base64.RawURLEncoding.Strict()
	left, right, _ := strings.Cut(token, ".")
	address, err := enc.DecodeString(left)
	signature, err2 := enc.DecodeString(right)
	if err != nil || err2 != nil || !hmac.Equal(signature, s.sign(string(address))) {
		return "", false
	}
	return string(address), true
}

func (s Signer) sign(address string) []byte {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte("unsubscribe\x00" + address))
	return mac.Sum(nil)
}
