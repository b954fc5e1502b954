package parquet

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Chunk is the part of a column that is in a row group.
type Chunk struct {
	Type       Type
	Min, Max   int64 // of Int64 and Timestamp, if HasRange
	HasRange   bool
	Nulls      int64
	HasBloom   bool
	Dictionary bool // Text, JSON, Fixed8, Fixed16: coded by a dictionary, which Dict gives

	group    *Group
	number   int // of the group
	name     string
	m        chunkMeta
	indexCRC uint32
	entries  uint32
	pieces   []byte // the checksums of the bloom's pieces

	mu     sync.Mutex // of places
	places []place    // nil: not read yet
}

func (c *Chunk) where() string { return "group " + strconv.Itoa(c.number) + ", column " + c.name }

func (c *Chunk) pageWhere(page int) string {
	if page < 0 {
		return c.where() + ", dictionary"
	}
	return c.where() + ", page " + strconv.Itoa(page)
}

func (c *Chunk) bloomLen() int32 { return c.m.bloomSize &^ (bloomBlock - 1) }

// check compares what the footer says with the size of the file.
func (c *Chunk) check() error {
	f, m := c.group.file, &c.m
	empty := m.nulls == int64(c.group.Rows)
	coded := m.encoding() == encodingDictionary
	switch {
	case m.values != int64(c.group.Rows) || m.nulls < 0 || m.nulls > m.values:
		return corrupt(c.where(), "%d values and %d nulls for %d rows", m.values, m.nulls, c.group.Rows)
	case m.codec != codecZstd:
		return corrupt(c.where(), "codec %d", m.codec)
	case !f.inside(m.start(), m.compressed) || m.data < m.start() || m.data-m.start() > m.compressed:
		return corrupt(c.where(), "it lies outside of the file")
	case m.bloom != 0 && !f.inside(m.bloom, int64(m.bloomSize)):
		return corrupt(c.where(), "its bloom filter lies outside of the file")
	case !f.inside(m.index, int64(m.indexSize)) || int(m.indexSize) > f.limits.PageBytes:
		return corrupt(c.where(), "its offset index lies outside of the file")
	case !empty && (coded != (m.dictionary != 0) || coded != (c.entries > 0) || int64(c.entries) > m.values):
		return corrupt(c.where(), "a dictionary of %d entries with encoding %d", c.entries, m.encoding())
	case !empty && !c.Type.encodedAs(m.encoding()):
		return corrupt(c.where(), "encoding %d", m.encoding())
	}
	c.Dictionary = coded && (c.Type.text() || c.Type.width() != 0)
	return nil
}

func (t Type) encodedAs(encoding int32) bool {
	switch encoding {
	case encodingDictionary:
		return t != Bool
	case encodingDelta:
		return t.number()
	case encodingDeltaLength:
		return t.text()
	default:
		return encoding == encodingPlain && (t == Double || t == Bool || t.width() != 0)
	}
}

// Pages is how many pages the chunk has.
func (c *Chunk) Pages() int { return c.group.Pages() }

// MayHave asks the bloom filter; false: surely no row has the value. It reads at most 4 KiB, and checks them. A chunk without filter may have anything.
func (c *Chunk) MayHave(hash uint64) (bool, error) {
	if !c.HasBloom {
		return true, nil
	}
	f, size := c.group.file, int(c.bloomLen())
	at := bloomAt(hash, size)
	piece := at / bloomPiece
	buf, _ := f.pieces.Get().(*[bloomPiece]byte)
	defer f.pieces.Put(buf)
	b := buf[:min(size-piece*bloomPiece, bloomPiece)]
	header := int64(c.m.bloomSize) - int64(size)
	if err := readAt(f.r, b, c.m.bloom+header+int64(piece)*bloomPiece); err != nil {
		return false, fmt.Errorf("read parquet bloom filter: %w", err)
	}
	if checksum(b) != binary.LittleEndian.Uint32(c.pieces[piece*4:]) {
		return false, corrupt(c.where()+", bloom filter", "its checksum is another")
	}
	return bloomHas(b[at%bloomPiece:], hash), nil
}

// Scratch is the memory of a reader: it is used again for each page, so that reading allocates nothing after the first pages. The zero Scratch is ready.
// It is for one goroutine; who reads columns side by side takes one for each.
type Scratch struct {
	head   [80]byte
	in     []byte // page as in the file
	plain  []byte
	bitmap []byte
	dense  []uint32
	ints   []int64
	wide   []int64 // ints with the places of nulls
	page   Page

	dictOf   *Chunk
	dict     Strings
	dictInts []int64
}

// offsets reads the offset index, once.
func (c *Chunk) offsets() ([]place, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.places != nil {
		return c.places, nil
	}
	where := c.where() + ", offset index"
	b := make([]byte, c.m.indexSize)
	if err := readAt(c.group.file.r, b, c.m.index); err != nil {
		return nil, fmt.Errorf("read parquet offset index: %w", err)
	}
	if checksum(b) != c.indexCRC {
		return nil, corrupt(where, "its checksum is another")
	}
	n := c.Pages()
	if n > len(b) {
		return nil, corrupt(where, "it is too short")
	}
	t := thriftReader{b: b}
	places := t.offsetIndex(make([]place, 0, n))
	if t.bad != "" || len(places) != n {
		return nil, corrupt(where, "%s", t.bad)
	}
	end := c.m.start() + c.m.compressed
	for i, p := range places {
		if p.first != int64(i)*int64(c.group.file.pageRows) || p.offset < c.m.data || p.size <= 0 || p.offset > end || int64(p.size) > end-p.offset {
			return nil, corrupt(where, "page %d is not in the chunk", i)
		}
	}
	c.places = places
	return places, nil
}

