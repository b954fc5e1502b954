package gateway

import (
	"net/url"
	"strings"
)

// queryHolds tells whether a raw query has the parameter name, each time with the value want ("*": any). However
// many parameters there are, all are looked at. A pair that cannot be decoded is compared as it stands.
func queryHolds(raw, name, want string) bool {
	found := false
	for pair := range strings.SplitSeq(raw, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if decode(key) != name {
			continue
		}
		if want != "*" && decode(value) != want {
			return false
		}
		found = true
	}
	return found
}

func decode(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	if d, err := url.QueryUnescape(s); err == nil {
		return d
	}
	return s
}

// CleanHost is a host as routes are matched by: lower case, without port and without a last dot. It tells false if
// host is not one.
func CleanHost(authority string) (string, bool) {
	host := authority
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 || !validPort(host[end+1:]) {
			return "", false
		}
		return strings.ToLower(host[:end+1]), !strings.ContainsFunc(host[1:end], func(r rune) bool {
			return !strings.ContainsRune("0123456789abcdefABCDEF:.", r)
		})
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		if !validPort(host[i:]) {
			return "", false
		}
		host = host[:i]
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host, host != "" && !strings.ContainsFunc(host, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-._*", r)
	})
}

// validPort takes "" and ":" with digits.
func validPort(s string) bool {
	digits, ok := strings.CutPrefix(s, ":")
	return s == "" || ok && len(digits) <= 5 && strings.Trim(digits, "0123456789") == ""
}
