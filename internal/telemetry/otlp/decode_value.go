package otlp

import (
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"github.com/atollhq/atoll/internal/telemetry"
)

const attrSize = int64(unsafe.Sizeof(telemetry.Attr{}))

// attr decodes a KeyValue and appends it to the slab, unless there are too many since start already.
func (d *Decoder) attr(b []byte, start int, where string) {
	if len(d.attrs)-start >= d.limits.Attrs {
		d.partial.Cut++
		return
	}
	if key, value, ok := pair(b); ok {
		a := telemetry.Attr{Key: d.text(key, d.limits.Value)}
		if text, rest, ok := short(value, 1<<3|wireLen); ok && len(rest) == 0 {
			a.Value = telemetry.String(d.text(text, d.limits.Value))
		} else {
			a.Value = d.value(value, d.limits.Value, where)
		}
		d.attrs = append(d.attrs, a)
		return
	}
	var a telemetry.Attr
	c := cursor{b: b}
	for c.next() {
		switch c.tag {
		case 1<<3 | wireLen:
			a.Key = d.text(c.raw, d.limits.Value)
		case 2<<3 | wireLen:
			a.Value = d.value(c.raw, d.limits.Value, where)
		}
	}
	if c.why != "" {
		d.check(&c, where, ".attributes")
		return
	}
	d.attrs = append(d.attrs, a)
}

// pair splits a KeyValue in the form that nearly all have: a key, then a value, both short, and nothing else.
func pair(b []byte) (key, value []byte, ok bool) {
	key, b, ok = short(b, 1<<3|wireLen)
	if !ok {
		return nil, nil, false
	}
	value, b, ok = short(b, 2<<3|wireLen)
	return key, value, ok && len(b) == 0
}

// short splits off a field at the beginning of b, if it has this tag and a length of one byte.
func short(b []byte, tag byte) (raw, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != tag || int(b[1]) > len(b)-2 || b[1] >= 0x80 {
		return nil, nil, false
	}
	n := int(b[1]) + 2
	return b[2:n], b[n:], true
}

// since takes the attributes that were appended to the slab since start.
func (d *Decoder) since(start int) []telemetry.Attr {
	if len(d.attrs) == start {
		return nil
	}
	d.charge(attrSize * int64(len(d.attrs)-start))
	return d.attrs[start:len(d.attrs):len(d.attrs)]
}

// value decodes an AnyValue.
func (d *Decoder) value(b []byte, limit int, where string) telemetry.Value {
	var v telemetry.Value
	c := cursor{b: b}
	for c.next() {
		switch c.tag {
		case 1<<3 | wireLen:
			v = telemetry.String(d.text(c.raw, limit))
		case 2<<3 | wireVarint:
			v = telemetry.Bool(c.num != 0)
		case 3<<3 | wireVarint:
			v = telemetry.Int(int64(c.num))
		case 4<<3 | wireFixed64:
			v = telemetry.Float(math.Float64frombits(c.num))
		case 5<<3 | wireLen, 6<<3 | wireLen, 7<<3 | wireLen:
			v = d.nested(c.tag, c.raw, limit, where)
		}
	}
	if c.why != "" {
		d.check(&c, where, ".value")
	}
	return v
}

// nested decodes an array, a map or bytes into JSON text. A text that is too long is cut, and is then not JSON any more
// but a string.
func (d *Decoder) nested(tag uint64, b []byte, limit int, where string) telemetry.Value {
	start := len(d.json)
	w := jsonValue{d: d, out: d.json, end: start + limit, where: where}
	w.field(tag, b, 1)
	d.json = w.out
	text := d.json[start:]
	d.charge(int64(len(text)))
	if len(text) > limit {
		d.partial.Cut++
		return telemetry.String(alias(cut(text, limit)))
	}
	return telemetry.JSON(alias(text))
}

// jsonValue writes values as JSON, until it wrote more than it may.
type jsonValue struct {
	d     *Decoder
	out   []byte
	end   int // to stop beyond
	where string
}

func (w *jsonValue) full() bool { return len(w.out) > w.end || w.d.fail != nil }

