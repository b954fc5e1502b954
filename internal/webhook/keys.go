package webhook

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Scheme is how a sender signs.
type Scheme string

// The schemes.
const (
	SchemeStandard Scheme = "standard" // https://github.com/standard-webhooks/standard-webhooks, version 1.0.0, symmetric (v1)
	SchemeGitHub   Scheme = "github"   // https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
	SchemeStripe   Scheme = "stripe"   // https://docs.stripe.com/webhooks#verify-manually
	SchemeHMAC     Scheme = "hmac"     // HMAC-SHA256 of the body in a header
)

// Encoding is how the scheme hmac writes a signature.
type Encoding string

// The encodings.
const (
	EncodingHex    Encoding = "hex"
	EncodingBase64 Encoding = "base64"
)

// DefaultTolerance is how far a signature's time may lie from now, in either direction.
const DefaultTolerance = 5 * time.Minute

// Settings say how the webhooks of one sender are signed. Scheme and Secret are required, and Header of the scheme hmac.
type Settings struct {
	Scheme    Scheme
	Secret    string        // several one a line or separated by commas: any of them will do
	Tolerance time.Duration // of the schemes that sign a time; 0 means DefaultTolerance
	Header    string        // of hmac: the header that holds the signature
	Prefix    string        // of hmac: what stands in front of the signature, such as sha256=
	Encoding  Encoding      // of hmac; default EncodingHex
}

// Header is what is read of a request's header. Both http.Header and the relay's are one.
type Header interface {
	// Values returns the values of a field, whose name is matched without regard to case.
	Values(name string) []string
}

// Field is one field of a header.
type Field struct{ Name, Value string }

// Keys are the secrets that are shared with a sender, and the scheme in which they sign. They are safe for concurrent use.
type Keys struct {
	keys      [][]byte
	scheme    scheme
	tolerance time.Duration
}

// scheme is what the schemes differ in.
type scheme interface {
	// read takes apart what a header holds.
	read(h Header) (signed, *fault.Error)
	// write makes the header that carries signatures.
	write(s signed) []Field
	// before is what is signed in front of the body.
	before(s signed) string
	// timed tells whether a time is signed.
	timed() bool
	// delivery names a delivery and what it tells of, either "" if the scheme has no name for it.
	delivery(h Header, body []byte) (id, kind string)
}

// signed is what a header says of a body.
type signed struct {
	id         string   // as signed
	at         int64    // Unix seconds, as signed
	signatures [][]byte // any of which will do
}

// NewKeys reads settings. It returns a *fault.Error if they cannot be used.
func NewKeys(s Settings) (*Keys, error) {
	s.Tolerance = cmp.Or(s.Tolerance, DefaultTolerance)
	s.Encoding = cmp.Or(s.Encoding, EncodingHex)
	k := &Keys{tolerance: s.Tolerance}
	switch s.Scheme {
	case SchemeStandard:
		k.scheme = standard{}
	case SchemeGitHub:
		k.scheme = plain{header: "X-Hub-Signature-256", prefix: "sha256=", encoding: EncodingHex, id: "X-GitHub-Delivery", kind: "X-GitHub-Event"}
	case SchemeStripe:
		k.scheme = stripe{}
	case SchemeHMAC:
		if s.Header == "" {
			return nil, fault.New(fault.CodeWebhookSettings, "the scheme hmac needs the header that holds the signature").
				Fix("add `header: NAME`, as the sender documents it")
		}
		if s.Encoding != EncodingHex && s.Encoding != EncodingBase64 {
			return nil, fault.New(fault.CodeWebhookSettings, "%q is no encoding of signatures", s.Encoding).Fix("write hex or base64")
		}
		k.scheme = plain{header: s.Header, prefix: s.Prefix, encoding: s.Encoding}
	default:
		return nil, fault.New(fault.CodeWebhookSettings, "%q is no scheme of webhooks", s.Scheme).
			Fix("write standard, github, stripe or hmac")
	}
	if s.Tolerance < 0 {
		return nil, fault.New(fault.CodeWebhookSettings, "a tolerance cannot be negative").Fix("write a duration such as 5m")
	}
	keys, err := parseSecrets(s.Scheme, s.Secret)
	if err != nil {
		return nil, err
	}
	k.keys = keys
	return k, nil
}

