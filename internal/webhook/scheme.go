package webhook

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/atollhq/atoll/internal/fault"
)

// Headers of Standard Webhooks.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// standard is Standard Webhooks: id, time and body are signed; signatures are a list separated by blanks, each with its
// version.
type standard struct{}

func (standard) timed() bool { return true }

func (standard) before(s signed) string { return s.id + "." + strconv.FormatInt(s.at, 10) + "." }

func (standard) read(h Header) (signed, *fault.Error) {
	var s signed
	var stamp, list string
	for _, f := range []struct {
		name string
		to   *string
	}{{HeaderID, &s.id}, {HeaderTimestamp, &stamp}, {HeaderSignature, &list}} {
		var err *fault.Error
		if *f.to, err = only(h, f.name); err != nil {
			return s, err
		}
	}
	if strings.Contains(s.id, ".") { // else what follows the id could be taken for a part of it
		return s, malformed(HeaderID, "an id holds no full stop")
	}
	var err *fault.Error
	if s.at, err = seconds(HeaderTimestamp, stamp); err != nil {
		return s, err
	}
	for entry := range strings.FieldsSeq(list) {
		if text, ok := strings.CutPrefix(entry, "v1,"); ok { // others are of versions to come, or asymmetric
			s.signatures = appendSignature(s.signatures, decode(EncodingBase64, text))
		}
	}
	if len(s.signatures) == 0 {
		return s, malformed(HeaderSignature, "it holds no signature of version v1")
	}
	return s, nil
}

func (standard) write(s signed) []Field {
	list := make([]string, len(s.signatures))
	for i, signature := range s.signatures {
		list[i] = "v1," + base64.StdEncoding.EncodeToString(signature)
	}
	return []Field{
		{HeaderID, s.id},
		{HeaderTimestamp, strconv.FormatInt(s.at, 10)},
		{HeaderSignature, strings.Join(list, " ")},
	}
}

func (standard) delivery(h Header, body []byte) (id, kind string) {
	return first(h, HeaderID), describe(body).Type
}

// stripe is Stripe's: time and body are signed; time and signatures are pairs, separated by commas.
type stripe struct{}

const stripeHeader = "Stripe-Signature"

func (stripe) timed() bool { return true }

func (stripe) before(s signed) string { return strconv.FormatInt(s.at, 10) + "." }

func (stripe) read(h Header) (signed, *fault.Error) {
	var s signed
	list, err := only(h, stripeHeader)
	if err != nil {
		return s, err
	}
	stamp := ""
	for pair := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		switch name {
		case "t":
			if stamp != "" {
				return s, malformed(stripeHeader, "it holds more than one time")
			}
			stamp = value
		case "v1": // v0 is of test events only, and proves nothing
			s.signatures = appendSignature(s.signatures, decode(EncodingHex, value))
		}
	}
	if s.at, err = seconds(stripeHeader, stamp); err != nil {
		return s, err
	}
	if len(s.signatures) == 0 {
		return s, malformed(stripeHeader, "it holds no signature of version v1")
	}
	return s, nil
}

func (stripe) write(s signed) []Field {
	pairs := []string{"t=" + strconv.FormatInt(s.at, 10)}
	for _, signature := range s.signatures {
		pairs = append(pairs, "v1="+hex.EncodeToString(signature))
	}
	return []Field{{stripeHeader, strings.Join(pairs, ",")}}
}

func (stripe) delivery(_ Header, body []byte) (id, kind string) {
	d := describe(body)
	return d.ID, d.Type
}

// plain is a signature of the body alone, in a header: GitHub's, and many others'.
type plain struct {
	header, prefix string
	encoding       Encoding
	id, kind       string // headers that name the delivery and what it tells of, or ""
}

func (plain) timed() bool { return false }

func (plain) before(signed) string { return "" }

func (p plain) read(h Header) (signed, *fault.Error) {
	var s signed
	value, err := only(h, p.header)
	if err != nil {
		return s, err
	}
	text, ok := strings.CutPrefix(value, p.prefix)
	if !ok {
		return s, malformed(p.header, "it does not begin with "+p.prefix)
	}
	s.signatures = appendSignature(s.signatures, decode(p.encoding, text))
	if len(s.signatures) == 0 {
		return s, malformed(p.header, "it is no SHA-256 in "+string(p.encoding))
	}
	return s, nil
}

func (p plain) write(s signed) []Field {
	text := hex.EncodeToString(s.signatures[0])
	if p.encoding == EncodingBase64 {
		text = base64.StdEncoding.EncodeToString(s.signatures[0])
	}
	return []Field{{p.header, p.prefix + text}}
}

func (p plain) delivery(h Header, _ []byte) (id, kind string) {
	if p.id == "" {
		return "", ""
	}
	return first(h, p.id), first(h, p.kind)
}

func first(h Header, name string) string {
	if values := h.Values(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

func appendSignature(list [][]byte, signature []byte) [][]byte {
	if signature == nil {
		return list
	}
	return append(list, signature)
}

// description is what bodies of webhooks say of themselves.
type description struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// describe reads a body's description; what is not there is "".
func describe(body []byte) description {
	var d description
	if err := json.Unmarshal(body, &d); err != nil {
		return description{}
	}
	return d
}
