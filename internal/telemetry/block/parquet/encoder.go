package parquet

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"math/bits"
	"math/rand/v2"

	"github.com/klauspost/compress/zstd"
)

// encoder turns columns into chunks. All its memory is used again for the next.
type encoder struct {
	pageRows int
	z        *zstd.Encoder
	seed     maphash.Seed
	factor   uint64 // of the hash of numbers

	// The chunk in work.
	out     []byte   // its bytes
	values  int      // rows with a value
	present []byte   // a bit for each row
	dense   []int    // for each page, the values before it; one more at the end
	codes   []uint32 // of the values, if there is a dictionary
	ints    []int64
	plain   []byte // values of Fixed, without nulls
	dict    []byte // dictionary page
	entries int    // of dict
	filter  []byte // bloom
	data    []byte // one page, before compression
	zipped  []byte // one page, compressed

	remap []uint32 // of Text: a code of the caller's dictionary to ours
	raw   []uint32 // of Text: the caller's codes of the values
	order []uint32 // of Text: our dictionary, as codes of the caller's
	table []uint32 // hash table
	keys  []int64  // of numbers: our dictionary
}

// window is how far back zstd looks: most pages are smaller, and its memory is as large. The default of 8 MiB takes twice as much.
const window = 2 << 20

func (e *encoder) init(o *Options) {
	e.pageRows = (o.PageRows + 7) &^ 7
	if e.pageRows <= 0 {
		e.pageRows = 8192
	}
	level := o.Level
	if level == 0 {
		level = zstd.SpeedFastest
	}
	e.z, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
		zstd.WithSingleSegment(true), zstd.WithZeroFrames(true), zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true)) // fails for bad options only
	e.seed = maphash.MakeSeed()
	e.factor = rand.Uint64() | 1
}

// form is how a chunk's values are written.
type form uint8

const (
	formCodes form = iota
	formDelta
	formDeltaLength
	formPlain // e.plain
	formBools
)

func (f form) encoding() int32 {
	return [...]int32{encodingDictionary, encodingDelta, encodingDeltaLength, encodingPlain, encodingPlain}[f]
}

// chunk encodes a column into e.out, which will stand at the given offset of the file.
func (e *encoder) chunk(c *Column, rows int, at int64) (chunk, error) {
	e.out, e.entries = e.out[:0], 0
	e.presence(c, rows)
	if e.values == 0 {
		return e.nulls(c.Type, rows, at), nil
	}
	meta := chunkMeta{physical: c.Type.physical(), codec: codecZstd, values: int64(rows), nulls: int64(rows - e.values)}
	f, err := e.prepare(c, &meta)
	if err != nil {
		return chunk{}, err
	}
	if c.Bloom {
		e.bloom(c, f)
	}
	return e.pages(c, meta, f, rows, at)
}

// presence finds the rows with a value.
func (e *encoder) presence(c *Column, rows int) {
	e.present = resize(e.present, (rows+7)/8)
	switch {
	case c.Type.text():
		codesPresent(e.present, c.Codes)
	case c.Valid != nil:
		boolsPacked(e.present, c.Valid)
	default:
		for i := range e.present {
			e.present[i] = 0xff
		}
		if tail := rows % 8; tail != 0 {
			e.present[rows/8] = 1<<tail - 1
		}
	}
	e.dense = append(e.dense[:0], 0)
	e.values = 0
	for from := 0; from < len(e.present); from += e.pageRows / 8 {
		for _, b := range e.present[from:min(from+e.pageRows/8, len(e.present))] {
			e.values += bits.OnesCount8(b)
		}
		e.dense = append(e.dense, e.values)
	}
}

func codesPresent(out []byte, codes []uint32) {
	for i := range out {
		b := byte(0)
		for j, c := range codes[i*8 : min(i*8+8, len(codes))] {
			x := byte(0)
			if c != None {
				x = 1
			}
			b |= x << j
		}
		out[i] = b
	}
}

func boolsPacked(out []byte, values []bool) {
	for i := range out {
		b := byte(0)
		for j, v := range values[i*8 : min(i*8+8, len(values))] {
			x := byte(0)
			if v {
				x = 1
			}
			b |= x << j
		}
		out[i] = b
	}
}

// prepare brings the values without nulls into the form in which they will be written.
func (e *encoder) prepare(c *Column, m *chunkMeta) (form, error) {
	switch c.Type {
	case Text, JSON:
		return e.text(c)
	case Double:
		return e.doubles(c), nil
	case Bool:
		return formBools, nil
	case Fixed8, Fixed16:
		return e.fixed(c), nil
	default:
		return e.numbers(c, m), nil
	}
}

// pages encodes the dictionary and the data pages into e.out, one after the other.
func (e *encoder) pages(c *Column, m chunkMeta, f form, rows int, at int64) (chunk, error) {
	out := chunk{chunkMeta: m, entries: e.entries, places: make([]place, 0, len(e.dense)-1)}
	out.setEncodings(encodingRLE, f.encoding())
	if e.entries > 0 {
		out.setEncodings(encodingPlain, encodingRLE, encodingDictionary)
		out.dictionary = at
		h := pageHeader{kind: pageDictionary, values: int32(e.entries), encoding: encodingPlain}
		if err := e.page(&out, h, e.dict, len(e.dict) < leastPacked); err != nil {
			return chunk{}, err
		}
	}
	out.data = at + int64(len(e.out))
	random := false
	for p := range len(e.dense) - 1 {
		row := p * e.pageRows
		n := min(e.pageRows, rows-row)
		e.encode(c, f, p, row, n)
		if p == 0 && f == formPlain {
			random = e.random()
		}
		start := len(e.out)
		h := pageHeader{kind: pageData, values: int32(n), encoding: f.encoding()}
		if err := e.page(&out, h, e.data, random || len(e.data) < leastPacked); err != nil {
			return chunk{}, err
		}
		out.places = append(out.places, place{offset: at + int64(start), size: int32(len(e.out) - start), first: int64(row)})
	}
	return out, nil
}