// load reads a page of at most size bytes into the scratch and gives its header and its bytes without compression, which have slack behind them.
func (c *Chunk) load(s *Scratch, page int, offset, size int64) (pageHeader, []byte, error) {
	limit := int64(c.group.file.limits.PageBytes)
	if size > limit {
		return pageHeader{}, nil, corrupt(c.pageWhere(page), "%d bytes", size)
	}
	s.in = resize(s.in, int(size)+slack)
	in := s.in[:size]
	if err := readAt(c.group.file.r, in, offset); err != nil {
		return pageHeader{}, nil, fmt.Errorf("read parquet page: %w", err)
	}
	t := thriftReader{b: in}
	h := t.pageHeader(s.head[:0])
	data := in[t.at:]
	switch {
	case t.bad != "":
		return h, nil, corrupt(c.pageWhere(page), "header: %s", t.bad)
	case int64(h.compressed) != int64(len(data)) || h.uncompressed < 0 || int64(h.uncompressed) > limit:
		return h, nil, corrupt(c.pageWhere(page), "%d bytes of %d, in %d", h.compressed, h.uncompressed, len(data))
	case int32(crc32.ChecksumIEEE(data)) != h.crc:
		return h, nil, corrupt(c.pageWhere(page), "its checksum is another")
	}
	plain, err := s.decompress(data, int(h.uncompressed))
	if err != nil {
		return h, nil, corrupt(c.pageWhere(page), "%s", err)
	}
	return h, plain, nil
}

// decompressors lend their memory, some hundred kilobytes, to one page after the other: a row is read from many columns.
var decompressors sync.Pool //nolint:gochecknoglobals // a pool of memory has no state that anybody sees

func decompressor() (*zstd.Decoder, error) {
	if z, ok := decompressors.Get().(*zstd.Decoder); ok {
		return z, nil
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxMemory(maxPage+slack))
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	return z, nil
}

// decompress never makes room for more than size, nor for what the bytes cannot hold: a block of zstd has at least four bytes and gives at most 128 KiB.
func (s *Scratch) decompress(data []byte, size int) ([]byte, error) {
	if size > (len(data)/4+1)<<17 {
		return nil, fmt.Errorf("%d bytes cannot hold %d", len(data), size)
	}
	z, err := decompressor()
	if err != nil {
		return nil, err
	}
	defer decompressors.Put(z)
	s.plain = resize(s.plain, size+slack)
	plain, err := z.DecodeAll(data, s.plain[:0:size+slack])
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if len(plain) != size {
		return nil, fmt.Errorf("%d bytes that should be %d", len(plain), size)
	}
	return plain, nil
}

// Dict gives the dictionary of a chunk that is coded by one: for Fixed8 and Fixed16 each entry has that length. It lives until the scratch reads the
// dictionary of another chunk; pages do not touch it.
func (c *Chunk) Dict(s *Scratch) (*Strings, error) {
	if !c.Dictionary {
		return nil, corrupt(c.where(), "it has no dictionary")
	}
	if err := c.dictionary(s); err != nil {
		return nil, err
	}
	return &s.dict, nil
}

// dictionary reads the dictionary into the scratch, if it is not there.
func (c *Chunk) dictionary(s *Scratch) error {
	if s.dictOf == c {
		return nil
	}
	s.dictOf = nil
	h, b, err := c.load(s, -1, c.m.dictionary, c.m.data-c.m.dictionary)
	if err != nil {
		return err
	}
	n := int(c.entries)
	if h.kind != pageDictionary || h.encoding != encodingPlain || int64(h.values) != int64(n) {
		return corrupt(c.pageWhere(-1), "another kind of page")
	}
	ok := false
	if w := c.Type.width(); w != 0 {
		ok = s.fixedDict(b, n, w)
	} else if c.Type.text() {
		ok = s.textDict(b, n)
	} else {
		ok = s.numberDict(b, n)
	}
	if !ok {
		return corrupt(c.pageWhere(-1), "%d bytes do not hold %d entries", len(b), n)
	}
	s.dictOf = c
	return nil
}

func (s *Scratch) fixedDict(b []byte, n, w int) bool {
	if len(b) != n*w {
		return false
	}
	s.dict.Reset()
	s.dict.Bytes = append(s.dict.Bytes, b...)
	s.dict.Ends = resize(s.dict.Ends, n)
	for i := range s.dict.Ends {
		s.dict.Ends[i] = uint32((i + 1) * w)
	}
	return true
}

func (s *Scratch) textDict(b []byte, n int) bool {
	if n > len(b)/4 {
		return false
	}
	s.dict.Ends, s.dict.Bytes = resize(s.dict.Ends, n)[:0], resize(s.dict.Bytes, len(b))[:0]
	for range n {
		if len(b) < 4 {
			return false
		}
		size := binary.LittleEndian.Uint32(b)
		if b = b[4:]; uint64(size) > uint64(len(b)) {
			return false
		}
		s.dict.Append(b[:size])
		b = b[size:]
	}
	return len(b) == 0
}

func (s *Scratch) numberDict(b []byte, n int) bool {
	if len(b) != n*8 {
		return false
	}
	s.dictInts = resize(s.dictInts, n)
	for i := range s.dictInts {
		s.dictInts[i] = int64(binary.LittleEndian.Uint64(b[i*8:]))
	}
	return true
}
