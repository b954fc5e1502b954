package parquet

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"math"
	"math/bits"
)

// mostNumbers is how many different numbers a dictionary may hold: with more, deltas are shorter.
const mostNumbers = 256

// text numbers the strings by their first appearance. The caller's dictionary may be much larger than what the rows use.
func (e *encoder) text(c *Column) (form, error) {
	e.remap = resize(e.remap, c.Dict.Len())
	for i := range e.remap {
		e.remap[i] = None
	}
	e.codes, e.raw, e.order = resize(e.codes, e.values), resize(e.raw, e.values), e.order[:0]
	n, size := 0, 0
	for _, code := range c.Codes {
		if code == None {
			continue
		}
		if int(code) >= len(e.remap) {
			return 0, errors.New("a code is beyond the dictionary")
		}
		own := e.remap[code]
		if own == None {
			own = uint32(len(e.order))
			e.remap[code] = own
			e.order = append(e.order, code)
			size += 4 + len(c.Dict.At(int(code)))
		}
		e.codes[n], e.raw[n] = own, code
		n++
	}
	if len(e.order)*2 > e.values && e.values > 1 || size > maxPage {
		return formDeltaLength, nil
	}
	e.entries, e.dict = len(e.order), e.dict[:0]
	for _, code := range e.order {
		s := c.Dict.At(int(code))
		e.dict = binary.LittleEndian.AppendUint32(e.dict, uint32(len(s)))
		e.dict = append(e.dict, s...)
	}
	return formCodes, nil
}

// deltaLength appends strings: their lengths, then their bytes.
func (e *encoder) deltaLength(dict *Strings, from, to int) {
	e.ints = resize(e.ints, to-from)
	for i, code := range e.raw[from:to] {
		e.ints[i] = int64(len(dict.At(int(code))))
	}
	e.data = appendDelta(e.data, e.ints)
	for _, code := range e.raw[from:to] {
		e.data = append(e.data, dict.At(int(code))...)
	}
}

func (e *encoder) numbers(c *Column, m *chunkMeta) form {
	e.ints = resize(e.ints, e.values)
	if e.values == len(c.Ints) {
		copy(e.ints, c.Ints)
	} else {
		compact(e.ints, c.Ints, c.Valid)
	}
	m.min, m.max, m.hasRange = e.ints[0], e.ints[0], true
	for _, v := range e.ints {
		m.min, m.max = min(m.min, v), max(m.max, v)
	}
	if e.number() {
		return formCodes
	}
	return formDelta
}

func (e *encoder) doubles(c *Column) form {
	e.ints = resize(e.ints, e.values)
	n := 0
	for i, v := range c.Floats {
		if c.Valid == nil || c.Valid[i] {
			e.ints[n] = int64(math.Float64bits(v))
			n++
		}
	}
	if e.number() {
		return formCodes
	}
	e.plain = e.plain[:0]
	for _, v := range e.ints {
		e.plain = binary.LittleEndian.AppendUint64(e.plain, uint64(v))
	}
	return formPlain
}

// number makes a dictionary of e.ints, unless they are too many.
func (e *encoder) number() bool {
	const slots = 4 * mostNumbers
	e.table = resize(e.table, slots)
	clear(e.table)
	e.keys, e.codes = e.keys[:0], resize(e.codes, e.values)
	most := min(mostNumbers, (e.values+1)/2)
	last, code := ^e.ints[0], uint32(0)
	for i, v := range e.ints {
		if v != last {
			last = v
			slot := uint64(v) * e.factor >> (64 - 10)
			for e.table[slot] != 0 && e.keys[e.table[slot]-1] != v {
				slot = (slot + 1) % slots
			}
			if e.table[slot] == 0 {
				if len(e.keys) == most {
					return false
				}
				e.keys = append(e.keys, v)
				e.table[slot] = uint32(len(e.keys))
			}
			code = e.table[slot] - 1
		}
		e.codes[i] = code
	}
	e.entries, e.dict = len(e.keys), e.dict[:0]
	for _, v := range e.keys {
		e.dict = binary.LittleEndian.AppendUint64(e.dict, uint64(v))
	}
	return true
}

func compact[T any](out, in []T, valid []bool) {
	n := 0
	for i, v := range in {
		if valid[i] {
			out[n] = v
			n++
		}
	}
}

// fixed makes a dictionary if values repeat in neighbouring rows, as ids by which the rows are sorted do.
func (e *encoder) fixed(c *Column) form {
	w := c.Type.width()
	e.plain = resize(e.plain, e.values*w)
	n := 0
	for i := range len(c.Fixed) / w {
		if c.Valid == nil || c.Valid[i] {
			copy(e.plain[n:n+w], c.Fixed[i*w:])
			n += w
		}
	}
	runs := 1
	for i := w; i < len(e.plain); i += w {
		if string(e.plain[i:i+w]) != string(e.plain[i-w:i]) {
			runs++
		}
	}
	if runs*2 > e.values && e.values > 1 {
		return formPlain
	}
	e.fixedDictionary(w, runs)
	return formCodes
}

func (e *encoder) fixedDictionary(w, runs int) {
	slots := uint64(1) << bits.Len(uint(runs*2))
	e.table = resize(e.table, int(slots))
	clear(e.table)
	e.codes, e.dict = resize(e.codes, e.values), e.dict[:0]
	code := uint32(0)
	for i := range e.values {
		v := e.plain[i*w : i*w+w]
		if i == 0 || string(v) != string(e.plain[i*w-w:i*w]) {
			slot := maphash.Bytes(e.seed, v) % slots
			for e.table[slot] != 0 && string(e.entry(w, e.table[slot]-1)) != string(v) {
				slot = (slot + 1) % slots
			}
			if e.table[slot] == 0 {
				e.dict = append(e.dict, v...)
				e.table[slot] = uint32(len(e.dict) / w)
			}
			code = e.table[slot] - 1
		}
		e.codes[i] = code
	}
	e.entries = len(e.dict) / w
}

func (e *encoder) entry(w int, code uint32) []byte { return e.dict[int(code)*w:][:w] }

// bools appends the values of a page, a bit each.
func (e *encoder) bools(c *Column, row, n int) {
	values := c.Bools[row : row+n]
	acc, k := byte(0), 0
	for i, v := range values {
		if c.Valid != nil && !c.Valid[row+i] {
			continue
		}
		if v {
			acc |= 1 << k
		}
		if k++; k == 8 {
			e.data = append(e.data, acc)
			acc, k = 0, 0
		}
	}
	if k > 0 {
		e.data = append(e.data, acc)
	}
}