// encode encodes the p-th page, of n rows from row on, into e.data.
func (e *encoder) encode(c *Column, f form, p, row, n int) {
	from, to := e.dense[p], e.dense[p+1]
	e.data = appendLevels(e.data[:0], e.present[row/8:], n, to-from)
	switch f {
	case formCodes:
		w := uint(bits.Len32(uint32(max(e.entries-1, 0))))
		e.data = append(e.data, byte(w))
		e.data = appendHybrid(e.data, e.codes[from:to], w)
	case formDelta:
		e.data = appendDelta(e.data, e.ints[from:to])
	case formDeltaLength:
		e.deltaLength(c.Dict, from, to)
	case formPlain:
		size := len(e.plain) / e.values
		e.data = append(e.data, e.plain[from*size:to*size]...)
	case formBools:
		e.bools(c, row, n)
	}
}

// Pages are stored in frames of zstd without compression where that is not worth it: those of a few bytes (a constant), and those of random
// ids. The codec itself has to be the same in all groups: parquet-go knows but one for a column.
const leastPacked = 64

// random tells whether compression finds next to nothing in the page.
func (e *encoder) random() bool {
	e.zipped = e.z.EncodeAll(e.data, e.zipped[:0])
	return len(e.zipped) > len(e.data)/100*97
}

// appendRaw appends a frame of zstd (RFC 8878) that holds the bytes as they are.
func appendRaw(b, plain []byte) []byte {
	const block = 128 << 10
	b = append(b, 0x28, 0xb5, 0x2f, 0xfd)
	switch n := len(plain); {
	case n < 256: // a single segment, and its size in one, two or four bytes
		b = append(b, 0x20, byte(n))
	case n < 65536+256:
		b = binary.LittleEndian.AppendUint16(append(b, 0x60), uint16(n-256))
	default:
		b = binary.LittleEndian.AppendUint32(append(b, 0xa0), uint32(n))
	}
	for {
		n, last := min(len(plain), block), 0
		if n == len(plain) {
			last = 1
		}
		head := n<<3 | last
		b = append(b, byte(head), byte(head>>8), byte(head>>16))
		b = append(b, plain[:n]...)
		if plain = plain[n:]; last == 1 {
			return b
		}
	}
}

// page appends a page to e.out.
func (e *encoder) page(c *chunk, h pageHeader, plain []byte, raw bool) error {
	if len(plain) > maxPage {
		return fmt.Errorf("%d bytes in a page are too many", len(plain))
	}
	if raw {
		e.zipped = appendRaw(e.zipped[:0], plain)
	} else {
		e.zipped = e.z.EncodeAll(plain, e.zipped[:0])
	}
	packed := e.zipped
	h.uncompressed, h.compressed = int32(len(plain)), int32(len(packed))
	h.crc = int32(crc32.ChecksumIEEE(packed))
	var t thriftWriter
	start := len(e.out)
	t.reset(e.out)
	t.pageHeader(&h)
	header := len(t.b) - start
	e.out = append(t.b, packed...)
	c.uncompressed += int64(header + len(plain))
	c.compressed += int64(header + len(packed))
	return nil
}

// nulls encodes a chunk without values: one page for all rows.
func (e *encoder) nulls(t Type, rows int, at int64) chunk {
	e.out = e.out[:0]
	c := chunk{chunkMeta: chunkMeta{physical: t.physical(), codec: codecZstd, values: int64(rows), nulls: int64(rows), data: at}}
	c.setEncodings(encodingRLE, encodingPlain)
	e.data = appendLevels(e.data[:0], nil, rows, 0)
	_ = e.page(&c, pageHeader{kind: pageData, values: int32(rows), encoding: encodingPlain}, e.data, true) // a few bytes
	c.places = []place{{offset: at, size: int32(len(e.out))}}
	return c
}

func (e *encoder) bloom(c *Column, f form) {
	n := e.values
	if f == formCodes {
		n = e.entries
	} else if c.Type.text() {
		n = len(e.order)
	}
	e.filter = resize(e.filter, bloomSize(n))
	clear(e.filter)
	switch {
	case c.Type.text():
		for _, code := range e.order {
			bloomAdd(e.filter, Hash(c.Dict.At(int(code))))
		}
	case f == formDelta:
		var b [8]byte
		for _, v := range e.ints {
			binary.LittleEndian.PutUint64(b[:], uint64(v))
			bloomAdd(e.filter, Hash(b[:]))
		}
	default:
		list, size := e.plain, max(c.Type.width(), 8)
		if f == formCodes {
			list = e.dict
		}
		for ; len(list) >= size; list = list[size:] {
			bloomAdd(e.filter, Hash(list[:size]))
		}
	}
}

// resize gives a slice of n elements whose contents do not matter.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n+n/4)[:n]
	}
	return s[:n]
}
