package relay

import (
	"fmt"
	"strings"

	"github.com/atollhq/atoll/internal/fault"
)

// Path is a request's path in the two forms that follow from each other: Decoded for matching, Escaped for sending
// on. Both have the same number of slashes.
type Path struct {
	Decoded string
	Escaped string
}

// CleanPath reads the path of a request. A path that two programs could read differently is refused rather than
// mended, since what is mended here may be read otherwise behind:
//
//   - it begins with "/";
//   - "%" is followed by two hexadecimal digits;
//   - no encoded "/" (%2F), no "\" (also %5C), no control character (also encoded), no ";" (encoded it is a letter
//     like others);
//   - no empty segment but a last one ("/a//b"), no segment "." or "..", encoded or not.
//
// What remains is written in one way: unreserved characters plain, all others that came encoded encoded with upper
// case digits (RFC 3986, 6.2.2), characters that may not stand in a path encoded.
func CleanPath(raw string) (Path, error) {
	if !strings.HasPrefix(raw, "/") {
		return Path{}, refusePath("it does not begin with /")
	}
	if plainPath(raw) {
		return Path{Decoded: raw, Escaped: raw}, nil
	}
	decoded, escaped := make([]byte, 0, len(raw)), make([]byte, 0, len(raw)+8)
	for i := 0; i < len(raw); i++ {
		c, encoded := raw[i], false
		if c == '%' {
			if i+2 >= len(raw) || !isHex(raw[i+1]) || !isHex(raw[i+2]) {
				return Path{}, refusePath("a % is not followed by two hexadecimal digits")
			}
			c, encoded = unhex(raw[i+1])<<4|unhex(raw[i+2]), true
			i += 2
		}
		if why := refuseByte(c, encoded); why != "" {
			return Path{}, refusePath(why)
		}
		decoded = append(decoded, c)
		if unreserved(c) || c == '/' || !encoded && pathByte(c) {
			escaped = append(escaped, c)
		} else {
			escaped = fmt.Appendf(escaped, "%%%02X", c)
		}
	}
	p := Path{Decoded: string(decoded), Escaped: string(escaped)}
	return p, refuseSegments(p.Decoded)
}

// plainPath tells whether raw is already clean and holds only what needs no second look.
func plainPath(raw string) bool {
	for i := range len(raw) {
		switch c := raw[i]; {
		case c == '/':
			if i+1 < len(raw) && (raw[i+1] == '/' || raw[i+1] == '.') {
				return false
			}
		case !unreserved(c):
			return false
		}
	}
	return true
}

func refuseByte(c byte, encoded bool) string {
	switch {
	case c < 0x20 || c == 0x7f:
		return "it holds a control character"
	case c == '\\':
		return `it holds a "\"`
	case c == '/' && encoded:
		return "it holds an encoded slash (%2F)"
	case c == ';' && !encoded:
		return `it holds a ";", which some programs cut off (send %3B)`
	}
	return ""
}

func refuseSegments(decoded string) error {
	rest := decoded[1:]
	for {
		segment, after, more := strings.Cut(rest, "/")
		switch {
		case segment == "." || segment == "..":
			return refusePath(`it holds a segment "." or ".."`)
		case segment == "" && more:
			return refusePath("it holds an empty segment (//)")
		case !more:
			return nil
		}
		rest = after
	}
}

func refusePath(why string) error {
	return fault.New(fault.CodePathRefused, "the path is refused: %s", why).
		Fix("send the path in its plain form; `atoll explain %s` lists what is refused", fault.CodePathRefused)
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// pathByte tells whether a reserved character may stand plain in a path (RFC 3986, pchar without ";").
func pathByte(c byte) bool { return strings.IndexByte("!$&'()*+,=:@", c) >= 0 }

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}
