package parquet

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"strconv"

	"github.com/klauspost/compress/zstd"
)

// Options of a Writer.
type Options struct {
	PageRows int               // rows of a page, in all columns; 8192 if zero, rounded up to a multiple of eight
	Level    zstd.EncoderLevel // zstd.SpeedFastest if zero
}

// maxPage bounds a page and a dictionary before compression; it is the default of Limits.PageBytes too, so that the reader reads what was written.
const maxPage = 256 << 20

// chunk is a chunk that was written.
type chunk struct {
	chunkMeta
	places  []place
	entries int      // of the dictionary
	pieces  []uint32 // the checksums of the bloom filter's pieces
}

type group struct {
	rows   int
	at     int64
	chunks []chunk
}

// Writer writes a file front to back. It is not safe for concurrent use. After an error all calls return it.
type Writer struct {
	w        io.Writer
	at       int64
	err      error
	encoder  encoder
	columns  []ColumnInfo
	byName   map[string]int
	groups   []group
	meta     [][2]string
	sections map[string]bool
	seen     []bool // by column of the schema: the group has it
	blooms   []byte
}

// NewWriter begins a file. It writes to w in pieces of a chunk or a footer: w needs no buffer.
func NewWriter(w io.Writer, o *Options) *Writer {
	if o == nil {
		o = &Options{}
	}
	wr := &Writer{}
	wr.encoder.init(o)
	wr.Reset(w)
	return wr
}

// Reset begins another file with the memory of the last.
func (w *Writer) Reset(to io.Writer) {
	*w = Writer{
		w: to, encoder: w.encoder, columns: w.columns[:0], groups: w.groups[:0], seen: w.seen[:0], blooms: w.blooms[:0],
		byName: map[string]int{}, sections: map[string]bool{},
	}
	w.write([]byte(magic))
}

func (w *Writer) write(b []byte) {
	if w.err != nil {
		return
	}
	n, err := w.w.Write(b)
	w.at += int64(n)
	if err != nil {
		w.err = fmt.Errorf("write parquet file: %w", err)
	}
}

// WriteGroup writes a row group. Columns may differ from group to group: the file's schema is their union, in the order in which they were first seen,
// and a column that a group lacks is null in all its rows. A column is read before the next is asked for, and not kept: their lists may share memory.
func (w *Writer) WriteGroup(rows int, columns iter.Seq[Column]) error {
	if w.err == nil && rows <= 0 {
		w.err = errors.New("write parquet group: no rows")
	}
	if w.err != nil {
		return w.err
	}
	g := group{rows: rows, at: w.at, chunks: make([]chunk, len(w.columns))}
	w.blooms, w.seen = w.blooms[:0], w.seen[:0]
	for c := range columns {
		if err := w.column(&g, &c); err != nil {
			w.err = fmt.Errorf("write parquet column %s: %w", c.Name, err)
		}
		if w.err != nil {
			return w.err
		}
	}
	for i, seen := range w.seen {
		if !seen {
			w.nulls(&g, i)
		}
	}
	for i := len(w.seen); i < len(w.columns); i++ {
		w.nulls(&g, i)
	}
	w.settle(&g)
	w.groups = append(w.groups, g)
	return w.err
}

// column writes a column of a group.
func (w *Writer) column(g *group, c *Column) error {
	i, err := w.place(c, g.rows)
	if err != nil {
		return err
	}
	for len(g.chunks) < len(w.columns) {
		g.chunks = append(g.chunks, chunk{})
	}
	ch, err := w.encoder.chunk(c, g.rows, w.at)
	if err != nil {
		return err
	}
	w.write(w.encoder.out)
	if c.Bloom && w.encoder.values > 0 {
		w.bloom(&ch)
	}
	g.chunks[i] = ch
	return nil
}

// place finds the column's place in the schema.
func (w *Writer) place(c *Column, rows int) (int, error) {
	if err := c.check(rows); err != nil {
		return 0, err
	}
	i, known := w.byName[c.Name]
	if !known {
		i = len(w.columns)
		w.byName[c.Name] = i
		w.columns = append(w.columns, ColumnInfo{Name: c.Name, Type: c.Type})
	}
	for len(w.seen) <= i {
		w.seen = append(w.seen, false)
	}
	switch {
	case w.columns[i].Type != c.Type:
		return 0, fmt.Errorf("it was of type %s and is of type %s", w.columns[i].Type, c.Type)
	case w.seen[i]:
		return 0, errors.New("it is there twice")
	}
	w.seen[i] = true
	return i, nil
}

// check finds lists of a wrong length.
func (c *Column) check(rows int) error {
	n := -1
	switch {
	case c.Name == "":
		return errors.New("it has no name")
	case c.Type.text():
		n = len(c.Codes)
		if c.Dict == nil {
			return errors.New("it has no dictionary")
		}
	case c.Type.number():
		n = len(c.Ints)
	case c.Type == Double:
		n = len(c.Floats)
	case c.Type == Bool:
		n = len(c.Bools)
	case c.Type.width() != 0:
		n = len(c.Fixed) / c.Type.width()
	}
	if n != rows || c.Valid != nil && !c.Type.text() && len(c.Valid) != rows {
		return fmt.Errorf("it has %d values for %d rows", n, rows)
	}
	return nil
}

