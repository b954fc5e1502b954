package define

import (
	"errors"
	"strings"
)

// part is a piece of a text: an expression, or what stands between.
type part struct {
	text string // of an expression what is between ${ and }
	expr bool
	at   int // where the piece begins in the text, in bytes; of an expression behind ${
}

var errOpen = errors.New("this ${ is never closed")

// split takes a text apart at its ${expressions}. $${ stands for a plain ${. Where an expression ends is found by reading it as CEL
// does: braces within texts and comments do not count, and those of maps are paired. On an error the last part is the one that is
// not closed.
func split(text string) ([]part, error) {
	var parts []part
	var plain strings.Builder
	from := 0
	flush := func() {
		if plain.Len() > 0 {
			parts = append(parts, part{text: plain.String(), at: from})
			plain.Reset()
		}
	}
	for i := 0; i < len(text); {
		switch {
		case strings.HasPrefix(text[i:], "$${"):
			plain.WriteString("${")
			i += len("$${")
		case strings.HasPrefix(text[i:], "${"):
			flush()
			start := i + len("${")
			end := closing(text, start)
			if end < 0 {
				return append(parts, part{text: text[start:], expr: true, at: start}), errOpen
			}
			parts = append(parts, part{text: text[start:end], expr: true, at: start})
			i = end + 1
			from = i
		default:
			plain.WriteByte(text[i])
			i++
		}
	}
	flush()
	return parts, nil
}

// holdsExpression tells whether a text holds ${, escaped or not.
func holdsExpression(text string) bool { return strings.Contains(text, "${") }

// closing is where the brace is that closes an expression which begins at i, or -1.
func closing(text string, i int) int {
	depth := 0
	for i < len(text) {
		switch c := text[i]; {
		case c == '{':
			depth++
			i++
		case c == '}':
			if depth == 0 {
				return i
			}
			depth--
			i++
		case c == '"' || c == '\'':
			i = endOfText(text, i, false)
		case strings.HasPrefix(text[i:], "//"):
			line := strings.IndexByte(text[i:], '\n')
			if line < 0 {
				return -1
			}
			i += line + 1
		case isLetter(c):
			word := i
			for i < len(text) && (isLetter(text[i]) || text[i] >= '0' && text[i] <= '9') {
				i++
			}
			if i < len(text) && (text[i] == '"' || text[i] == '\'') && isPrefix(text[word:i]) {
				i = endOfText(text, i, strings.ContainsAny(text[word:i], "rR"))
			}
		default:
			i++
		}
	}
	return -1
}

func isLetter(c byte) bool { return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// isPrefix tells whether a word before a quote is part of the text: r for raw, b for bytes.
func isPrefix(word string) bool {
	switch strings.ToLower(word) {
	case "r", "b", "br", "rb":
		return true
	}
	return false
}

// endOfText is the place behind a text of CEL whose first quote is at i; the end of all if it is not closed.
func endOfText(text string, i int, raw bool) int {
	quote := text[i : i+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(text[i:], triple) {
		quote = triple
	}
	for i += len(quote); i < len(text); i++ {
		switch {
		case text[i] == '\\' && !raw:
			i++
		case strings.HasPrefix(text[i:], quote):
			return i + len(quote)
		case text[i] == '\n' && len(quote) == 1:
			return i // which CEL refuses
		}
	}
	return len(text)
}
