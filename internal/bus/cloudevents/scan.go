package cloudevents

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// scanner walks over JSON that is known to be valid, and hands out its parts as they are written.
type scanner struct {
	text []byte
	at   int
}

// newScanner checks that a text is one JSON value in UTF-8.
func newScanner(text []byte) (*scanner, error) {
	if !utf8.Valid(text) {
		return nil, notJSON("it is not UTF-8")
	}
	if json.Valid(text) {
		return &scanner{text: text}, nil
	}
	if e, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(text, new(any))); ok {
		return nil, notJSON("it cannot be read after %d bytes", e.Offset)
	}
	return nil, notJSON("it cannot be read")
}

// next steps over space and returns the byte that stands there.
func (s *scanner) next() byte {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\r', '\n', ',', ':':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// open steps into an object or array, and tells whether there is one.
func (s *scanner) open(bracket byte) bool {
	if s.next() != bracket {
		return false
	}
	s.at++
	return true
}

// more tells whether the object or array goes on; if not, it steps out of it.
func (s *scanner) more() bool {
	if c := s.next(); c == '}' || c == ']' {
		s.at++
		return false
	}
	return true
}

// value steps over a value and returns it.
func (s *scanner) value() json.RawMessage {
	first := s.next()
	begin := s.at
	switch first {
	case '"':
		s.skipText()
	case '{', '[':
		s.skipCompound()
	default:
		for s.at < len(s.text) && bytes.IndexByte([]byte(" \t\r\n,:]}"), s.text[s.at]) < 0 {
			s.at++
		}
	}
	return s.text[begin:s.at:s.at]
}

func (s *scanner) skipText() {
	for s.at++; s.text[s.at] != '"'; s.at++ {
		if s.text[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
}

func (s *scanner) skipCompound() {
	for depth := 0; ; {
		switch s.text[s.at] {
		case '"':
			s.skipText()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		s.at++
		if depth == 0 {
			return
		}
	}
}

// plain is what a JSON string says.
func plain(value json.RawMessage) string {
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1])
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		panic("cloudevents: a valid JSON string does not decode: " + err.Error())
	}
	return text
}
