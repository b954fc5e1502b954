package telemetry

import (
	"strings"
	"unsafe"
)

// MaxWord is how much of a word counts in NextWord, in bytes.
const MaxWord = 64

// wordByte tells whether a byte belongs to a word: a letter, digit or underscore, or a part of a character beyond
// ASCII.
func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c >= 0x80
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// NextWord is the next word of a text, ASCII letters made small, of a long one the first 64 bytes; and what comes after
// it. There is none where word is empty. The word lies in buf.
func NextWord[T ~string | ~[]byte](text T, buf *[MaxWord]byte) (word []byte, rest T) {
	i, n := 0, 0
	for i < len(text) && !wordByte(text[i]) {
		i++
	}
	for ; i < len(text) && wordByte(text[i]); i++ {
		if n < MaxWord {
			buf[n] = lower(text[i])
			n++
		}
	}
	return buf[:n], text[i:]
}

// Words calls yield with each word of a text, as NextWord has them. The slice is yield's only until it returns.
func Words[T ~string | ~[]byte](text T, yield func(word []byte)) {
	var buf [MaxWord]byte
	for {
		word, rest := NextWord(text, &buf)
		if len(word) == 0 {
			return
		}
		yield(word)
		text = rest
	}
}

// PhraseWords are the words, as Words has them, of any text that MatchPhrase finds a phrase in.
func PhraseWords(phrase string) []string {
	var words []string
	Words(phrase, func(word []byte) { words = append(words, string(word)) })
	return words
}

// MatchPhrase tells whether a phrase stands in a text: the same bytes but for the case of ASCII letters, and not
// within a longer word. It allocates nothing.
func MatchPhrase[T ~string | ~[]byte](text T, phrase string) bool {
	if len(phrase) == 0 {
		return true
	}
	s := asString(text)
	at := rarest(phrase)
	low, up := phrase[at], phrase[at]
	if low = lower(low); low >= 'a' && low <= 'z' {
		up = low &^ 0x20
	}
	last := len(s) - len(phrase) + at // where the rare byte can stand at the latest
	nextLow, nextUp := at-1, at-1
	for from := at; from <= last; {
		if nextLow < from {
			nextLow = indexFrom(s, low, from)
		}
		if up == low {
			nextUp = nextLow
		} else if nextUp < from {
			nextUp = indexFrom(s, up, from)
		}
		next := min(nextLow, nextUp)
		if next > last {
			return false
		}
		if foldEqual(s[next-at:next-at+len(phrase)], phrase) && alone(s, phrase, next-at) {
			return true
		}
		from = next + 1
	}
	return false
}

// asString is a text without a copy: both kinds begin with a pointer and a length.
func asString[T ~string | ~[]byte](text T) string { return *(*string)(unsafe.Pointer(&text)) }

// indexFrom is where a byte stands next, or len(s).
func indexFrom(s string, c byte, from int) int {
	if i := strings.IndexByte(s[from:], c); i >= 0 {
		return from + i
	}
	return len(s)
}

// alone tells whether what stands at a place is not the part of a longer word.
func alone(s, phrase string, at int) bool {
	to := at + len(phrase)
	return (at == 0 || !wordByte(phrase[0]) || !wordByte(s[at-1])) &&
		(to == len(s) || !wordByte(phrase[len(phrase)-1]) || !wordByte(s[to]))
}

func foldEqual(a, b string) bool {
	for i := range len(a) {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// rarest is the place of the byte of a phrase that few texts have.
func rarest(phrase string) int {
	const often = " etaoinsrhld/.-:0123456789cumfpg=_\"wybvkxjqz" // the most common first
	best, at := -1, 0
	for i := range len(phrase) {
		n := strings.IndexByte(often, lower(phrase[i]))
		if n < 0 {
			n = len(often)
		}
		if n > best {
			best, at = n, i
		}
	}
	return at
}
