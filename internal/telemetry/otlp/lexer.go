package otlp

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// lexer reads JSON, RFC 8259, from one value to the next. It is lenient where that does no harm: numbers are what
// strconv takes.
type lexer struct {
	b []byte
	i int // the next byte
}

// maxNesting is how deep objects and arrays of JSON may nest.
const maxNesting = 512

var (
	errJSON = errors.New("this is not JSON")
	errDeep = errors.New("values are nested too deep")
)

// peek goes to the next byte that is not white space and returns it; 0 at the end.
func (l *lexer) peek() byte {
	for ; l.i < len(l.b); l.i++ {
		switch ch := l.b[l.i]; ch {
		case ' ', '\t', '\n', '\r':
		default:
			return ch
		}
	}
	return 0
}

// take goes past a byte, if it comes next.
func (l *lexer) take(ch byte) bool {
	if l.peek() != ch {
		return false
	}
	l.i++
	return true
}

// word takes null, true or false.
func (l *lexer) word(w string) bool {
	l.peek()
	if !bytes.HasPrefix(l.b[l.i:], []byte(w)) {
		return false
	}
	l.i += len(w)
	return true
}

// text reads a string. It aliases the input if there is nothing to unescape in it.
func (l *lexer) text() ([]byte, error) {
	if !l.take('"') {
		return nil, errJSON
	}
	start := l.i
	for ; l.i < len(l.b); l.i++ {
		switch l.b[l.i] {
		case '"':
			l.i++
			return l.b[start : l.i-1], nil
		case '\\':
			return l.unescape(append([]byte(nil), l.b[start:l.i]...))
		}
	}
	return nil, errJSON
}

// unescape reads the rest of a string, from its first backslash on.
func (l *lexer) unescape(out []byte) ([]byte, error) {
	for l.i < len(l.b) {
		ch := l.b[l.i]
		l.i++
		if ch == '"' {
			return out, nil
		}
		if ch != '\\' {
			out = append(out, ch)
			continue
		}
		if l.i == len(l.b) {
			break
		}
		ch = l.b[l.i]
		l.i++
		switch ch {
		case '"', '\\', '/':
			out = append(out, ch)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, ok := l.rune()
			if !ok {
				return nil, errJSON
			}
			out = utf8.AppendRune(out, r)
		default:
			return nil, errJSON
		}
	}
	return nil, errJSON
}

// rune reads what follows on \u, and the second half of a pair of surrogates.
func (l *lexer) rune() (rune, bool) {
	r, ok := l.hex4()
	if !ok || !utf16.IsSurrogate(r) {
		return r, ok
	}
	if bytes.HasPrefix(l.b[l.i:], []byte(`\u`)) {
		at := l.i
		l.i += 2
		if low, ok := l.hex4(); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, true
			}
		}
		l.i = at
	}
	return utf8.RuneError, true
}

func (l *lexer) hex4() (rune, bool) {
	if l.i+4 > len(l.b) {
		return 0, false
	}
	n, err := strconv.ParseUint(alias(l.b[l.i:l.i+4]), 16, 32)
	l.i += 4
	return rune(n), err == nil
}

// number reads the text of a number.
func (l *lexer) number() ([]byte, error) {
	l.peek()
	start := l.i
	for ; l.i < len(l.b); l.i++ {
		switch ch := l.b[l.i]; {
		case ch >= '0' && ch <= '9', ch == '-', ch == '+', ch == '.', ch == 'e', ch == 'E':
			continue
		}
		break
	}
	if l.i == start {
		return nil, errJSON
	}
	return l.b[start:l.i], nil
}

// scalar reads the text of a string or of a number.
func (l *lexer) scalar() ([]byte, error) {
	if l.peek() == '"' {
		return l.text()
	}
	return l.number()
}

// object calls member for each member of an object, which has to read its value.
func (l *lexer) object(depth int, member func(key []byte) error) error {
	if depth > maxNesting {
		return errDeep
	}
	if !l.take('{') {
		return errJSON
	}
	if l.take('}') {
		return nil
	}
	for {
		if l.peek() != '"' {
			return errJSON
		}
		key, err := l.text()
		if err != nil {
			return err
		}
		if !l.take(':') {
			return errJSON
		}
		if err := member(key); err != nil {
			return err
		}
		if l.take('}') {
			return nil
		}
		if !l.take(',') {
			return errJSON
		}
	}
}

// array calls element for each element of an array, which has to read it.
func (l *lexer) array(depth int, element func() error) error {
	if depth > maxNesting {
		return errDeep
	}
	if !l.take('[') {
		return errJSON
	}
	if l.take(']') {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if l.take(']') {
			return nil
		}
		if !l.take(',') {
			return errJSON
		}
	}
}

// skip reads a value that nobody wants.
func (l *lexer) skip(depth int) error {
	switch l.peek() {
	case '{':
		return l.object(depth, func([]byte) error { return l.skip(depth + 1) })
	case '[':
		return l.array(depth, func() error { return l.skip(depth + 1) })
	case '"':
		_, err := l.text()
		return err
	}
	if l.word("null") || l.word("true") || l.word("false") {
		return nil
	}
	n, err := l.number()
	if err != nil {
		return err
	}
	if _, ok := parseFloat(n); !ok {
		return errJSON
	}
	return nil
}

// parseFloat reads a number, or one of the texts that OTLP/JSON has for what is none.
func parseFloat(b []byte) (float64, bool) {
	switch string(b) {
	case "NaN":
		return math.NaN(), true
	case "Infinity":
		return math.Inf(1), true
	case "-Infinity":
		return math.Inf(-1), true
	}
	f, err := strconv.ParseFloat(alias(b), 64)
	return f, err == nil || errors.Is(err, strconv.ErrRange)
}

// parseInt reads a whole number of 64 bits, signed or not, as its bits. One with an exponent or a fraction of zeros,
// such as 1e3, is taken as the mapping of Protocol Buffers to JSON allows.
func parseInt(b []byte) (uint64, bool) {
	if n, err := strconv.ParseUint(alias(b), 10, 64); err == nil {
		return n, true
	}
	if n, err := strconv.ParseInt(alias(b), 10, 64); err == nil {
		return uint64(n), true
	}
	f, err := strconv.ParseFloat(alias(b), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
		return 0, false
	}
	return uint64(int64(f)), true
}
