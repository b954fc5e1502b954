package define

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"
)

// maxNesting is how deep values may be nested.
const maxNesting = 500

var (
	errNotJSON = errors.New("it is not JSON")
	errNested  = errors.New("it is nested too deep")
)

// reader reads JSON. A number is an int64 where it is whole and fits, else a float64; of a key that stands twice the last counts.
type reader struct {
	text  []byte
	at    int
	depth int
}

// decode reads one JSON value as map[string]any, []any, string, int64, float64, bool or nil. No text is null.
func decode(text []byte) (any, error) {
	if len(text) == 0 {
		return nil, nil
	}
	r := &reader{text: text}
	v, err := r.value()
	if err != nil {
		return nil, err
	}
	if r.space(); r.at != len(r.text) {
		return nil, errNotJSON
	}
	return v, nil
}

func (r *reader) space() {
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case ' ', '\t', '\r', '\n':
			r.at++
		default:
			return
		}
	}
}

// peek is the next byte that is no space; 0 at the end.
func (r *reader) peek() byte {
	r.space()
	if r.at == len(r.text) {
		return 0
	}
	return r.text[r.at]
}

func (r *reader) value() (any, error) {
	switch c := r.peek(); c {
	case '{':
		return r.object()
	case '[':
		return r.list()
	case '"':
		raw, err := r.quoted()
		if err != nil {
			return nil, err
		}
		return unquote(raw)
	case 't':
		return true, r.word("true")
	case 'f':
		return false, r.word("false")
	case 'n':
		return nil, r.word("null")
	default:
		return number(r.numeral())
	}
}

func (r *reader) object() (any, error) {
	if r.depth++; r.depth > maxNesting {
		return nil, errNested
	}
	out := map[string]any{}
	r.at++ // {
	for first := true; r.peek() != '}' || !first; first = false {
		if r.peek() != '"' {
			return nil, errNotJSON
		}
		raw, err := r.quoted()
		if err != nil {
			return nil, err
		}
		key, err := unquote(raw)
		if err != nil {
			return nil, err
		}
		if r.peek() != ':' {
			return nil, errNotJSON
		}
		r.at++
		if out[key], err = r.value(); err != nil {
			return nil, err
		}
		if more, err := r.more('}'); !more {
			return out, err
		}
	}
	r.depth--
	r.at++
	return out, nil
}

// more tells whether a comma follows, which it reads, or the closing bracket, which it reads too.
func (r *reader) more(closing byte) (bool, error) {
	switch r.peek() {
	case ',':
		r.at++
		return true, nil
	case closing:
		r.at++
		r.depth--
		return false, nil
	}
	return false, errNotJSON
}

func (r *reader) list() (any, error) {
	if r.depth++; r.depth > maxNesting {
		return nil, errNested
	}
	out := []any{}
	r.at++ // [
	for first := true; r.peek() != ']' || !first; first = false {
		v, err := r.value()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		if more, err := r.more(']'); !more {
			return out, err
		}
	}
	r.depth--
	r.at++
	return out, nil
}

func (r *reader) word(word string) error {
	if !bytes.HasPrefix(r.text[r.at:], []byte(word)) {
		return errNotJSON
	}
	r.at += len(word)
	return nil
}

// quoted reads a text with its quotes.
func (r *reader) quoted() ([]byte, error) {
	start := r.at
	for r.at++; r.at < len(r.text); r.at++ {
		switch c := r.text[r.at]; {
		case c == '"':
			r.at++
			return r.text[start:r.at], nil
		case c == '\\':
			r.at++
		case c < ' ':
			return nil, errNotJSON
		}
	}
	return nil, errNotJSON
}

// unquote is what a text between quotes says.
func unquote(raw []byte) (string, error) {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner), nil
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return "", errNotJSON
	}
	return s, nil
}

// numeral reads what a number may be made of.
func (r *reader) numeral() []byte {
	start := r.at
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			r.at++
		default:
			return r.text[start:r.at]
		}
	}
	return r.text[start:r.at]
}

const exact = 1 << 53 // up to here every whole number is a float64

func number(text []byte) (any, error) {
	if len(text) == 0 || !json.Valid(text) {
		return nil, errNotJSON
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return nil, errNotJSON
	}
	if f == math.Trunc(f) && math.Abs(f) <= exact {
		return int64(f), nil
	}
	return f, nil
}
