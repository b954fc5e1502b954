package parquet

import (
	"encoding/binary"
	"math/bits"
)

// appendHybrid appends values of w bits in the format's hybrid of runs (RLE) and bit-packed groups of eight.
func appendHybrid(b []byte, values []uint32, w uint) []byte {
	least := 8
	if w <= 8 {
		least = 16 // a shorter run saves nothing over its packed form
	}
	from, at := 0, 0 // values[from:at] wait to be packed; always whole groups
	for at < len(values) {
		n := run(values[at:])
		if n >= least || at+n == len(values) {
			b = appendPacked(b, values[from:at], w)
			b = binary.AppendUvarint(b, uint64(n)<<1)
			for v, i := values[at], uint(0); i < w; i += 8 {
				b = append(b, byte(v>>i))
			}
			at += n
			from = at
			continue
		}
		if at += 8; at > len(values) {
			break
		}
	}
	return appendPacked(b, values[from:], w)
}

// run counts how many values at the start are the same.
func run(values []uint32) int {
	v := values[0]
	for i, x := range values[1:] {
		if x != v {
			return i + 1
		}
	}
	return len(values)
}

func appendPacked(b []byte, values []uint32, w uint) []byte {
	if len(values) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(len(values)+7)/8<<1|1)
	whole := len(values) &^ 7
	b = pack(b, values[:whole], w)
	if whole < len(values) {
		var last [8]uint32
		copy(last[:], values[whole:])
		b = pack(b, last[:], w)
	}
	return b
}

// readHybrid decodes len(out) values, each below limit; same says that they are one run. What is wrong comes back as text. out has room for a whole
// last group: its capacity is at least its length rounded up to eight. b has slack.
func readHybrid(out []uint32, b []byte, w uint, limit uint32) (same bool, bad string) {
	n, at := len(out), 0
	for at < n {
		head, size := binary.Uvarint(b)
		if size <= 0 || head>>1 == 0 {
			return false, "bad run of codes"
		}
		b = b[size:]
		if head&1 == 0 {
			v, ok := runValue(b, w)
			if !ok || head>>1 > uint64(n-at) || v >= limit {
				return false, "bad run of codes"
			}
			b = b[(w+7)/8:]
			fill(out[at:at+int(head>>1)], v)
			at += int(head >> 1)
			same = int(head>>1) == n
			continue
		}
		groups := head >> 1
		if groups > uint64(n-at+7)/8 || groups*uint64(w) > uint64(len(b)) {
			return false, "bad group of codes"
		}
		part := out[at : at+int(groups)*8]
		unpack(part, b[:int(groups)*int(w)+slack], w)
		part = part[:min(len(part), n-at)]
		if beyond(part, w, limit) {
			return false, "code beyond the dictionary"
		}
		at += len(part)
		b = b[groups*uint64(w):]
	}
	return same, ""
}

func runValue(b []byte, w uint) (v uint32, ok bool) {
	n := int(w+7) / 8
	if len(b) < n {
		return 0, false
	}
	for i := range n {
		v |= uint32(b[i]) << (8 * i)
	}
	return v, true
}

func fill(out []uint32, v uint32) {
	for i := range out {
		out[i] = v
	}
}

// beyond says whether a value of w bits is not below limit.
func beyond(values []uint32, w uint, limit uint32) bool {
	if uint64(limit) >= 1<<w {
		return false
	}
	all := uint32(0) // the sign of limit-1-v of all, as v has at most 31 bits
	for _, v := range values {
		all |= limit - 1 - v
	}
	return all>>31 != 0
}

// appendLevels appends definition levels of a page: present holds a bit for each of its rows.
func appendLevels(b []byte, present []byte, rows, values int) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	switch values {
	case rows:
		b = append(binary.AppendUvarint(b, uint64(rows)<<1), 1)
	case 0:
		b = append(binary.AppendUvarint(b, uint64(rows)<<1), 0)
	default:
		b = appendBitmap(b, present[:(rows+7)/8], rows)
	}
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// appendBitmap is appendHybrid for levels of one bit that are packed already. Runs begin and end at whole bytes.
func appendBitmap(b []byte, bitmap []byte, rows int) []byte {
	literals := func(from, to int) {
		if from < to {
			b = binary.AppendUvarint(b, uint64(to-from)<<1|1)
			b = append(b, bitmap[from:to]...)
		}
	}
	from, whole := 0, rows/8
	for at := 0; at < whole; {
		c, end := bitmap[at], at+1
		if c != 0 && c != 0xff {
			at++
			continue
		}
		for end < whole && bitmap[end] == c {
			end++
		}
		if end-at >= 4 {
			literals(from, at)
			b = append(binary.AppendUvarint(b, uint64(end-at)*8<<1), c&1)
			from = end
		}
		at = end
	}
	literals(from, len(bitmap))
	return b
}

// readLevels decodes the levels of a page into a bitmap, and gives how many rows have a value and the bytes behind the levels.
func readLevels(bitmap []byte, b []byte, rows int) (values int, rest []byte, bad string) {
	if len(b) < 4 {
		return 0, nil, "no levels"
	}
	size := binary.LittleEndian.Uint32(b)
	if b = b[4:]; uint64(size) > uint64(len(b)) {
		return 0, nil, "levels beyond the page"
	}
	b, rest = b[:size], b[size:]
	for at := 0; at < rows; {
		head, n := binary.Uvarint(b)
		if n <= 0 || head>>1 == 0 {
			return 0, nil, "bad run of levels"
		}
		b = b[n:]
		if head&1 == 0 {
			end := at + int(min(head>>1, 1<<31))
			if len(b) == 0 || b[0] > 1 || end > rows || end%8 != 0 && end != rows {
				return 0, nil, "bad run of levels"
			}
			part := bitmap[at/8 : (end+7)/8]
			for i := range part {
				part[i] = -b[0]
			}
			b, at = b[1:], end
			continue
		}
		groups := int(min(head>>1, 1<<31))
		if groups > len(b) || groups > (rows-at+7)/8 {
			return 0, nil, "bad group of levels"
		}
		copy(bitmap[at/8:], b[:groups])
		b, at = b[groups:], at+groups*8
	}
	if tail := rows % 8; tail != 0 {
		bitmap[rows/8] &= 1<<tail - 1
	}
	for _, c := range bitmap[:(rows+7)/8] {
		values += bits.OnesCount8(c)
	}
	return values, rest, ""
}
