package replica

import (
	"strings"
	"unicode/utf8"
)

// SplitLine makes of one line of output the texts of its Lines: valid UTF-8, each at most MaxLine bytes, cut
// between characters.
func SplitLine(text string) []string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	var parts []string
	for len(text) > MaxLine {
		cut := MaxLine
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		parts = append(parts, text[:cut])
		text = text[cut:]
	}
	return append(parts, text)
}