// Sign returns the header that proves a body, signed at a time. Every key signs, if the scheme has room for several
// signatures, else the first. The id counts for Standard Webhooks only, and holds no full stop.
func (k *Keys) Sign(id string, at time.Time, body []byte) []Field {
	s := signed{id: id, at: at.Unix()}
	for _, key := range k.keys {
		s.signatures = append(s.signatures, mac(key, k.scheme.before(s), body))
	}
	return k.scheme.write(s)
}

// Verify tells whether the header proves the body. A refusal is a *fault.Error that says what is wrong with the proof:
// missing, malformed, expired or wrong.
func (k *Keys) Verify(now time.Time, h Header, body []byte) error {
	s, err := k.scheme.read(h)
	if err != nil {
		return err
	}
	if k.scheme.timed() {
		if err := k.checkTime(now, s.at); err != nil {
			return err
		}
	}
	matches := 0
	for _, key := range k.keys { // all of them, so that the time does not tell which came near
		want := mac(key, k.scheme.before(s), body)
		for _, signature := range s.signatures {
			if hmac.Equal(want, signature) {
				matches++
			}
		}
	}
	if matches == 0 {
		return fault.New(fault.CodeWebhookSignatureWrong, "the webhook's signature does not fit its body").
			Fix("sign the body exactly as it is sent, with the secret that was agreed on")
	}
	return nil
}

// checkTime refuses a signature of another time. The distance is judged in whole seconds, as senders write it.
func (k *Keys) checkTime(now time.Time, at int64) *fault.Error {
	off := now.Unix() - at // cannot overflow: at has at most twelve digits
	tolerance := int64(k.tolerance / time.Second)
	switch {
	case off > tolerance:
		return fault.New(fault.CodeWebhookSignatureExpired, "the webhook was signed %d s ago, at most %d s are tolerated", off, tolerance).
			Fix("send it anew, signed at the time of sending, and compare the clocks")
	case -off > tolerance:
		return fault.New(fault.CodeWebhookSignatureExpired, "the webhook was signed %d s in the future, at most %d s are tolerated", -off, tolerance).
			Fix("compare the clocks of sender and receiver")
	}
	return nil
}

// Delivery names a verified delivery: by the sender's own id for it, so that one that is sent again has the same, else by
// a hash of its body. The kind is what the sender says that it tells of, such as invoice.paid, or "".
//
// GitHub does not sign the id and the kind; who has seen a delivery can send it again under another id.
func (k *Keys) Delivery(h Header, body []byte) (id, kind string) {
	id, kind = k.scheme.delivery(h, body)
	if !isName(id) {
		sum := sha256.Sum256(body)
		id = "sha256-" + hex.EncodeToString(sum[:])
	}
	if !isName(kind) {
		kind = ""
	}
	return id, kind
}

// isName tells whether a sender's word may name an event: printable, without blanks, not long.
func isName(s string) bool {
	return s != "" && len(s) <= 256 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// mac is HMAC-SHA256 (RFC 2104, FIPS 180-4) of what stands before the body, and the body.
func mac(key []byte, before string, body []byte) []byte {
	m := hmac.New(sha256.New, key)
	_, _ = m.Write([]byte(before)) // never fails
	_, _ = m.Write(body)
	return m.Sum(nil)
}

// only returns the value of a field that must come exactly once.
func only(h Header, name string) (string, *fault.Error) {
	values := h.Values(name)
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return "", fault.New(fault.CodeWebhookSignatureMissing, "the webhook has no header %s", name).
			Fix("sign it, and send the signature in that header")
	case len(values) > 1:
		return "", malformed(name, "it comes more than once")
	}
	return values[0], nil
}

func malformed(header, why string) *fault.Error {
	return fault.New(fault.CodeWebhookSignatureMalformed, "the webhook's header %s cannot be read: %s", header, why).
		Fix("write it as the scheme of the signature says")
}

// seconds reads a time in Unix seconds: digits alone, in one spelling.
func seconds(header, text string) (int64, *fault.Error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || len(text) > 12 || strconv.FormatInt(n, 10) != text || n < 0 {
		return 0, malformed(header, "its time is no number of seconds")
	}
	return n, nil
}

// decode reads a signature, which is nil if it is none.
func decode(e Encoding, text string) []byte {
	var raw []byte
	var err error
	if e == EncodingBase64 {
		raw, err = base64.StdEncoding.DecodeString(text)
	} else {
		raw, err = hex.DecodeString(text)
	}
	if err != nil || len(raw) != sha256.Size {
		return nil
	}
	return raw
}
