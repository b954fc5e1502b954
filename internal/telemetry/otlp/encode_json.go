package otlp

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"strconv"
)

// JSONEncoder writes requests as OTLP/JSON. Its zero value is ready; it is used by one goroutine at a time.
type JSONEncoder struct{ schema *schema }

// Append appends an export request, which is given in Protocol Buffers as AppendTraces and its like write it, to out as
// OTLP/JSON on one line, without a line feed at its end. Fields that are not known are left out. A request that is
// broken gives *Malformed.
func (e *JSONEncoder) Append(out []byte, s Signal, request []byte) ([]byte, error) {
	if e.schema == nil {
		e.schema = newSchema()
	}
	w := jsonWriter{schema: e.schema, out: out}
	w.message(s.message(), request, 1)
	if w.why != "" {
		return nil, &Malformed{Where: "the request", Offset: len(request), Why: w.why}
	}
	return w.out, nil
}

type jsonWriter struct {
	schema *schema
	out    []byte
	why    string
}

// message writes a message: its fields in the order of the schema, since those of one name may lie apart.
func (w *jsonWriter) message(m message, b []byte, depth int) {
	if depth > maxNesting {
		w.why = errDeep.Error()
		return
	}
	there := uint32(0) // the numbers of the fields in it
	c := cursor{b: b}
	for c.next() {
		there |= 1 << min(c.tag>>3, 31)
	}
	if w.why == "" {
		w.why = c.why
	}
	w.out = append(w.out, '{')
	for i, n := range w.fields(m, there) {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		f := &w.schema[m][n]
		w.out = append(append(append(w.out, '"'), f.name...), '"', ':')
		w.field(f, b, depth)
	}
	w.out = append(w.out, '}')
}

// fields lists those of the fields of a message that are there.
func (w *jsonWriter) fields(m message, there uint32) []int {
	list := make([]int, 0, 16)
	for i := range w.schema[m] {
		if there&(1<<w.schema[m][i].num) != 0 {
			list = append(list, i)
		}
	}
	return list
}

// field writes all values of a field, or the last if there is to be one.
func (w *jsonWriter) field(f *field, b []byte, depth int) {
	var last cursor
	n := 0
	for c := (cursor{b: b}); c.next(); {
		if c.tag>>3 != uint64(f.num) {
			continue
		}
		if last = c; !f.repeated {
			continue
		}
		if f.typ != typeMessage && c.tag&7 == wireLen {
			n = w.packed(f, c.raw, n)
			continue
		}
		n = w.element(n)
		w.value(f, &c, depth)
	}
	switch {
	case !f.repeated:
		w.value(f, &last, depth)
	case n == 0:
		w.out = append(w.out, '[', ']')
	default:
		w.out = append(w.out, ']')
	}
}

// element writes what comes before the n-th element of an array.
func (w *jsonWriter) element(n int) int {
	if n == 0 {
		w.out = append(w.out, '[')
	} else {
		w.out = append(w.out, ',')
	}
	return n + 1
}

func (w *jsonWriter) packed(f *field, b []byte, n int) int {
	c := cursor{b: b, tag: wireFixed64}
	if f.typ == typeUint64 {
		c.tag = wireVarint
	}
	for len(c.b) > 0 && c.value() {
		n = w.element(n)
		w.value(f, &c, 0)
	}
	if w.why == "" {
		w.why = c.why
	}
	return n
}

func (w *jsonWriter) value(f *field, c *cursor, depth int) {
	switch f.typ {
	case typeMessage:
		w.message(f.msg, c.raw, depth+1)
	case typeText:
		w.out = appendQuoted(w.out, c.raw)
	case typeID:
		w.out = append(hex.AppendEncode(append(w.out, '"'), c.raw), '"')
	case typeBytes:
		w.out = append(base64.StdEncoding.AppendEncode(append(w.out, '"'), c.raw), '"')
	case typeBool:
		w.out = strconv.AppendBool(w.out, c.num != 0)
	case typeInt32:
		w.out = strconv.AppendInt(w.out, int64(int32(c.num)), 10)
	case typeSint32:
		w.out = strconv.AppendInt(w.out, int64(unzigzag(c.num)), 10)
	case typeInt64, typeSfixed:
		w.out = append(strconv.AppendInt(append(w.out, '"'), int64(c.num), 10), '"')
	case typeUint64, typeFixed64:
		w.out = append(strconv.AppendUint(append(w.out, '"'), c.num, 10), '"')
	case typeDouble:
		w.out = appendFloat(w.out, math.Float64frombits(c.num))
	}
}
