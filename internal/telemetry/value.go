package telemetry

import (
	"math"
	"strconv"
)

// Kind is what a Value is.
type Kind uint8

// The kinds of values.
const (
	KindNone   Kind = iota // no value
	KindString             // text
	KindInt                // 64 bits, signed
	KindFloat              // IEEE 754, 64 bits
	KindBool               // true or false
	KindJSON               // an array, a map or bytes (as Base64 in quotes), written as JSON
)

// Value is the value of an attribute or of a field. The zero Value is none. It is comparable; two values of other
// kinds are never equal.
type Value struct {
	text string
	num  uint64
	kind Kind
}

// String is text.
func String(s string) Value { return Value{text: s, kind: KindString} }

// Int is a whole number.
func Int(n int64) Value { return Value{num: uint64(n), kind: KindInt} }

// Float is a number.
func Float(f float64) Value { return Value{num: math.Float64bits(f), kind: KindFloat} }

// Bool is a truth value.
func Bool(b bool) Value {
	v := Value{kind: KindBool}
	if b {
		v.num = 1
	}
	return v
}

// JSON is an array or a map, as its JSON text.
func JSON(text string) Value { return Value{text: text, kind: KindJSON} }

// Kind is what the value is.
func (v Value) Kind() Kind { return v.kind }

// Str is the text of KindString and KindJSON, else "".
func (v Value) Str() string { return v.text }

// Int is the number of KindInt, else 0.
func (v Value) Int() int64 {
	if v.kind != KindInt {
		return 0
	}
	return int64(v.num)
}

// Bool is the value of KindBool, else false.
func (v Value) Bool() bool { return v.kind == KindBool && v.num == 1 }

// Number is the number of KindInt and KindFloat; ok is false for the others.
func (v Value) Number() (n float64, ok bool) {
	switch v.kind {
	case KindInt:
		return float64(int64(v.num)), true
	case KindFloat:
		return math.Float64frombits(v.num), true
	case KindNone, KindString, KindBool, KindJSON:
	}
	return 0, false
}

// Text is the value as text, whatever its kind; "" for none.
func (v Value) Text() string {
	switch v.kind {
	case KindString, KindJSON:
		return v.text
	case KindInt:
		return strconv.FormatInt(int64(v.num), 10)
	case KindFloat:
		return strconv.FormatFloat(math.Float64frombits(v.num), 'g', -1, 64)
	case KindBool:
		return strconv.FormatBool(v.num == 1)
	case KindNone:
	}
	return ""
}

// Any is the value as encoding/json writes it best. A number that JSON cannot say, NaN or an infinity, is its text.
func (v Value) Any() any {
	switch v.kind {
	case KindString:
		return v.text
	case KindInt:
		return int64(v.num)
	case KindFloat:
		if f := math.Float64frombits(v.num); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
		return v.Text()
	case KindBool:
		return v.num == 1
	case KindJSON:
		return rawJSON(v.text)
	case KindNone:
	}
	return nil
}

type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// Attr is an attribute: a key and its value.
type Attr struct {
	Key   string
	Value Value
}