// field writes what a field of an AnyValue holds that is not a scalar.
func (w *jsonValue) field(tag uint64, b []byte, depth int) {
	switch {
	case tag == 7<<3|wireLen:
		// A quarter more than fits is enough to tell that it does not fit.
		b = b[:min(len(b), w.end-min(w.end, len(w.out))+4)]
		w.out = append(w.out, '"')
		w.out = base64.StdEncoding.AppendEncode(w.out, b)
		w.out = append(w.out, '"')
	case depth > w.d.limits.Depth:
		w.d.partial.Cut++
		w.out = append(w.out, "null"...)
	case tag == 5<<3|wireLen:
		w.list(b, '[', ']', depth, w.value)
	case tag == 6<<3|wireLen:
		w.list(b, '{', '}', depth, w.pair)
	}
}

// list writes an ArrayValue or a KeyValueList, which have the same shape.
func (w *jsonValue) list(b []byte, begin, end byte, depth int, item func([]byte, int)) {
	w.out = append(w.out, begin)
	c := cursor{b: b}
	for n := 0; !w.full() && c.next(); {
		if c.tag != 1<<3|wireLen {
			continue
		}
		if n++; n > 1 {
			w.out = append(w.out, ',')
		}
		item(c.raw, depth)
	}
	w.d.check(&c, w.where, ".value")
	w.out = append(w.out, end)
}

// pair writes a KeyValue of a map.
func (w *jsonValue) pair(b []byte, depth int) {
	c := cursor{b: b}
	var key, value []byte
	for c.next() {
		switch c.tag {
		case 1<<3 | wireLen:
			key = c.raw
		case 2<<3 | wireLen:
			value = c.raw
		}
	}
	w.d.check(&c, w.where, ".value")
	w.text(key)
	w.out = append(w.out, ':')
	w.value(value, depth)
}

// value writes an AnyValue; the last of its fields counts, since they are a oneof.
func (w *jsonValue) value(b []byte, depth int) {
	c := cursor{b: b}
	var last cursor
	for c.next() {
		if n := c.tag >> 3; n >= 1 && n <= 7 {
			last = c
		}
	}
	w.d.check(&c, w.where, ".value")
	switch last.tag {
	case 1<<3 | wireLen:
		w.text(last.raw)
	case 2<<3 | wireVarint:
		w.out = strconv.AppendBool(w.out, last.num != 0)
	case 3<<3 | wireVarint:
		w.out = strconv.AppendInt(w.out, int64(last.num), 10)
	case 4<<3 | wireFixed64:
		w.out = appendFloat(w.out, math.Float64frombits(last.num))
	case 5<<3 | wireLen, 6<<3 | wireLen, 7<<3 | wireLen:
		w.field(last.tag, last.raw, depth+1)
	default:
		w.out = append(w.out, "null"...)
	}
}

// text writes a text of at most what is left to write.
func (w *jsonValue) text(b []byte) {
	if left := w.end - min(w.end, len(w.out)) + 1; len(b) > left {
		b = cut(b, left)
	}
	w.out = appendQuoted(w.out, b)
}

// appendFloat writes a float as JSON: with a point or an exponent, so that it is told from an integer. JSON has no
// numbers for infinities and for what is not a number; they are texts, as in OTLP/JSON.
func appendFloat(out []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(out, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(out, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(out, `"-Infinity"`...)
	}
	start := len(out)
	out = strconv.AppendFloat(out, f, 'g', -1, 64)
	for _, ch := range out[start:] {
		if ch == '.' || ch == 'e' {
			return out
		}
	}
	return append(out, ".0"...)
}

// appendQuoted writes a text as a string of JSON. What is not UTF-8 becomes the replacement rune.
func appendQuoted(out, b []byte) []byte {
	const hexdigits = "0123456789abcdef"
	out = append(out, '"')
	start := 0
	for i := 0; i < len(b); {
		ch := b[i]
		if ch >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				out = append(append(out, b[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += n
			continue
		}
		if ch >= ' ' && ch != '"' && ch != '\\' {
			i++
			continue
		}
		out = append(out, b[start:i]...)
		switch ch {
		case '"', '\\':
			out = append(out, '\\', ch)
		case '\n':
			out = append(out, '\\', 'n')
		case '\r':
			out = append(out, '\\', 'r')
		case '\t':
			out = append(out, '\\', 't')
		default:
			out = append(out, '\\', 'u', '0', '0', hexdigits[ch>>4], hexdigits[ch&15])
		}
		i++
		start = i
	}
	return append(append(out, b[start:]...), '"')
}
