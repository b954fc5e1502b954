package relay

// Reserved tells whether a header field is Atoll's own, in any spelling that a program behind might take for it:
// upper or lower case, with underscores for hyphens (as CGI and WSGI have them), or with blanks around.
func Reserved(name string) bool { return FoldedPrefix(name, "atoll-") }

// FoldedPrefix tells whether a field name begins with a prefix (lower case, hyphens), whatever its case and whether
// it has hyphens or underscores.
func FoldedPrefix(name, prefix string) bool {
	for len(name) > 0 && (name[0] == ' ' || name[0] == '\t') {
		name = name[1:]
	}
	if len(name) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if fold(name[i]) != prefix[i] {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	switch {
	case c == '_':
		return '-'
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	}
	return c
}

// Scrub takes every field out of h for which drop holds.
func Scrub(h Header, drop func(name string) bool) {
	for name := range h.All() {
		if drop(name) {
			h.Del(name)
		}
	}
}