// nulls gives a group a chunk without values of the i-th column.
func (w *Writer) nulls(g *group, i int) {
	g.chunks[i] = w.encoder.nulls(w.columns[i].Type, g.rows, w.at)
	w.write(w.encoder.out)
}

// bloom keeps the chunk's bloom filter until the end of the group: filters stand between groups.
func (w *Writer) bloom(c *chunk) {
	filter := w.encoder.filter
	for at := 0; at < len(filter); at += bloomPiece {
		c.pieces = append(c.pieces, checksum(filter[at:min(at+bloomPiece, len(filter))]))
	}
	var t thriftWriter
	t.reset(w.blooms)
	t.bloomHeader(len(filter))
	c.bloom = int64(len(w.blooms)) + 1 // until settle knows where
	c.bloomSize = int32(len(t.b) - len(w.blooms) + len(filter))
	w.blooms = append(t.b, filter...)
}

// settle writes the bloom filters of a group.
func (w *Writer) settle(g *group) {
	for i := range g.chunks {
		if c := &g.chunks[i]; c.bloom != 0 {
			c.bloom += w.at - 1
		}
	}
	if len(w.blooms) > 0 {
		w.write(w.blooms)
	}
}

// Section writes bytes that are none of Parquet's: other readers do not see them.
func (w *Writer) Section(name string, data []byte) error {
	if w.err == nil && w.sections[name] {
		w.err = fmt.Errorf("write parquet section %s: it is there twice", name)
	}
	if w.err != nil {
		return w.err
	}
	w.sections[name] = true
	w.Meta(keySection+name, strconv.FormatInt(w.at, 10)+" "+strconv.Itoa(len(data))+" "+strconv.FormatUint(uint64(checksum(data)), 16))
	w.write(data)
	return w.err
}

// Meta adds an entry to the key-value metadata.
func (w *Writer) Meta(key, value string) { w.meta = append(w.meta, [2]string{key, value}) }

// Close writes the footer and returns the CRC-32C of its bytes, which Open wants. The io.Writer stays open.
func (w *Writer) Close() (footerCRC uint32, err error) {
	for i := range w.groups { // columns that came later
		g := &w.groups[i]
		for c := len(g.chunks); c < len(w.columns); c++ {
			g.chunks = append(g.chunks, chunk{})
			w.nulls(g, c)
		}
	}
	w.Meta(keyIndex, w.indexes())
	footer := w.footer()
	w.write(footer)
	if w.err != nil {
		return 0, w.err
	}
	w.err = errors.New("write parquet file: it is closed")
	return checksum(footer), nil
}

// indexes writes the offset indexes and gives the value of keyIndex: what the reader has to know and to trust, of each chunk of each group: the
// checksum of the offset index, the entries of the dictionary, and the checksums of the bloom filter's pieces.
func (w *Writer) indexes() string {
	var all thriftWriter
	trusted := binary.LittleEndian.AppendUint32(nil, uint32(w.encoder.pageRows))
	for i := range w.groups {
		for j := range w.groups[i].chunks {
			c := &w.groups[i].chunks[j]
			start := len(all.b)
			all.reset(all.b)
			all.offsetIndex(c.places)
			c.index, c.indexSize = w.at+int64(start), int32(len(all.b)-start)
			trusted = binary.LittleEndian.AppendUint32(trusted, checksum(all.b[start:]))
			trusted = binary.LittleEndian.AppendUint32(trusted, uint32(c.entries))
			for _, crc := range c.pieces {
				trusted = binary.LittleEndian.AppendUint32(trusted, crc)
			}
		}
	}
	if len(all.b) > 0 {
		w.write(all.b)
	}
	return base64.StdEncoding.EncodeToString(trusted)
}

func (w *Writer) footer() []byte {
	var t thriftWriter
	t.i32(1, 2) // version
	t.list(2, thriftStruct, len(w.columns)+1)
	t.open()
	t.text(4, "schema")
	t.i32(5, int32(len(w.columns)))
	t.end()
	for _, c := range w.columns {
		t.schemaColumn(c.Name, c.Type)
	}
	rows := int64(0)
	for i := range w.groups {
		rows += int64(w.groups[i].rows)
	}
	t.i64(3, rows)
	t.list(4, thriftStruct, len(w.groups))
	for i := range w.groups {
		t.group(w.columns, &w.groups[i])
	}
	t.list(5, thriftStruct, len(w.meta))
	for _, kv := range w.meta {
		t.keyValue(kv[0], kv[1])
	}
	t.text(6, createdBy)
	t.list(7, thriftStruct, len(w.columns))
	for range w.columns {
		t.open()
		t.empty(1) // ranges are ordered as the type is
		t.end()
	}
	t.stop()
	b := binary.LittleEndian.AppendUint32(t.b, uint32(len(t.b)))
	return append(b, magic...)
}

func (t *thriftWriter) group(columns []ColumnInfo, g *group) {
	t.open()
	t.list(1, thriftStruct, len(g.chunks))
	plain, packed := int64(0), int64(0)
	for i := range g.chunks {
		t.chunk(columns[i].Name, &g.chunks[i].chunkMeta)
		plain += g.chunks[i].uncompressed
		packed += g.chunks[i].compressed
	}
	t.i64(2, plain)
	t.i64(3, int64(g.rows))
	t.i64(5, g.at)
	t.i64(6, packed)
	t.end()
}

// checksum is CRC-32C, for what Parquet has no checksum for.
func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
