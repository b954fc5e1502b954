package define

// follow finds what a path leads to in a JSON text, without decoding what lies beside it; nil where it leads nowhere. Of a key that
// stands twice the last counts, as in decode. The text must be JSON: of one that is not the answer is any part of it.
func follow(text []byte, path []hop) []byte {
	r := &reader{text: text}
	for i := range path {
		h := &path[i]
		found := false
		switch c := r.peek(); {
		case c == '{' && h.index < 0:
			found = r.toMember(h.key)
		case c == '[' && h.index >= 0:
			found = r.toItem(h.index)
		}
		if !found {
			return nil
		}
	}
	r.space()
	start := r.at
	if !r.skip() {
		return nil
	}
	return r.text[start:r.at]
}

// toMember goes to the value of a member of the object here.
func (r *reader) toMember(key string) bool {
	at := -1
	r.at++ // {
	if r.peek() == '}' {
		return false
	}
	for {
		if r.peek() != '"' {
			return false
		}
		raw, err := r.quoted()
		if err != nil || r.peek() != ':' {
			return false
		}
		r.at++
		r.space()
		if isKey(raw, key) {
			at = r.at
		}
		if !r.skip() {
			return false
		}
		switch r.peek() {
		case ',':
			r.at++
		case '}':
			r.at = at
			return at >= 0
		default:
			return false
		}
	}
}

// isKey tells whether a text between quotes says key.
func isKey(raw []byte, key string) bool {
	if string(raw[1:len(raw)-1]) == key {
		return true
	}
	for _, c := range raw {
		if c == '\\' || c >= 0x80 { // only then can it say something else than it is
			said, err := unquote(raw)
			return err == nil && said == key
		}
	}
	return false
}

// toItem goes to an item of the list here.
func (r *reader) toItem(index int) bool {
	r.at++ // [
	if r.peek() == ']' {
		return false
	}
	for ; index > 0; index-- {
		if !r.skip() || r.peek() != ',' {
			return false
		}
		r.at++
	}
	return true
}

// skip goes past one value.
func (r *reader) skip() bool {
	r.space()
	depth := 0
	for r.at < len(r.text) {
		switch c := r.text[r.at]; c {
		case '"':
			if _, err := r.quoted(); err != nil {
				return false
			}
		case '{', '[':
			depth++
			r.at++
			continue
		case '}', ']':
			if depth--; depth < 0 {
				return false
			}
			r.at++
		case ' ', '\t', '\r', '\n', ',', ':':
			if depth == 0 {
				return false
			}
			r.at++
			continue
		default:
			for r.at < len(r.text) && isPlain(r.text[r.at]) {
				r.at++
			}
		}
		if depth == 0 {
			return true
		}
	}
	return false
}

// isPlain tells whether a byte can be of a number or a word.
func isPlain(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ',', ':', '"', '{', '}', '[', ']':
		return false
	}
	return true
}
