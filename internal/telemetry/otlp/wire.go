package otlp

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// Wire types of Protocol Buffers, https://protobuf.dev/programming-guides/encoding/. A tag is a field's number shifted
// left by three, or-ed with one of them.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireLen     = 2
	wireGroup   = 3
	wireEnd     = 4
	wireFixed32 = 5
)

// maxGroups is how deep groups, which OTLP does not use, may nest to be skipped.
const maxGroups = 16

// cursor walks the fields of a message.
type cursor struct {
	b   []byte // what remains; its capacity reaches to the end of the request, so offsets can be told
	tag uint64 // of the field that next found
	num uint64 // its value, of the wire types varint, fixed32 and fixed64
	raw []byte // its value, of the wire type len
	why string // what is wrong with the message; "" for nothing
}

// next goes to the next field. It returns false at the end and where the message is broken; then why is set.
func (c *cursor) next() bool {
	if len(c.b) == 0 {
		return false
	}
	if b0 := c.b[0]; b0 < 0x80 {
		c.tag, c.b = uint64(b0), c.b[1:]
	} else if !c.varint(&c.tag) {
		return false
	}
	if c.tag>>3 == 0 || c.tag>>3 > math.MaxInt32>>2 {
		c.why = "a field has a number that no field can have"
		return false
	}
	return c.value()
}

// value reads the value of the field whose tag was read.
func (c *cursor) value() bool {
	switch c.tag & 7 {
	case wireLen:
		n, b := uint64(0), c.b
		if len(b) > 0 && b[0] < 0x80 {
			n, c.b = uint64(b[0]), b[1:]
		} else if !c.varint(&n) {
			return false
		}
		if n > uint64(len(c.b)) {
			c.why = "the message is truncated: a field is longer than what is left of it"
			return false
		}
		c.raw, c.b = c.b[:n], c.b[n:]
		return true
	case wireVarint:
		return c.varint(&c.num)
	case wireFixed64:
		if len(c.b) < 8 {
			return c.short()
		}
		c.num, c.b = binary.LittleEndian.Uint64(c.b), c.b[8:]
		return true
	case wireFixed32:
		if len(c.b) < 4 {
			return c.short()
		}
		c.num, c.b = uint64(binary.LittleEndian.Uint32(c.b)), c.b[4:]
		return true
	case wireGroup:
		return c.group()
	}
	c.why = "a field has a wire type that does not exist"
	return false
}

func (c *cursor) short() bool {
	c.why = "the message is truncated within a number"
	return false
}

// varint reads a number of up to ten bytes.
func (c *cursor) varint(to *uint64) bool {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		if n == 0 {
			return c.short()
		}
		c.why = "a number is longer than 64 bits"
		return false
	}
	*to, c.b = v, c.b[n:]
	return true
}

// group skips a group, with all that it holds. Its tag stays the one of its beginning, which no field of OTLP has.
func (c *cursor) group() bool {
	open := make([]uint64, 1, maxGroups)
	open[0] = c.tag >> 3
	start := c.tag
	for len(open) > 0 {
		if !c.varint(&c.tag) {
			return false
		}
		switch c.tag & 7 {
		case wireGroup:
			if len(open) == maxGroups {
				c.why = "groups are nested too deep"
				return false
			}
			open = append(open, c.tag>>3)
		case wireEnd:
			if open[len(open)-1] != c.tag>>3 {
				c.why = "a group ends that did not begin"
				return false
			}
			open = open[:len(open)-1]
		default:
			if !c.value() {
				return false
			}
		}
	}
	c.tag = start
	return true
}

// Writing: each function appends to b.

func appendTag(b []byte, field, wire int) []byte {
	return binary.AppendUvarint(b, uint64(field)<<3|uint64(wire))
}

func appendVarint(b []byte, field int, v uint64) []byte {
	if v == 0 {
		return b
	}
	return binary.AppendUvarint(appendTag(b, field, wireVarint), v)
}

func appendFixed64(b []byte, field int, v uint64) []byte {
	if v == 0 {
		return b
	}
	return binary.LittleEndian.AppendUint64(appendTag(b, field, wireFixed64), v)
}

func appendText(b []byte, field int, s string) []byte {
	if s == "" {
		return b
	}
	b = binary.AppendUvarint(appendTag(b, field, wireLen), uint64(len(s)))
	return append(b, s...)
}

func appendBytes(b []byte, field int, p []byte) []byte {
	b = binary.AppendUvarint(appendTag(b, field, wireLen), uint64(len(p)))
	return append(b, p...)
}

// open begins a message within another: it leaves room for a length of one byte. close fills it in.
func openMessage(b []byte, field int) (grown []byte, at int) {
	b = append(appendTag(b, field, wireLen), 0)
	return b, len(b)
}

// closeMessage fills in the length of the message that began at. A longer one is moved to make room.
func closeMessage(b []byte, at int) []byte {
	n := len(b) - at
	if n < 0x80 {
		b[at-1] = byte(n)
		return b
	}
	more := (bits.Len64(uint64(n))+6)/7 - 1
	var room [10]byte
	b = append(b, room[:more]...)
	copy(b[at+more:], b[at:at+n])
	binary.PutUvarint(b[at-1:], uint64(n))
	return b
}

func zigzag(v int32) uint64 { return uint64(uint32(v<<1) ^ uint32(v>>31)) }

func unzigzag(v uint64) int32 { return int32(uint32(v)>>1) ^ -int32(v&1) }
