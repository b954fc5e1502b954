package saga

import (
	"encoding/json"
	"fmt"
)

// errTooDeep says why a value is not kept.
var errTooDeep = fmt.Errorf("it has more than %d levels", MaxNested)

// tooDeep tells whether lists and objects of a JSON value lie too deep within each other.
func tooDeep(value []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case quoted:
			if c == '\\' {
				i++
			}
			quoted = c != '"'
		case c == '"':
			quoted = true
		case c == '[' || c == '{':
			if depth++; depth > MaxNested {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

// shallow is a value, or null if that is too deep.
func shallow(value json.RawMessage) json.RawMessage {
	if tooDeep(value) {
		return null()
	}
	return value
}
