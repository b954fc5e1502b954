package parquet

import "encoding/binary"

// The types of Thrift's compact protocol
// (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// thriftDepth bounds how deep structures may nest: the deepest that we know is five.
const thriftDepth = 16

// thriftWriter appends structures to b. Fields of a structure come in ascending order.
type thriftWriter struct {
	b     []byte
	last  int
	outer [thriftDepth]int
	depth int
}

func (t *thriftWriter) reset(b []byte) { *t = thriftWriter{b: b} }

func (t *thriftWriter) field(id, typ int) {
	if d := id - t.last; d > 0 && d < 16 {
		t.b = append(t.b, byte(d<<4|typ))
	} else {
		t.b = append(t.b, byte(typ))
		t.b = binary.AppendVarint(t.b, int64(id))
	}
	t.last = id
}

func (t *thriftWriter) i32(id int, v int32) {
	t.field(id, thriftI32)
	t.b = binary.AppendVarint(t.b, int64(v))
}

func (t *thriftWriter) i64(id int, v int64) {
	t.field(id, thriftI64)
	t.b = binary.AppendVarint(t.b, v)
}

func (t *thriftWriter) boolean(id int, v bool) {
	if v {
		t.field(id, thriftTrue)
	} else {
		t.field(id, thriftFalse)
	}
}

func (t *thriftWriter) text(id int, s string) {
	t.field(id, thriftBinary)
	t.item(s)
}

// item writes a string of a list.
func (t *thriftWriter) item(s string) {
	t.b = binary.AppendUvarint(t.b, uint64(len(s)))
	t.b = append(t.b, s...)
}

func (t *thriftWriter) list(id, typ, n int) {
	t.field(id, thriftList)
	if n < 15 {
		t.b = append(t.b, byte(n<<4|typ))
		return
	}
	t.b = append(t.b, byte(0xf0|typ))
	t.b = binary.AppendUvarint(t.b, uint64(n))
}

// begin opens the structure of a field.
func (t *thriftWriter) begin(id int) {
	t.field(id, thriftStruct)
	t.open()
}

// open opens a structure that has no field header: one of a list.
func (t *thriftWriter) open() {
	t.outer[t.depth] = t.last
	t.depth++
	t.last = 0
}

func (t *thriftWriter) end() {
	t.stop()
	t.depth--
	t.last = t.outer[t.depth]
}

func (t *thriftWriter) stop() { t.b = append(t.b, 0) }

// empty writes a structure without fields, as unions of Parquet's format like them.
func (t *thriftWriter) empty(id int) {
	t.begin(id)
	t.end()
}

// thriftReader reads structures from b. The first error stays: later reads give zeros, so that callers check once. Nothing is allocated for a length
// before it was compared with the bytes that are left.
type thriftReader struct {
	b     []byte
	at    int
	bad   string // what was wrong; empty: nothing yet
	depth int
}

func (t *thriftReader) fail(what string) {
	if t.bad == "" {
		t.bad = what
	}
	t.at = len(t.b)
}

func (t *thriftReader) octet() byte {
	if t.at >= len(t.b) {
		t.fail("ends early")
		return 0
	}
	c := t.b[t.at]
	t.at++
	return c
}

func (t *thriftReader) uvarint() uint64 {
	v, n := binary.Uvarint(t.b[t.at:])
	if n <= 0 {
		t.fail("bad number")
		return 0
	}
	t.at += n
	return v
}

func (t *thriftReader) varint() int64 {
	v := t.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (t *thriftReader) i64(typ int) int64 {
	if typ != thriftI64 && typ != thriftI32 && typ != thriftI16 {
		t.fail("a field that should be a number is not")
		return 0
	}
	return t.varint()
}

func (t *thriftReader) i32(typ int) int32 {
	v := t.i64(typ)
	if v != int64(int32(v)) {
		t.fail("number of more than 32 bits")
		return 0
	}
	return int32(v)
}

// bytes gives a part of the input, not a copy.
func (t *thriftReader) bytes(typ int) []byte {
	if typ != thriftBinary {
		t.fail("a field that should be a string is not")
		return nil
	}
	n := t.uvarint()
	if n > uint64(len(t.b)-t.at) {
		t.fail("string beyond the end")
		return nil
	}
	s := t.b[t.at : t.at+int(n)]
	t.at += int(n)
	return s
}

// list reads the head of a list whose elements are of the given type and gives their count, which is never more than the bytes that are left.
func (t *thriftReader) list(typ, elem int) int {
	if typ != thriftList {
		t.fail("a field that should be a list is not")
		return 0
	}
	n, got := t.listHead()
	if n > 0 && got != elem {
		t.fail("list of another type")
		return 0
	}
	return n
}

func (t *thriftReader) listHead() (n, elem int) {
	head := t.octet()
	size := uint64(head >> 4)
	if size == 15 {
		size = t.uvarint()
	}
	if size > uint64(len(t.b)-t.at) {
		t.fail("list beyond the end")
		return 0, 0
	}
	return int(size), int(head & 15)
}

// structure calls field for each field. field reads the value and says true, or leaves it and says false: then it is skipped.
func (t *thriftReader) structure(field func(id, typ int) bool) {
	if t.depth++; t.depth > thriftDepth {
		t.fail("nested too deep")
	}
	last := 0
	for t.bad == "" {
		head := t.octet()
		if head&15 == 0 {
			break
		}
		if d := int(head >> 4); d != 0 {
			last += d
		} else {
			last = int(int16(t.varint()))
		}
		if !field(last, int(head&15)) {
			t.skip(int(head & 15))
		}
	}
	t.depth--
}

// nested is structure for a field, whose type it checks.
func (t *thriftReader) nested(typ int, field func(id, typ int) bool) {
	if typ != thriftStruct {
		t.fail("a field that should be a structure is not")
		return
	}
	t.structure(field)
}

func (t *thriftReader) skip(typ int) {
	switch typ {
	case thriftTrue, thriftFalse:
	case thriftByte:
		t.octet()
	case thriftI16, thriftI32, thriftI64:
		t.uvarint()
	case thriftDouble:
		if len(t.b)-t.at < 8 {
			t.fail("ends early")
			return
		}
		t.at += 8
	case thriftBinary:
		t.bytes(typ)
	case thriftList, thriftSet:
		t.skipList()
	case thriftStruct:
		t.structure(func(int, int) bool { return false })
	default: // maps do not occur in Parquet's format
		t.fail("unknown type")
	}
}

func (t *thriftReader) skipList() {
	if t.depth++; t.depth > thriftDepth {
		t.fail("nested too deep")
	}
	n, elem := t.listHead()
	for i := 0; i < n && t.bad == ""; i++ {
		if elem == thriftTrue || elem == thriftFalse {
			t.octet() // booleans of a list take a byte
			continue
		}
		t.skip(elem)
	}
	t.depth--
}
