package parquet

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// Unpack is for the benchmark.
func Unpack(out []uint32, b []byte, w uint) { unpack(out, b, w) }

// Slack is what must be readable behind packed values.
const Slack = slack

// The encodings of forged pages.
const (
	Plain       = encodingPlain
	Delta       = encodingDelta
	DeltaLength = encodingDeltaLength
	Coded       = encodingDictionary
)

// Forged is a file of one column whose parts are what a test wants, with all checksums right: what lies behind them can be tested.
type Forged struct {
	Type     Type
	Encoding int32
	Rows     int
	Nulls    int
	Dict     []byte // the page's contents
	Entries  uint32
	Page     []byte // the page's contents, with levels
	Claim    int32  // what the page's header says of its length, if not zero
	Zipped   []byte // if not nil: the page, compressed

	Edit func(m *Meta) // changes what the footer says
}

// Meta is what the footer says of the chunk.
type Meta struct {
	Rows, Values, Nulls, Compressed, Data, Dictionary, Bloom, Index *int64
	BloomSize, IndexSize                                            *int32
	PageOffset, PageFirst                                           *int64
	PageSize                                                        *int32
}

// File gives the file and the checksum of its footer.
func (f *Forged) File() ([]byte, uint32) {
	var out bytes.Buffer
	w := NewWriter(&out, &Options{PageRows: 1024})
	w.columns = []ColumnInfo{{Name: "c", Type: f.Type}}
	m := chunkMeta{physical: f.Type.physical(), codec: codecZstd, values: int64(f.Rows), nulls: int64(f.Nulls)}
	m.setEncodings(encodingRLE, f.Encoding)
	var b []byte
	if f.Entries > 0 {
		m.dictionary = w.at
		b = f.page(b, pageHeader{kind: pageDictionary, values: int32(f.Entries)}, f.Dict, nil, 0)
	}
	m.data = w.at + int64(len(b))
	start := len(b)
	b = f.page(b, pageHeader{kind: pageData, values: int32(f.Rows), encoding: f.Encoding}, f.Page, f.Zipped, f.Claim)
	m.compressed = int64(len(b))
	c := chunk{chunkMeta: m, entries: int(f.Entries), places: []place{{offset: m.data, size: int32(len(b) - start)}}}
	w.write(b)
	rows := int64(f.Rows)
	if f.Edit != nil {
		p := &c.places[0]
		f.Edit(&Meta{
			Rows: &rows, Values: &c.values, Nulls: &c.nulls, Compressed: &c.compressed, Data: &c.data, Dictionary: &c.dictionary,
			Bloom: &c.bloom, Index: &c.index, BloomSize: &c.bloomSize, IndexSize: &c.indexSize,
			PageOffset: &p.offset, PageFirst: &p.first, PageSize: &p.size,
		})
	}
	index, indexSize := c.index, c.indexSize
	w.groups = []group{{rows: int(rows), chunks: []chunk{c}}}
	w.Meta(keyIndex, w.indexes())
	if index != 0 {
		w.groups[0].chunks[0].index = index
	}
	if indexSize != 0 {
		w.groups[0].chunks[0].indexSize = indexSize
	}
	footer := w.footer()
	w.write(footer)
	return out.Bytes(), checksum(footer)
}

func (f *Forged) page(b []byte, h pageHeader, plain, zipped []byte, claim int32) []byte {
	if zipped == nil {
		zipped = appendRaw(nil, plain)
	}
	h.uncompressed, h.compressed, h.crc = int32(len(plain)), int32(len(zipped)), int32(crc32.ChecksumIEEE(zipped))
	if claim != 0 {
		h.uncompressed = claim
	}
	var t thriftWriter
	t.pageHeader(&h)
	return append(append(b, t.b...), zipped...)
}

// Sign gives the checksum of the footer that the bytes claim to have.
func Sign(file []byte) uint32 {
	if len(file) < tail {
		return 0
	}
	n := int64(binary.LittleEndian.Uint32(file[len(file)-tail:])) + tail
	return checksum(file[len(file)-int(min(n, int64(len(file)))):])
}

// Seal is a file with nothing but the given footer.
func Seal(footer []byte) ([]byte, uint32) {
	footer = binary.LittleEndian.AppendUint32(bytes.Clone(footer), uint32(len(footer)))
	footer = append(footer, magic...)
	return append([]byte(magic), footer...), checksum(footer)
}

// Zip compresses n zeros.
func Zip(n int) []byte {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	return z.EncodeAll(make([]byte, n), nil)
}
