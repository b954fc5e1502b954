package cloudevents

import "strings"

// isReference tells whether a text is made of what a URI reference is made of (RFC 3986): its characters, and % only
// before two hexadecimal digits.
func isReference(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("-._~:/?#[]@!$&'()*+,;=", c) >= 0:
		case c == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			i += 2
		default:
			return false
		}
	}
	return s != ""
}

// isURI tells whether a text is a URI reference with a scheme.
func isURI(s string) bool {
	scheme, _, ok := strings.Cut(s, ":")
	return ok && scheme != "" && !strings.ContainsAny(scheme, "/?#[]@%") && isReference(s) && (scheme[0]|0x20 >= 'a' && scheme[0]|0x20 <= 'z')
}

// isMediaType tells whether a text begins as a media type does: with two tokens and a slash between them (RFC 2045).
func isMediaType(s string) bool {
	mediaType, _, _ := strings.Cut(s, ";")
	kind, subtype, ok := strings.Cut(strings.TrimSpace(mediaType), "/")
	return ok && isToken(kind) && isToken(subtype)
}

func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?=`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isJSON tells whether a media type declares JSON: its subtype is json or ends with +json.
func isJSON(mediaType string) bool {
	mediaType, _, _ = strings.Cut(mediaType, ";")
	_, subtype, ok := strings.Cut(strings.TrimSpace(mediaType), "/")
	return ok && (strings.EqualFold(subtype, "json") || len(subtype) > 5 && strings.EqualFold(subtype[len(subtype)-5:], "+json"))
}

// isText tells whether a media type declares text in UTF-8 other than JSON.
func isText(mediaType string) bool {
	mediaType, params, _ := strings.Cut(mediaType, ";")
	kind, subtype, _ := strings.Cut(strings.ToLower(strings.TrimSpace(mediaType)), "/")
	text := kind == "text" || subtype == "xml" || strings.HasSuffix(subtype, "+xml") || subtype == "yaml" || subtype == "x-www-form-urlencoded"
	return text && charsetIsUTF8(params)
}

// unhex is the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
